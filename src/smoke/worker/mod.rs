//! One side of a transfer, in a process of its own.
//!
//! Both sides pass the stages of [`Stage`] in order: load, agent, backend, register, metadata. Then the initiator writes a
//! small message, which makes the connection, times more of them, and writes the payload. Once it is delivered, the
//! initiator overwrites its own copy and reads the payload back, while the target compares what was written. Local
//! completion is not delivery: comparison and bandwidth wait for the notifications.
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
use crate::smoke::engine::schedule::{lower_other_threads, run_promptly};
use crate::smoke::plan::role::Role;
use crate::smoke::wire::cause::{Cause, Surrender};
use crate::smoke::wire::frame;
use crate::smoke::wire::worker::{FromWorker, Measurements, Task, ToWorker};
use link::{Link, kill_self};
use set_up::set_up;

/// No supervisor has started this process.
#[derive(Debug, thiserror::Error)]
#[error(
    "this subcommand runs one side of a smoke transfer, and no supervisor has started it\nhelp: run `nixl-retrofit smoke`"
)]
pub(crate) struct NoSupervisor;

/// Runs a worker process to its end; `is_set` tells whether an environment variable of this process is set.
///
/// The process kills itself in the end, so that no destructor of a vendor library runs.
///
/// # Errors
/// Where no supervisor has started the process.
pub(crate) fn run(is_set: &dyn Fn(&str) -> bool) -> Result<Infallible, NoSupervisor> {
    let stream = control_channel().ok_or(NoSupervisor)?;
    contain();
    let mut link = Link { stream, stage: Stage::Load };
    let last = match frame::receive(&mut link.stream) {
        Ok(Some(ToWorker::Task(task))) => match perform(&mut link, &task, is_set) {
            Ok(measurements) => FromWorker::Done(measurements),
            Err(cause) => FromWorker::Failed(Surrender { stage: link.stage, cause }),
        },
        Ok(Some(ToWorker::Try(file))) => FromWorker::Tried(plugin::refusal(&file.path())),
        _ => kill_self(),
    };
    if frame::send(&mut link.stream, &last).is_ok() {
        // Any message, and the end of the stream too, means that the supervisor no longer needs this process.
        let _ = frame::receive::<ToWorker>(&mut link.stream);
    }
    kill_self()
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

/// Ties this process's life to its supervisor's, and prevents a core file. Errors are ignored: the end of the control
/// channel ends the process too.
pub(crate) fn contain() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

fn perform(link: &mut Link, task: &Task, is_set: &dyn Fn(&str) -> bool) -> Result<Measurements, Cause> {
    let (session, region) = set_up(link, task, is_set)?;
    // The setup has started the library's threads.
    lower_other_threads();
    run_promptly();
    match task.role {
        Role::Initiator => initiator::run(link, task, &session, region),
        Role::Target => target::run(link, task, &session, region),
    }
}
