//! What both sides of a transfer share once they have exchanged metadata.

use std::time::{Duration, Instant};

use super::link::{Link, require};
use crate::smoke::engine::interface::Engine;
use crate::smoke::payload::Mismatch;
use crate::smoke::plan::messages::Messages;
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::worker::PeerMessage;

/// Length of a small message in bytes: one word.
pub(super) const SMALL: usize = 8;
/// The payload's length is rounded up to this many bytes; the small message follows it.
pub(super) const PAGE: usize = 4096;
/// How long a worker polls without a pause: longer than a small message takes on RDMA. With few processors, spinning longer
/// starves the library's progress threads.
pub(super) const SPIN: Duration = Duration::from_micros(100);
/// The same for a library without a progress thread, which only makes progress when it is polled: libfabric's tcp moves
/// 18 Gbit/s with 20 ms and 28 Gbit/s without a pause (measured). After 2 s something is wrong or very slow, and a busy
/// processor gains nothing.
pub(super) const LONG_SPIN: Duration = Duration::from_secs(2);
/// The pause between polls after that.
pub(super) const NAP: Duration = Duration::from_micros(20);
/// A poll that takes longer has probably moved bytes itself, and the next one will: UCX copies 512 KiB in some 75 us from process to
/// process when it is polled, so that pauses would take half of the time (measured).
const COPYING: Duration = Duration::from_micros(15);
/// The notification of the first message.
pub(super) const HELLO: &[u8] = b"hello";

/// What a transfer needs once the two sides have exchanged metadata.
pub(super) struct Session {
    /// Moves the bytes.
    pub engine: Box<dyn Engine>,
    /// Address of this side's region.
    pub local: usize,
    /// Address of the other side's region.
    pub remote: usize,
    /// How the payload is divided.
    pub messages: Messages,
    /// Offset of the small message in both regions.
    pub small_offset: usize,
    /// The payload follows from it.
    pub seed: u64,
    /// A fault: the operation that moves one byte too few.
    pub short: Option<Operation>,
}

impl Session {
    /// Waits for the peer's next message. A library without a progress thread is driven meanwhile: the peer's transfers may
    /// need it.
    pub(super) fn receive_from_peer(&self, link: &mut Link) -> Result<PeerMessage, Cause> {
        if !self.engine.has_progress_thread() {
            self.wait_until(|| {
                self.engine.progress()?;
                Ok(link.can_receive())
            })?;
        }
        link.receive_from_peer()
    }

    /// Waits for this message of the peer.
    pub(super) fn expect(&self, link: &mut Link, expected: PeerMessage) -> Result<(), Cause> {
        require(&self.receive_from_peer(link)?, &expected)
    }

    /// Polls until `is_true` returns true. The supervisor enforces the deadline.
    pub(super) fn wait_until(&self, mut is_true: impl FnMut() -> Result<bool, Cause>) -> Result<(), Cause> {
        let begin = Instant::now();
        let spin = if self.engine.has_progress_thread() { SPIN } else { LONG_SPIN };
        loop {
            let polled = Instant::now();
            if is_true()? {
                return Ok(());
            }
            match pauses(polled.elapsed(), begin.elapsed(), spin) {
                true => std::thread::sleep(NAP),
                false => std::thread::yield_now(),
            }
        }
    }
}

/// Whether there is a pause after a poll that took so long, so long after the first one.
fn pauses(poll: Duration, waited: Duration, spin: Duration) -> bool {
    // Polls that take that long and move nothing must not keep the progress threads from a processor for ever.
    waited >= LONG_SPIN || poll < COPYING && waited >= spin
}

/// The failure of a comparison in message `index`, which starts at `start` in the payload.
pub(super) fn wrong_bytes(
    operation: Operation,
    index: usize,
    start: usize,
    length: usize,
    mismatch: Mismatch,
) -> Cause {
    Cause::Mismatch {
        operation,
        message: index + 1,
        offset: (start + mismatch.offset) as u64,
        expected: mismatch.expected,
        found: mismatch.found,
        wrong: mismatch.wrong as u64,
        untouched: mismatch.untouched as u64,
        length: length as u64,
    }
}

/// The notification of a large message.
pub(super) fn notification(operation: Operation, index: usize) -> Vec<u8> {
    format!("{} {index}", operation.name()).into_bytes()
}

/// The time since then in microseconds.
pub(super) fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_idle_polls_are_followed_by_pauses() {
        let idle = Duration::from_micros(1);
        assert!(!pauses(idle, SPIN / 2, SPIN));
        assert!(pauses(idle, SPIN, SPIN));
        let copied = Duration::from_micros(75);
        assert!(!pauses(copied, SPIN * 10, SPIN));
        assert!(pauses(copied, LONG_SPIN, SPIN), "or it is slow");
    }
}
