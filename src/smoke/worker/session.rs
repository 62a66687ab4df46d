//! What a transfer needs, once the two sides know each other.

use std::time::{Duration, Instant};

use super::link::{Link, matches};
use crate::smoke::engine::interface::Engine;
use crate::smoke::payload::Mismatch;
use crate::smoke::plan::messages::Messages;
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::worker::PeerMessage;

/// Length of a small message: one word, the size of a flag or a pointer.
pub(super) const SMALL: usize = 8;
/// The payload's length is rounded up to this, and the small message lies behind it.
pub(super) const PAGE: usize = 4096;
/// How long a worker asks without a pause: longer than a small message takes on RDMA. Longer still would, where there are
/// few processors, keep the libraries' own progress threads from theirs.
pub(super) const SPIN: Duration = Duration::from_micros(100);
/// The same where the library has no thread of its own: it does nothing in a pause, and asking is what moves it. After
/// that long, something is wrong or very slow, and no processor need be kept busy with it. (With 20 ms, libfabric's tcp
/// moved 18 Gbit/s in place of 28, measured.)
pub(super) const LONG_SPIN: Duration = Duration::from_secs(2);
/// The pause between questions after that.
pub(super) const NAP: Duration = Duration::from_micros(20);
/// The notification of the first message.
pub(super) const HELLO: &[u8] = b"hello";

/// Everything that a transfer needs, once the two sides know each other.
pub(super) struct Session {
    pub engine: Box<dyn Engine>,
    /// Address of this side's region.
    pub local: usize,
    /// Address of the other side's region.
    pub remote: usize,
    pub messages: Messages,
    /// Where in both regions the small message lies.
    pub small_offset: usize,
    pub seed: u64,
    /// A fault: what moves a byte less than it should.
    pub short: Option<Operation>,
}

impl Session {
    /// Waits for the peer's word, and lets a library without a thread of its own go on meanwhile: what the other side
    /// waits for may be in its hands.
    pub(super) fn hear_peer(&self, link: &mut Link) -> Result<PeerMessage, Cause> {
        if !self.engine.works_alone() {
            self.wait_until(|| {
                self.engine.progress()?;
                Ok(link.has_news())
            })?;
        }
        link.hear_peer()
    }

    pub(super) fn expect(&self, link: &mut Link, expected: PeerMessage) -> Result<(), Cause> {
        matches(self.hear_peer(link)?, expected)
    }

    /// Asks until the answer is yes. The deadline is the supervisor's.
    pub(super) fn wait_until(&self, mut asked: impl FnMut() -> Result<bool, Cause>) -> Result<(), Cause> {
        let begin = Instant::now();
        let spin = if self.engine.works_alone() { SPIN } else { LONG_SPIN };
        while !asked()? {
            if begin.elapsed() < spin {
                std::thread::yield_now();
            } else {
                std::thread::sleep(NAP);
            }
        }
        Ok(())
    }
}

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

pub(super) fn note(operation: Operation, index: usize) -> Vec<u8> {
    format!("{} {index}", operation.name()).into_bytes()
}

pub(super) fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
