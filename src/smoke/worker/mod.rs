//! One side of a transfer, in a process of its own.
//!
//! The order on both sides (the stages of [`Stage`]): load, agent, backend, register, exchange metadata; then the
//! initiator writes a small message, which makes the connection, times more of them, writes the payload, and, once it was
//! delivered, spoils its own copy and reads the payload back, while the target compares what was written. Local completion
//! is not delivery: the target compares after the notifications have come, and times are taken until they have come.
#![forbid(unsafe_code)]

mod initiator;
mod link;
mod session;
mod set_up;
mod target;

use std::convert::Infallible;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::process::{Resource, Rlimit, Signal};

use crate::report::stage::Stage;
use crate::smoke::engine::plugin;
use crate::smoke::engine::schedule::{put_others_behind, run_promptly};
use crate::smoke::plan::role::Role;
use crate::smoke::wire::cause::{Cause, Surrender};
use crate::smoke::wire::frame;
use crate::smoke::wire::worker::{FromWorker, Measurements, Task, ToWorker};
use link::{Link, vanish};
use set_up::set_up;

/// The process was not started by a supervisor.
#[derive(Debug, thiserror::Error)]
#[error("this subcommand is one side of a smoke transfer; only `nixl-retrofit smoke` can start it")]
pub(crate) struct NoSupervisor;

/// A worker process, from its first line to its last.
///
/// The supervisor ends the process, so that no destructor of a vendor library runs.
///
/// # Errors
/// Where no supervisor has started it.
pub(crate) fn run() -> Result<Infallible, NoSupervisor> {
    let stream = control_channel().ok_or(NoSupervisor)?;
    protect();
    let mut link = Link { stream, stage: Stage::Load };
    let last = match frame::receive(&mut link.stream) {
        Ok(Some(ToWorker::Task(task))) => match perform(&mut link, &task) {
            Ok(measurements) => FromWorker::Done(measurements),
            Err(cause) => FromWorker::Failed(Surrender { stage: link.stage, cause }),
        },
        Ok(Some(ToWorker::Try(file))) => FromWorker::Tried(plugin::refusal(&file.path())),
        _ => vanish(),
    };
    if frame::send(&mut link.stream, &last).is_ok() {
        // Whatever comes, and the end of the stream too, means that the supervisor has no more need of this process.
        let _ = frame::receive::<ToWorker>(&mut link.stream);
    }
    vanish()
}

/// Standard input, when it is one end of a socket pair.
fn control_channel() -> Option<UnixStream> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return None;
    }
    let stat = rustix::fs::fstat(stdin.as_fd()).ok()?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Socket {
        return None;
    }
    Some(UnixStream::from(stdin.as_fd().try_clone_to_owned().ok()?))
}

/// This process shall not outlive its supervisor, and leaves no core file behind. Where that is refused, the end of the
/// control channel still ends it.
fn protect() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

fn perform(link: &mut Link, task: &Task) -> Result<Measurements, Cause> {
    let (session, region) = set_up(link, task)?;
    // Only now: the library's own threads are there.
    put_others_behind();
    run_promptly();
    match task.role {
        Role::Initiator => initiator::run(link, task, &session, region),
        Role::Target => target::run(link, task, &session, region),
    }
}
