//! The workers' environment variables: the user's, with a few changes that are reported.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::choice::backend::Backend;
use crate::environment::variables::Variables;
use crate::shown::Shown;

/// UCX's log levels, quietest first.
const UCX_LEVELS: [&str; 12] =
    ["fatal", "error", "warn", "diag", "info", "debug", "trace", "req", "data", "async", "func", "poll"];
/// NIXL's log levels, quietest first.
const NIXL_LEVELS: [&str; 6] = ["FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

/// One difference between the workers' environment and this process's.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Set(OsString, OsString),
    Withhold(OsString),
}

/// A worker's variables: those of this process, and the changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerVariables {
    present: Arc<Variables>,
    changes: Vec<Change>,
    warnings: Vec<String>,
}

impl WorkerVariables {
    /// Decides the changes to `present`.
    ///
    /// Withholds the variables that name a metadata server, and `secret`. Raises the log levels of UCX and NIXL to those at
    /// which they state their transports; a more verbose level is kept.
    pub(crate) fn new(present: Arc<Variables>, secret: &str, plugin_dir: Option<&Path>) -> WorkerVariables {
        let mut variables = WorkerVariables { present: present.clone(), ..WorkerVariables::default() };
        let withheld = present.names().filter(|name| is_server(name) || *name == secret);
        variables.changes.extend(withheld.map(|name| Change::Withhold(name.into())));
        let value = |name: &str| present.get(name);
        variables.set_unless(
            is_verbose_enough(value("NIXL_LOG_LEVEL"), &NIXL_LEVELS, "INFO"),
            "NIXL_LOG_LEVEL",
            "INFO",
        );
        variables.set_unless(is_verbose_enough(value("UCX_LOG_LEVEL"), &UCX_LEVELS, "info"), "UCX_LOG_LEVEL", "info");
        variables.set_unless(is_yes(value("UCX_PROTO_INFO")), "UCX_PROTO_INFO", "y");
        // Not a file, which is not read here; nor standard output, which is buffered and lost in a crash.
        variables.set_unless(value("UCX_LOG_FILE").is_some_and(|file| file == "stderr"), "UCX_LOG_FILE", "stderr");
        if let Some(file) = config_file(&value).filter(|file| names_server(file)) {
            variables.changes.push(Change::Set("NIXL_CONFIG_FILE".into(), "/dev/null".into()));
            let text = format!("NIXL's configuration file `{}` names a metadata server and is not used", file.shown());
            variables.warnings.push(text);
        }
        if let Some(dir) = plugin_dir {
            variables.changes.push(Change::Set("NIXL_PLUGIN_DIR".into(), dir.into()));
        }
        variables
    }

    /// Adds what a backend's library needs.
    ///
    /// libfabric's efa provider silently uses shared memory between processes of one machine (fi_efa(7)); a transfer that is
    /// reported as EFA must not.
    pub(crate) fn add_backend(&mut self, backend: Backend) {
        let name = "FI_EFA_ENABLE_SHM_TRANSFER";
        if backend == Backend::Libfabric {
            self.set_unless(self.present.get(name).is_some_and(|value| value == "0"), name, "0");
        }
    }

    /// Keeps UCX from the memory of one machine: two workers there would use it, whatever fabric is between machines. With
    /// `of_gpu`, from that of its GPUs too. The user's own `UCX_TLS` stays.
    pub(crate) fn keep_from_shared_memory(&mut self, uses_ucx: bool, of_gpu: bool) {
        let name = "UCX_TLS";
        let is_given = self.present.non_empty(name).is_some();
        self.set_unless(is_given || !uses_ucx, name, if of_gpu { "^shm,cuda_ipc" } else { "^shm" });
    }

    /// Adds variables for the dynamic loader.
    pub(crate) fn add_variables(&mut self, variables: Vec<(&'static str, OsString)>) {
        self.changes.extend(variables.into_iter().map(|(name, value)| Change::Set(name.into(), value)));
    }

    /// Sets them for a process that is about to be started.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.env_clear().envs(self.present.iter());
        for change in &self.changes {
            match change {
                Change::Set(name, value) => command.env(name, value),
                Change::Withhold(name) => command.env_remove(name),
            };
        }
    }

    /// For the report: `NAME=value` and `-NAME`.
    pub(crate) fn describe(&self) -> Vec<String> {
        let text = |change: &Change| match change {
            Change::Set(name, value) => format!("{}={}", name.to_string_lossy(), value.to_string_lossy()),
            Change::Withhold(name) => format!("-{}", name.to_string_lossy()),
        };
        self.changes.iter().map(text).collect()
    }

    /// Warnings about them.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn set_unless(&mut self, fine: bool, name: &str, value: &str) {
        if !fine {
            self.changes.push(Change::Set(name.into(), value.into()));
        }
    }
}

/// Whether NIXL connects to a metadata server that this variable names: etcd, and from 1.5 on a TCP store.
fn is_server(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.starts_with(b"NIXL_ETCD_") || bytes.starts_with(b"NIXL_TCPSTORE_")
}

/// The configuration file that NIXL (from 1.3 on) reads for what the environment does not set.
fn config_file<'a>(value: &impl Fn(&str) -> Option<&'a OsStr>) -> Option<PathBuf> {
    if let Some(file) = value("NIXL_CONFIG_FILE") {
        return Some(file.into());
    }
    let own = value("HOME").map(|home| Path::new(home).join(".nixl.cfg")).filter(|file| file.exists());
    own.or_else(|| Some("/etc/nixl.cfg".into()))
}

fn names_server(file: &Path) -> bool {
    let text = std::fs::read(file).unwrap_or_default();
    ["NIXL_ETCD_", "NIXL_TCPSTORE_"].iter().any(|name| memchr::memmem::find(&text, name.as_bytes()).is_some())
}

fn is_verbose_enough(value: Option<&OsStr>, levels: &[&str], least: &str) -> bool {
    let Some(value) = value.and_then(OsStr::to_str) else { return false };
    let rank = |name: &str| levels.iter().position(|level| level.eq_ignore_ascii_case(name));
    rank(value).is_some_and(|given| Some(given) >= rank(least))
}

fn is_yes(value: Option<&OsStr>) -> bool {
    let yes = ["y", "yes", "on", "1"];
    value.and_then(OsStr::to_str).is_some_and(|value| yes.iter().any(|word| word.eq_ignore_ascii_case(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(variables: &[(&str, &str)], plugin_dir: Option<&str>) -> Vec<String> {
        let variables = Variables::from_iter(variables.iter().copied());
        WorkerVariables::new(variables.into(), "NIXL_RETROFIT_TOKEN", plugin_dir.map(Path::new)).describe()
    }

    #[test]
    fn log_levels_are_raised() {
        let additions = ["NIXL_LOG_LEVEL=INFO", "UCX_LOG_LEVEL=info", "UCX_PROTO_INFO=y", "UCX_LOG_FILE=stderr"];
        assert_eq!(described(&[], None), additions);
        let quiet = [("UCX_LOG_LEVEL", "warn"), ("NIXL_LOG_LEVEL", "ERROR"), ("UCX_PROTO_INFO", "n")];
        assert_eq!(described(&quiet, None), additions);
    }

    #[test]
    fn verbose_settings_are_kept() {
        let loud = [
            ("UCX_LOG_LEVEL", "TRACE"),
            ("NIXL_LOG_LEVEL", "debug"),
            ("UCX_PROTO_INFO", "y"),
            ("UCX_LOG_FILE", "stderr"),
            ("UCX_TLS", "tcp"),
        ];
        assert_eq!(described(&loud, None), Vec::<String>::new());
    }

    #[test]
    fn servers_are_withheld_and_log_files_replaced() {
        let variables = [
            ("NIXL_TCPSTORE_ENDPOINT", "h:1"),
            ("NIXL_ETCD_ENDPOINTS", "http://h:2379"),
            ("NIXL_ETCD_NAMESPACE", "n"),
            ("NIXL_RETROFIT_TOKEN", "secret"),
            ("UCX_LOG_FILE", "/var/log/ucx"),
        ];
        let described = described(&variables, None);
        let withheld =
            ["-NIXL_ETCD_ENDPOINTS", "-NIXL_ETCD_NAMESPACE", "-NIXL_RETROFIT_TOKEN", "-NIXL_TCPSTORE_ENDPOINT"];
        assert_eq!(described[..4], withheld);
        assert!(described.contains(&"UCX_LOG_FILE=stderr".to_string()));
    }

    #[test]
    fn efa_must_not_use_shared_memory() {
        let added = |backend, value: Option<&str>| {
            let present = value.map(|value| ("FI_EFA_ENABLE_SHM_TRANSFER", value)).into_iter().collect::<Variables>();
            let mut variables = WorkerVariables { present: present.into(), ..WorkerVariables::default() };
            variables.add_backend(backend);
            variables.describe()
        };
        assert_eq!(added(Backend::Libfabric, None), ["FI_EFA_ENABLE_SHM_TRANSFER=0"]);
        assert_eq!(added(Backend::Libfabric, Some("1")), ["FI_EFA_ENABLE_SHM_TRANSFER=0"]);
        assert_eq!(added(Backend::Libfabric, Some("0")), Vec::<String>::new());
        assert_eq!(added(Backend::Ucx, None), Vec::<String>::new());
    }

    #[test]
    fn a_required_fabric_keeps_ucx_from_shared_memory() {
        let added = |given: Option<&str>, uses_ucx, of_gpu| {
            let present = given.map(|value| ("UCX_TLS", value)).into_iter().collect::<Variables>();
            let mut variables = WorkerVariables { present: present.into(), ..WorkerVariables::default() };
            variables.keep_from_shared_memory(uses_ucx, of_gpu);
            variables.describe()
        };
        assert_eq!(added(None, true, false), ["UCX_TLS=^shm"]);
        assert_eq!(added(None, true, true), ["UCX_TLS=^shm,cuda_ipc"]);
        assert_eq!(added(Some("rc,sm"), true, false), Vec::<String>::new());
        assert_eq!(added(None, false, false), Vec::<String>::new());
    }

    #[test]
    fn a_plugin_directory_is_passed_on() {
        assert_eq!(described(&[("NIXL_PLUGIN_DIR", "/a")], Some("/b")).last().unwrap(), "NIXL_PLUGIN_DIR=/b");
    }

    #[test]
    fn a_configuration_file_that_names_a_server_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join(".nixl.cfg"), "NIXL_ETCD_ENDPOINTS = \"http://h:2379\"\n").unwrap();
        assert!(described(&[("HOME", home)], None).contains(&"NIXL_CONFIG_FILE=/dev/null".to_string()));
        std::fs::write(folder.path().join(".nixl.cfg"), "NIXL_TELEMETRY_ENABLE = false\n").unwrap();
        assert!(!described(&[("HOME", home)], None).iter().any(|change| change.starts_with("NIXL_CONFIG_FILE")));
    }
}
