//! The backends of both agents.

use super::role::Role;
use crate::choice::backend::{self, Backend};

/// The backends of both agents, in the order in which they are created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The initiator's.
    pub initiator: Vec<Backend>,
    /// The target's.
    pub target: Vec<Backend>,
}

impl Pair {
    /// Two agents with the same backends.
    pub(crate) fn alike(backends: &[Backend]) -> Pair {
        Pair { initiator: backends.to_vec(), target: backends.to_vec() }
    }

    /// One side's.
    pub(crate) fn of(&self, role: Role) -> &[Backend] {
        match role {
            Role::Initiator => &self.initiator,
            Role::Target => &self.target,
        }
    }

    /// The backend that the initiator prefers; with one backend, that one.
    pub(crate) fn preferred(&self) -> Backend {
        self.initiator.first().copied().unwrap_or(Backend::Ucx)
    }

    /// Whether both agents have the same one backend: all that the native engines can test.
    pub(crate) fn is_one(&self) -> bool {
        self.initiator.len() == 1 && self.is_alike()
    }

    /// Whether both agents have the same backends.
    pub(crate) fn is_alike(&self) -> bool {
        self.initiator == self.target
    }

    /// Whether there is a backend that both have.
    pub(crate) fn has_common(&self) -> bool {
        self.initiator.iter().any(|backend| self.target.contains(backend))
    }

    /// Whether either side has it.
    pub(crate) fn has(&self, backend: Backend) -> bool {
        self.initiator.contains(&backend) || self.target.contains(&backend)
    }

    /// The target's backends, if they differ from the initiator's.
    pub(crate) fn peer(&self) -> Option<String> {
        (!self.is_alike()).then(|| backend::list(&self.target))
    }

    /// For people: `LIBFABRIC,UCX to UCX`.
    pub(crate) fn title(&self) -> String {
        let initiator = backend::list(&self.initiator);
        if self.is_alike() { initiator } else { format!("{initiator} to {}", backend::list(&self.target)) }
    }
}
