//! The libraries that a backend's plugin needs and NIXL's wheels do not contain: where they are, and how the workers find
//! them.
//!
//! The search order: the plugin's RPATH, `--library-path`, LD_LIBRARY_PATH, the loader's own places (ldconfig); then, only
//! for libfabric, libcudart and libhwloc, [`loader::usual_places`](crate::environment::elf::loader::usual_places), which
//! come last in the workers' LD_LIBRARY_PATH. NVIDIA's driver library comes from the loader's places, else it is the CUDA
//! toolkit's stub, else the stand-in in this program.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::stand_in::StandIn;
use crate::environment::elf::loader::{self, Loader};
use crate::environment::elf::needs::Needs;
use crate::environment::elf::shared_library::SharedLibrary;
use crate::environment::variables::Variables;
use crate::shown::Shown;

/// NVIDIA's driver library.
const DRIVER: &str = "libcuda.so.1";
/// Directories that the dynamic loader searches first (ld.so(8)).
pub(crate) const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";
/// Libraries that the dynamic loader loads before all others (ld.so(8)).
const PRELOAD: &str = "LD_PRELOAD";

/// What was found, and what the workers get.
#[derive(Debug, Default)]
pub(crate) struct Libraries {
    /// Directories that the user named.
    first: Vec<PathBuf>,
    /// The folders that the loader searches first: the user's, and those of LD_LIBRARY_PATH.
    folders: Vec<PathBuf>,
    /// Loaded before everything else: the stub, or the stand-in.
    preload: Option<PathBuf>,
    /// Keeps the stand-in alive.
    _stand_in: Option<StandIn>,
    /// For the report: the libraries that were replaced.
    pub stand_ins: Vec<String>,
    /// The libfabric that the plugin gets.
    pub libfabric: Option<PathBuf>,
    /// What the plugin needs and was not found.
    pub needs: Needs,
    /// Every place that was searched, in order, for a sentence.
    pub searched: Vec<String>,
}

impl Libraries {
    /// Finds everything that `plugin` needs. `library_path` are the directories that the user named, `variable` is the
    /// value of LD_LIBRARY_PATH, `import_path` the directories that the environment's Python imports from.
    pub(crate) fn find(
        plugin: Option<&Path>,
        library_path: &[PathBuf],
        variable: Option<&OsStr>,
        import_path: &[PathBuf],
    ) -> Libraries {
        let mut libraries = Libraries { first: library_path.to_vec(), ..Libraries::default() };
        let own = variable.map(loader::split_path).unwrap_or_default();
        libraries.folders = library_path.iter().cloned().chain(own).collect();
        let loader = libraries.loader();
        let Some((plugin, contents)) = plugin.map(Path::to_path_buf).and_then(loader::loadable) else {
            return libraries;
        };
        let usual = loader::usual_places(import_path);
        libraries.libfabric = libfabric(&plugin, &contents, &loader, &usual);
        libraries.searched = loader.places();
        libraries.searched.extend(usual.iter().map(|place| place.shown().to_string()));
        libraries.needs = Needs::of(plugin, contents, &loader, &usual);
        let needs_driver = libraries.needs.missing.iter().any(|missing| missing.name == DRIVER);
        if needs_driver && libraries.stand_in_for_driver() {
            libraries.needs.missing.retain(|missing| missing.name != DRIVER);
        }
        libraries
    }

    /// What the engine's own library needs and was not found. Of a NIXL, the plugin's needs are no part of that.
    pub(crate) fn of_engine(&self, library: Option<&Path>) -> Needs {
        let Some((path, contents)) = library.map(Path::to_path_buf).and_then(loader::loadable) else {
            return Needs::default();
        };
        Needs::of(path, contents, &self.loader(), &[])
    }

    /// The folders that the workers search before those of `LD_LIBRARY_PATH`.
    pub(crate) fn searched_first(&self) -> &[PathBuf] {
        &self.first
    }

    /// The same without a replacement for the driver, for transfers that need the real one or none.
    pub(crate) fn without_stand_in(self) -> Libraries {
        Libraries { preload: None, _stand_in: None, stand_ins: Vec::new(), ..self }
    }

    /// Warnings about libraries that the workers find and a workload does not.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let warning = |folder: &PathBuf| {
            format!(
                "the workers load libraries from `{}`, which the dynamic loader does not search by default\nhelp: for a workload, \
                 add it to `LD_LIBRARY_PATH` or make it known to `ldconfig`",
                folder.shown()
            )
        };
        self.needs.outside.iter().map(warning).collect()
    }

    /// The changes to a worker's environment variables: name and new value.
    pub(crate) fn variables(&self, present: &Variables) -> Vec<(&'static str, OsString)> {
        let mut changes = Vec::new();
        if !self.first.is_empty() || !self.needs.outside.is_empty() {
            let own = present.non_empty(LIBRARY_PATH).map(OsStr::to_owned);
            let folders = self.first.iter().map(|folder| folder.as_os_str().to_owned()).chain(own);
            changes.push((LIBRARY_PATH, join(folders.chain(self.needs.outside.iter().map(std::convert::Into::into)))));
        }
        if let Some(library) = &self.preload {
            let own = present.non_empty(PRELOAD).map(OsStr::to_owned);
            changes.push((PRELOAD, join(own.into_iter().chain([library.into()]))));
        }
        changes
    }

    /// The places that the loader searches for the engine's own library.
    pub(crate) fn places(&self) -> Vec<String> {
        self.loader().places()
    }

    fn loader(&self) -> Loader {
        Loader::new(self.folders.clone())
    }

    fn stand_in_for_driver(&mut self) -> bool {
        if let Some(stub) = loader::cuda_stub() {
            self.stand_ins.push(format!("{DRIVER} (the CUDA toolkit's stub {})", stub.shown()));
            self.preload = Some(stub);
            return true;
        }
        let Ok(stand_in) = StandIn::new() else { return false };
        self.stand_ins.push(DRIVER.into());
        self.preload = Some(stand_in.path());
        self._stand_in = Some(stand_in);
        true
    }
}

/// The library of that name that a plugin gets, where the workers search the usual places last.
fn libfabric(plugin: &Path, contents: &SharedLibrary, loader: &Loader, usual: &[PathBuf]) -> Option<PathBuf> {
    let name = contents.needed.iter().find(|name| name.starts_with("libfabric.so"))?;
    let found = loader.find(name, plugin, contents, &[]).map(|(path, _)| path);
    let elsewhere = || usual.iter().map(|folder| folder.join(name)).find_map(loader::loadable).map(|(path, _)| path);
    found.or_else(elsewhere)
}

fn join(parts: impl Iterator<Item = OsString>) -> OsString {
    parts.collect::<Vec<OsString>>().join(OsStr::new(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_keep_the_users_values() {
        let libraries = Libraries {
            first: vec!["/named".into()],
            needs: Needs { outside: vec!["/usual".into()], ..Needs::default() },
            preload: Some("/proc/1/fd/3".into()),
            ..Libraries::default()
        };
        let set = |name: &str, value: &str| Variables::from_iter([(name, value)]);
        let changes = libraries.variables(&set("LD_LIBRARY_PATH", "/own:/other"));
        assert_eq!(changes[0], ("LD_LIBRARY_PATH", "/named:/own:/other:/usual".into()));
        assert_eq!(changes[1], ("LD_PRELOAD", "/proc/1/fd/3".into()));
        assert!(libraries.warnings()[0].contains("/usual"));
        assert_eq!(libraries.variables(&set("LD_LIBRARY_PATH", ""))[0].1, "/named:/usual");
        assert_eq!(libraries.variables(&set("LD_PRELOAD", "/x.so"))[1].1, "/x.so:/proc/1/fd/3");
        assert!(Libraries::default().variables(&set("LD_LIBRARY_PATH", "/own")).is_empty());
    }

    #[test]
    fn without_a_plugin_only_the_users_directories_count() {
        let libraries = Libraries::find(Some(Path::new("/nonexistent")), &["/named".into()], None, &[]);
        assert_eq!(libraries.variables(&Variables::default()), [("LD_LIBRARY_PATH", OsString::from("/named"))]);
        assert!(libraries.needs.missing.is_empty() && libraries.stand_ins.is_empty());
    }
}
