//! One side of a transfer, in a process of its own.
//!
//! Both sides pass the stages of [`Stage`] in order: load, agent, backend, register, metadata. Then the initiator writes a
//! small message, which makes the connection, times more of them, and writes the payload. The target compares it and replaces
//! it with bytes that the initiator never had, which the initiator then reads and compares. Local completion is not
//! delivery: comparison and bandwidth wait for the notifications.
#![forbid(unsafe_code)]

mod gauge;
mod initiator;
mod link;
mod session;
mod set_up;
mod target;

use std::convert::Infallible;
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, Signal};

use crate::report::stage::Stage;
use crate::smoke::engine::plugin;
use crate::smoke::engine::process::end_at_once;
use crate::smoke::engine::schedule::{lower_other_threads, run_promptly_with_new_threads};
use crate::smoke::plan::role::Role;
use crate::smoke::wire::cause::{Cause, Surrender};
use crate::smoke::wire::frame;
use crate::smoke::wire::worker::{CHANNEL_LOST, FromWorker, Measurements, Task, ToWorker, Work};
use link::Link;
use session::Session;
use set_up::set_up;

/// No supervisor has started this process.
#[derive(Debug, thiserror::Error)]
#[error(
    "this subcommand runs one side of a smoke transfer, and no supervisor has started it\nhelp: run `nixl-retrofit smoke`"
)]
pub(crate) struct NoSupervisor;

/// The control channel's descriptor, or the next one that is free: far from those that libraries open, close and write on by
/// mistake.
const CHANNEL: i32 = 200;

/// Runs a worker process to its end; `is_set` tells whether an environment variable of this process is set.
///
/// # Errors
/// Where no supervisor has started the process.
pub(crate) fn run(is_set: &dyn Fn(&str) -> bool) -> Result<Infallible, NoSupervisor> {
    let mut stream = control_channel().ok_or(NoSupervisor)?;
    contain();
    let Ok(Some(ToWorker::Begin { key, work })) = frame::receive(&mut stream) else { end_at_once(CHANNEL_LOST) };
    let mut link = Link { stream, key, stage: Stage::Load };
    match work {
        Work::Transfer(task) => transfer(&mut link, &task, is_set),
        Work::Try(file) => link.send(&FromWorker::Tried(plugin::refusal(&file.path()))),
    }
    link.await_end();
    end_at_once(0)
}

/// Reports one side of a transfer, and closes its engine once the supervisor has the result. After a failure nothing is
/// closed: operations may be in flight, and the supervisor ends this process.
fn transfer(link: &mut Link, task: &Task, is_set: &dyn Fn(&str) -> bool) {
    match perform(link, task, is_set) {
        Ok((measurements, session)) => {
            link.send(&FromWorker::Done(measurements));
            link.await_end();
            session.engine.close();
            end_at_once(0);
        }
        Err(cause) => link.send(&FromWorker::Failed(Surrender { stage: link.stage, cause })),
    }
}

/// Standard input, when it is one end of a socket pair, moved to a descriptor of its own that no program which a library
/// starts inherits. What a library reads from standard input is `/dev/null` from then on.
fn control_channel() -> Option<UnixStream> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return None;
    }
    let stat = rustix::fs::fstat(stdin.as_fd()).ok()?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Socket {
        return None;
    }
    let channel = own_descriptor(&stdin)?;
    let nothing = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    rustix::stdio::dup2_stdin(nothing).ok()?;
    Some(UnixStream::from(channel))
}

/// A limit on open files may be lower than [`CHANNEL`].
fn own_descriptor(stdin: &std::io::Stdin) -> Option<OwnedFd> {
    let duplicate = |lowest| rustix::io::fcntl_dupfd_cloexec(stdin.as_fd(), lowest);
    duplicate(CHANNEL).or_else(|_| duplicate(3)).ok()
}

/// Ties this process's life to its supervisor's, and prevents a core file. Errors are ignored: the end of the control
/// channel ends the process too.
pub(crate) fn contain() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

fn perform(link: &mut Link, task: &Task, is_set: &dyn Fn(&str) -> bool) -> Result<(Measurements, Session), Cause> {
    let (session, region) = set_up(link, task, is_set)?;
    // The setup has started the library's threads.
    lower_other_threads();
    run_promptly_with_new_threads();
    let measurements = match task.role {
        Role::Initiator => initiator::run(link, task, &session, region),
        Role::Target => target::run(link, task, &session, region),
    };
    Ok((measurements?, session))
}
