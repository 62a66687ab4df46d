//! The janitor's own process.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::shared_memory::Watch;
use super::{Leavings, ToJanitor, Watching, processes};
use crate::smoke::wire::frame;

/// How often to look again at files whose creator is not known yet.
const TICK: Duration = Duration::from_millis(10);
/// Limit for the run's processes to end once they are killed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// No supervisor has started this process.
#[derive(Debug, thiserror::Error)]
#[error(
    "this subcommand cleans up after a smoke transfer, and no supervisor has started it\nhelp: run `nixl-retrofit smoke`"
)]
pub(crate) struct NoSupervisor;

/// Runs the janitor to its end.
///
/// # Errors
/// Where no supervisor has started the process.
pub(crate) fn run() -> Result<(), NoSupervisor> {
    let mut channel = control_channel().ok_or(NoSupervisor)?;
    let mut watch = Watch::start();
    let Ok(Some(ToJanitor::Begin(mark))) = frame::receive(&mut channel) else { return Ok(()) };
    // If the supervisor has ended, the next message says so.
    let _ = frame::send(&mut channel, &Watching);
    while !is_over(&channel, &watch) {
        watch.look(&mark);
    }
    let was_asked = matches!(frame::receive(&mut channel), Ok(Some(ToJanitor::Finish)));
    watch.look(&mark);
    let processes = processes::end_all(&mark, EXIT_TIMEOUT);
    // A file that appeared while they ended.
    watch.look(&mark);
    let files = watch.remove(&mark);
    if was_asked {
        // The supervisor may have ended in the meantime.
        let _ = frame::send(&mut channel, &Leavings { files, processes });
    }
    Ok(())
}

/// Waits for the next event; true once the supervisor asks or is gone.
fn is_over(channel: &UnixStream, watch: &Watch) -> bool {
    let mut descriptors = vec![PollFd::new(channel, PollFlags::IN)];
    descriptors.extend(watch.events().map(|events| PollFd::new(events, PollFlags::IN)));
    let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
    let _ = rustix::event::poll(&mut descriptors, watch.is_unsure().then_some(&tick));
    !descriptors[0].revents().is_empty()
}

/// Standard input, when it is one end of a socket pair.
fn control_channel() -> Option<UnixStream> {
    let stdin = std::io::stdin();
    let stat = rustix::fs::fstat(stdin.as_fd()).ok()?;
    let is_socket = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Socket;
    let descriptor: OwnedFd = is_socket.then(|| stdin.as_fd().try_clone_to_owned().ok()).flatten()?;
    Some(UnixStream::from(descriptor))
}
