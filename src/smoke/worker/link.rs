//! The way to the supervisor.

use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

use crate::report::stage::Stage;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::frame;
use crate::smoke::wire::worker::{FromWorker, PeerMessage, ToWorker};

/// The way to the supervisor, and where this worker is.
pub(super) struct Link {
    /// The control channel.
    pub stream: UnixStream,
    /// The stage that it is in.
    pub stage: Stage,
}

impl Link {
    pub(super) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.say(&FromWorker::Stage(stage));
    }

    pub(super) fn tell_peer(&mut self, message: PeerMessage) {
        self.say(&FromWorker::Peer(message));
    }

    pub(super) fn say(&mut self, message: &FromWorker) {
        if frame::send(&mut self.stream, message).is_err() {
            vanish();
        }
    }

    pub(super) fn hear_peer(&mut self) -> Result<PeerMessage, Cause> {
        match frame::receive(&mut self.stream) {
            Ok(Some(ToWorker::Peer(message))) => Ok(message),
            Ok(Some(ToWorker::Task(_) | ToWorker::Try(_))) => Err(Cause::Protocol("a second task".into())),
            Ok(None) => vanish(),
            Err(error) => Err(Cause::Protocol(error.to_string())),
        }
    }

    pub(super) fn expect(&mut self, expected: PeerMessage) -> Result<(), Cause> {
        matches(self.hear_peer()?, expected)
    }

    /// Whether hearing would not wait: a message has begun to come in, or none will any more.
    pub(super) fn has_news(&self) -> bool {
        let mut descriptors = [PollFd::new(&self.stream, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // An error is for the reading that follows.
        rustix::event::poll(&mut descriptors, Some(&at_once)) != Ok(0)
    }
}

/// Ends this process at once: no exit handler, no destructor.
pub(super) fn vanish() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    std::process::abort()
}

pub(super) fn matches(message: PeerMessage, expected: PeerMessage) -> Result<(), Cause> {
    if message != expected {
        return Err(Cause::Protocol(format!("{message:?} came instead of {expected:?}")));
    }
    Ok(())
}
