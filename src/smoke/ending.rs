//! How a transfer ended: what `supervise` hands to `judge`.

use std::process::ExitStatus;

use super::plan::role::Role;
use super::wire::cause::Surrender;
use super::wire::worker::Measurements;
use crate::report::smoke::Failure;
use crate::report::stage::Stage;

/// A transfer that did not pass.
#[derive(Debug)]
pub(crate) enum Ending {
    /// No worker could be started; the error.
    NotStarted(String),
    /// A worker gave up, and said why.
    Failed(Role, Surrender),
    /// A worker ended without a message.
    Died(Role, Stage, ExitStatus),
    /// A worker broke the protocol, or its channel failed; the error.
    Broken(Role, Stage, String),
    /// The deadline passed; the stage that each worker was in.
    Deadline([(Role, Stage); 2]),
    /// The peer's supervisor reported how its worker failed.
    ReportedByPeer(Failure),
    /// The connection to the peer's supervisor is of no more use.
    PeerLost(Role, Stage, PeerLoss),
}

/// A worker that had done its part and then did not end well.
#[derive(Debug)]
pub(crate) struct UncleanEnd {
    /// Its side.
    pub role: Role,
    /// How it ended; `None` if it did not, and was killed.
    pub status: Option<ExitStatus>,
}

/// Why the peer's supervisor cannot be talked to any more: a clause whose subject is the peer.
#[derive(Debug)]
pub(crate) enum PeerLoss {
    /// The connection ended or failed.
    Disconnected(String),
    /// A message of the peer cannot be read, or is not its turn.
    Unreadable(String),
}

/// A transfer that came to its end.
pub(crate) enum Outcome {
    /// What both workers measured.
    Measured {
        /// The initiator's.
        initiator: Measurements,
        /// The target's.
        target: Measurements,
    },
    /// The peer's supervisor sent its verdict.
    Decided,
}
