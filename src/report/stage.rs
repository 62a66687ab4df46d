//! Where a transfer is, or failed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A stage of a transfer. A worker passes those from `Load` to `Compare` in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// Before any transfer, judged by files: Python's import of NIXL, and the choice of its backends.
    Import,
    /// Between two machines: finding each other and agreeing.
    Handshake,
    /// Loading the engine's library.
    Load,
    /// Creating the agent, which looks for NIXL's plugins, UCX's transports or libfabric's providers.
    Agent,
    /// Creating the backend.
    Backend,
    /// Registering memory.
    Register,
    /// Exchanging metadata.
    Metadata,
    /// The first message, which makes the connection.
    Connect,
    /// Posting transfers and waiting for their completion.
    Transfer,
    /// Waiting for notifications.
    Notify,
    /// Comparing what has arrived.
    Compare,
    /// The transfer was right, and something other than the required fabric carried it.
    Fabric,
}

impl Stage {
    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stage::Import => "import",
            Stage::Handshake => "handshake",
            Stage::Load => "load",
            Stage::Agent => "agent",
            Stage::Backend => "backend",
            Stage::Register => "register",
            Stage::Metadata => "metadata",
            Stage::Connect => "connect",
            Stage::Transfer => "transfer",
            Stage::Notify => "notify",
            Stage::Compare => "compare",
            Stage::Fabric => "fabric",
        }
    }

    /// What is being done there, in words.
    pub(crate) fn activity(self) -> &'static str {
        match self {
            Stage::Import => "importing NIXL and choosing its backends in Python",
            Stage::Handshake => "negotiating with the peer",
            Stage::Load => "loading the library",
            Stage::Agent => "creating the agent",
            Stage::Backend => "creating the backend",
            Stage::Register => "registering memory",
            Stage::Metadata => "exchanging metadata",
            Stage::Connect => "connecting",
            Stage::Transfer => "transferring",
            Stage::Notify => "waiting for notifications",
            Stage::Compare => "comparing",
            Stage::Fabric => "checking the required fabric",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_the_same_names() {
        for stage in [Stage::Import, Stage::Handshake, Stage::Load, Stage::Compare, Stage::Fabric] {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
        }
    }
}
