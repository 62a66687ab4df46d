//! Whether the dynamic loader accepts the plugin of a NIXL without a C API.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::child::Child;
use super::event::{Event, EventSender, QUEUE};
use crate::report::smoke::PluginCheck;
use crate::smoke::launch::worker_command::WorkerCommand;
use crate::smoke::plan::Plan;
use crate::smoke::plan::deadline;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::worker::{FromWorker, Work};

/// Limit for a worker that has closed its channel to end.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Loads the backend's plugin of a NIXL without a C API in a process of its own, which may take that long. `None` if there is
/// nothing to load.
pub(crate) fn check_plugin(
    plan: &Plan,
    worker: &WorkerCommand,
    limit: Duration,
    promptly: fn(),
) -> Option<PluginCheck> {
    if plan.nixl.capi.is_some() {
        return None;
    }
    let path = plan.plugins.as_ref()?.file(plan.backend().name());
    let verdict = if path.exists() { refusal(&path, worker, limit, promptly) } else { Some("no such file".into()) };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let whose = plan.nixl.version.as_deref().map_or(plan.nixl.title(), |version| format!("NIXL {version}"));
    let message = match &verdict {
        None => format!("`{name}` of {whose} would load"),
        Some(words) => format!("`{name}` of {whose} would not load: {words}"),
    };
    Some(PluginCheck { path, loads: verdict.is_none(), message })
}

/// Why the plugin cannot be loaded; `None` if it can.
fn refusal(path: &Path, worker: &WorkerCommand, limit: Duration, promptly: fn()) -> Option<String> {
    let (events, received) = mpsc::sync_channel(QUEUE);
    let work = Work::Try(path.as_os_str().into());
    let sender = EventSender { events, promptly };
    let until = Instant::now() + limit;
    let mut child = match Child::start(worker, Role::Target, work, until, sender) {
        Ok(child) => child,
        Err(error) => return Some(format!("cannot start a process that loads it: {error}")),
    };
    loop {
        match received.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Event::Worker(_, FromWorker::Tried(words))) => return words,
            Ok(Event::Closed(_, Some(error))) => {
                return Some(format!("loading it breaks the control protocol: {error}"));
            }
            Ok(Event::Closed(..)) => return Some(ended(child.wait(EXIT_TIMEOUT))),
            Ok(_) => {}
            Err(_) => return Some(format!("loading it does not end within {}", deadline::text(limit))),
        }
    }
}

fn ended(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("loading it ends the process with exit status {code}"),
        Some((_, Some(signal))) => format!("loading it ends the process with signal {signal}"),
        _ => "the process that loads it does not answer".into(),
    }
}
