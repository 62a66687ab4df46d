//! The two sides of a transfer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The two sides of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Writes into the target and reads from it.
    Initiator,
    /// Offers its memory, waits for notifications, compares.
    Target,
}

impl Role {
    /// Both, in the order in which they are started.
    pub(crate) const ALL: [Role; 2] = [Role::Initiator, Role::Target];

    /// The name of its agent.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Initiator => "initiator",
            Role::Target => "target",
        }
    }

    /// The one at the other end.
    pub(crate) fn other(self) -> Role {
        match self {
            Role::Initiator => Role::Target,
            Role::Target => Role::Initiator,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
