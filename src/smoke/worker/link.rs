//! The control channel to the supervisor.

use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::report::stage::Stage;
use crate::smoke::engine::process::end_at_once;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::frame;
use crate::smoke::wire::worker::{CHANNEL_LOST, FromWorker, Keyed, PeerMessage, ToWorker};

/// The control channel to the supervisor, and this worker's stage.
pub(super) struct Link {
    /// The control channel.
    pub stream: UnixStream,
    /// Goes into every message to the supervisor.
    pub key: u64,
    /// The stage that this worker is in.
    pub stage: Stage,
}

impl Link {
    /// Begins a stage, and reports it.
    pub(super) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.send(&FromWorker::Stage(stage));
    }

    /// Sends a message to the other worker.
    pub(super) fn send_to_peer(&mut self, message: PeerMessage) {
        self.send(&FromWorker::Peer(message));
    }

    /// Sends a message to the supervisor. Without a supervisor, this process ends.
    pub(super) fn send(&mut self, message: &FromWorker) {
        let message = Keyed { key: self.key, message: message.clone() };
        if frame::send(&mut self.stream, &message).is_err() {
            end_at_once(CHANNEL_LOST);
        }
    }

    /// Waits until the supervisor needs this process no more. Without a supervisor, this process ends.
    pub(super) fn await_end(&mut self) {
        if !matches!(frame::receive(&mut self.stream), Ok(Some(ToWorker::End))) {
            end_at_once(CHANNEL_LOST);
        }
    }

    /// Waits for the other worker's next message. Without a supervisor, this process ends.
    pub(super) fn receive_from_peer(&mut self) -> Result<PeerMessage, Cause> {
        match frame::receive(&mut self.stream) {
            Ok(Some(ToWorker::Peer(message))) => Ok(message),
            Ok(Some(ToWorker::Begin { .. })) => Err(Cause::Protocol("received a second task".into())),
            Ok(Some(ToWorker::End) | None) => end_at_once(CHANNEL_LOST),
            Err(error) => Err(Cause::Protocol(error.to_string())),
        }
    }

    /// Waits for this message of the other worker.
    pub(super) fn expect(&mut self, expected: PeerMessage) -> Result<(), Cause> {
        require(&self.receive_from_peer()?, &expected)
    }

    /// Whether receiving would not block: a message has begun to arrive, or the stream has ended.
    pub(super) fn can_receive(&self) -> bool {
        let mut descriptors = [PollFd::new(&self.stream, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // The read that follows reports an error.
        rustix::event::poll(&mut descriptors, Some(&at_once)) != Ok(0)
    }
}

/// Fails where a message is not the expected one.
pub(super) fn require(message: &PeerMessage, expected: &PeerMessage) -> Result<(), Cause> {
    if message != expected {
        return Err(unexpected(message, expected.name()));
    }
    Ok(())
}

/// A message that came in place of the expected one.
pub(super) fn unexpected(message: &PeerMessage, expected: &str) -> Cause {
    Cause::Protocol(format!("expected `{expected}` from the peer, received `{}`", message.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::wire::blob::Blob;

    #[test]
    fn an_unexpected_message_is_named_without_its_content() {
        let metadata = PeerMessage::Introduction { metadata: Blob(vec![7; 5000]), address: 1 };
        let expected = "expected `ready` from the peer, received `introduction`";
        assert_eq!(require(&metadata, &PeerMessage::Ready), Err(Cause::Protocol(expected.into())));
        assert_eq!(require(&metadata, &metadata), Ok(()));
    }
}
