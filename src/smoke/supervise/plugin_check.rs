//! Whether the plugin of a NIXL without a C API would load.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::child::Child;
use super::ear::Ear;
use super::event::Event;
use crate::report::smoke::PluginCheck;
use crate::smoke::launch::worker_command::WorkerCommand;
use crate::smoke::plan::Plan;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::worker::{FromWorker, ToWorker};

/// How long a worker that has closed its channel may take to end.
const DYING: Duration = Duration::from_secs(2);

/// Loads the backend's plugin of a NIXL without a C API in a process of its own. None where there is nothing to load, or
/// no time left for it.
pub(crate) fn check_plugin(
    plan: &Plan,
    worker: &WorkerCommand,
    deadline: Instant,
    promptly: fn(),
) -> Option<PluginCheck> {
    if plan.nixl.capi.is_some() {
        return None;
    }
    let path = plan.plugins.as_ref()?.file(plan.backend().name());
    let verdict =
        if path.exists() { refusal(&path, worker, deadline, promptly)? } else { Some("there is no such file".into()) };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let whose = plan.nixl.version.as_deref().map_or(plan.nixl.title(), |version| format!("NIXL {version}"));
    let message = match &verdict {
        None => format!("{name} of {whose} would load"),
        Some(words) => format!("{name} of {whose} would not load: {words}"),
    };
    Some(PluginCheck { path, loads: verdict.is_none(), message })
}

/// Why the plugin cannot be loaded; the inner None when it can.
fn refusal(path: &Path, worker: &WorkerCommand, deadline: Instant, promptly: fn()) -> Option<Option<String>> {
    let (sender, events) = mpsc::channel();
    let task = ToWorker::Try(path.as_os_str().into());
    let ear = Ear { events: sender, promptly };
    let mut child = Child::start(worker, Role::Target, &task, deadline, ear).ok()?;
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Event::Said(_, FromWorker::Tried(words))) => return Some(words),
            Ok(Event::Closed(..)) => return Some(Some(ended(child.wait(DYING)))),
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
