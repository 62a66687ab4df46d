//! What to transfer.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::fault::Fault;
use super::memory::Memory;
use super::protocol::Role;
use super::requirement::RequiredFabric;
use crate::backend::{self, Backend};
use crate::cli::EngineChoice;
use crate::environment::nixl::NixlInstallation;

/// What to transfer, with what, and how long it may take.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The NIXL to load.
    pub nixl: NixlInstallation,
    /// Which code shall move the bytes.
    pub engine: EngineChoice,
    /// The backends that the agents are created with.
    pub pair: Pair,
    /// Whose memory the payload lies in.
    pub memory: Memory,
    /// Payload in each direction, in bytes.
    pub size: u64,
    /// Large messages in each direction, at most: each is a multiple of eight bytes, the last one excepted.
    pub iterations: u32,
    /// Deadline of the whole transfer.
    pub timeout: Duration,
    /// Overrides NIXL's plugin folder.
    pub plugin_dir: Option<PathBuf>,
    /// Folders to look for libraries in, before LD_LIBRARY_PATH.
    pub library_path: Vec<PathBuf>,
    /// The folders that the environment's Python imports from: wheels with libraries lie there.
    pub import_path: Vec<PathBuf>,
    /// Whether this is what the patched code would do: the required fabric is demanded of nothing else.
    pub principal: bool,
    /// What must have carried the bytes.
    pub require_fabric: RequiredFabric,
    /// A fault that a worker commits on purpose, for tests.
    pub fault: Option<Fault>,
}

impl Plan {
    /// The backend that the initiator prefers; with one backend, that one.
    pub fn backend(&self) -> Backend {
        self.pair.initiator.first().copied().unwrap_or(Backend::Ucx)
    }
}

/// The backends of both agents, in the order in which they are created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The initiator's.
    pub initiator: Vec<Backend>,
    /// The target's.
    pub target: Vec<Backend>,
}

impl Pair {
    /// Two agents with the same backends.
    pub fn alike(backends: &[Backend]) -> Pair {
        Pair { initiator: backends.to_vec(), target: backends.to_vec() }
    }

    /// One side's.
    pub fn of(&self, role: Role) -> &[Backend] {
        match role {
            Role::Initiator => &self.initiator,
            Role::Target => &self.target,
        }
    }

    /// Whether both agents have one backend, the same: what can be shown without NIXL's agents.
    pub fn is_one(&self) -> bool {
        self.initiator.len() == 1 && self.is_alike()
    }

    /// Whether both agents have the same backends.
    pub fn is_alike(&self) -> bool {
        self.initiator == self.target
    }

    /// Whether there is a backend that both have.
    pub fn has_common(&self) -> bool {
        self.initiator.iter().any(|backend| self.target.contains(backend))
    }

    /// Whether either side has it.
    pub fn has(&self, backend: Backend) -> bool {
        self.initiator.contains(&backend) || self.target.contains(&backend)
    }

    /// The target's backends, where they are others.
    pub fn peer(&self) -> Option<String> {
        (!self.is_alike()).then(|| backend::list(&self.target))
    }

    /// For people: `LIBFABRIC,UCX to UCX`.
    pub fn title(&self) -> String {
        let initiator = backend::list(&self.initiator);
        if self.is_alike() { initiator } else { format!("{initiator} to {}", backend::list(&self.target)) }
    }
}

/// A deadline as a user would write it.
pub fn spoken(limit: Duration) -> String {
    let milliseconds = limit.as_millis();
    if milliseconds.is_multiple_of(1000) { format!("{} s", milliseconds / 1000) } else { format!("{milliseconds} ms") }
}

/// How a payload is divided into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Messages {
    size: usize,
    each: usize,
}

impl Messages {
    /// Divides `size` bytes into at most `count` messages of equal length; the last may be shorter.
    pub fn divide(size: usize, count: usize) -> Messages {
        let each = size.div_ceil(count.max(1)).next_multiple_of(8);
        Messages { size, each }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.size.div_ceil(self.each)
    }

    /// Length of the longest.
    pub fn longest(&self) -> usize {
        self.each.min(self.size)
    }

    /// Where message `index` lies in the payload.
    pub fn range(&self, index: usize) -> Range<usize> {
        let start = index * self.each;
        start..(start + self.each).min(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_cover_the_payload_without_overlap() {
        for (size, count) in [(1, 1), (1, 4), (7, 2), (8, 4), (10, 4), (4096, 3), (64 << 20, 4), (1_000_003, 1000)] {
            let messages = Messages::divide(size, count);
            assert!(messages.count() <= count, "{size} {count}");
            let mut next = 0;
            for index in 0..messages.count() {
                let range = messages.range(index);
                assert_eq!(range.start, next);
                assert!(!range.is_empty() && range.len() <= messages.longest());
                next = range.end;
            }
            assert_eq!(next, size);
        }
        assert_eq!(Messages::divide(64 << 20, 4).count(), 4);
    }
}
