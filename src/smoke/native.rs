//! Which code moves the bytes, and whether an older NIXL's plugin would have loaded.
#![forbid(unsafe_code)]

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::diagnosis;
use super::plan::Plan;
use super::protocol::{EngineKind, FromWorker, Role, ToWorker};
use super::supervisor::child::{Child, Event};
use super::supervisor::{blob, plugin_dir, plugin_file};
use super::surroundings::Surroundings;
use crate::backend::Backend;
use crate::cli::EngineChoice;
use crate::report::PluginCheck;

/// UCX of the system, by the name that the dynamic loader looks for.
const LIBUCP: &str = "libucp.so.0";
/// libfabric, by the name that the dynamic loader looks for: no NIXL brings it.
const LIBFABRIC: &str = "libfabric.so.1";
/// How long a worker that has closed its channel may take to end.
const DYING: Duration = Duration::from_secs(2);

/// What moves the bytes, and the path or the name of its library; None is a NIXL without the one that it should have.
pub fn engine(plan: &Plan) -> (EngineKind, Option<PathBuf>) {
    if uses_nixl(plan) {
        return (EngineKind::Nixl, plan.nixl.capi.clone());
    }
    match plan.backend() {
        // The one that NIXL's own plugin is linked with; whether the system's works says nothing about that.
        Backend::Ucx => (EngineKind::Ucp, plan.nixl.bundled("libucp").or_else(|| Some(LIBUCP.into()))),
        Backend::Libfabric => (EngineKind::Libfabric, Some(LIBFABRIC.into())),
    }
}

/// `auto` never passes over a C API that is missing although that NIXL came with one: something has removed it.
fn uses_nixl(plan: &Plan) -> bool {
    let should_have = || plan.nixl.version.as_deref().is_some_and(diagnosis::should_have_capi);
    match plan.engine {
        EngineChoice::Nixl => true,
        EngineChoice::Native => false,
        EngineChoice::Auto => plan.nixl.capi.is_some() || should_have(),
    }
}

/// Loads the backend's plugin of a NIXL without a C API in a process of its own. None where there is nothing to load, or
/// no time left for it.
pub fn check_plugin(plan: &Plan, surroundings: &Surroundings, deadline: Instant) -> Option<PluginCheck> {
    if plan.nixl.capi.is_some() {
        return None;
    }
    let path = plugin_file(&plugin_dir(plan)?, plan.backend().name());
    let verdict =
        if path.exists() { refusal(&path, surroundings, deadline)? } else { Some("there is no such file".into()) };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let whose = plan.nixl.version.as_deref().map_or(plan.nixl.title(), |version| format!("NIXL {version}"));
    let message = match &verdict {
        None => format!("{name} of {whose} would load"),
        Some(words) => format!("{name} of {whose} would not load: {words}"),
    };
    Some(PluginCheck { path, loads: verdict.is_none(), message })
}

/// Why the plugin cannot be loaded; the inner None when it can.
fn refusal(path: &Path, surroundings: &Surroundings, deadline: Instant) -> Option<Option<String>> {
    let (sender, events) = mpsc::channel();
    let task = ToWorker::Try(blob(path.as_os_str()));
    let mut worker = Child::start(Role::Target, &task, surroundings, deadline, sender).ok()?;
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Event::Said(_, FromWorker::Tried(words))) => return Some(words),
            Ok(Event::Closed(..)) => return Some(Some(ended(worker.wait(DYING)))),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

fn ended(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("it ends the process that loads it, with exit status {code}"),
        Some((_, Some(signal))) => format!("signal {signal} ended the process that loaded it"),
        _ => "the process that loaded it said no more".into(),
    }
}
