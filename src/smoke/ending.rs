//! How a transfer ended.

use std::process::ExitStatus;

use super::plan::role::Role;
use super::wire::cause::Surrender;
use super::wire::worker::Measurements;
use crate::report::smoke::Failure;
use crate::report::stage::Stage;

/// How a transfer ended that did not pass.
#[derive(Debug)]
pub(crate) enum Ending {
    /// No worker could be started.
    NotStarted(String),
    /// A worker gave up, with a reason.
    Failed(Role, Surrender),
    /// A worker ended without a word.
    Died(Role, Stage, ExitStatus),
    /// A worker broke the protocol, or its channel failed.
    Broken(Role, Stage, String),
    /// Time ran out.
    Deadline([(Role, Stage); 2]),
    /// The other machine's supervisor has said how its worker failed.
    Told(Failure),
    /// The other machine's supervisor is gone, or cannot be understood.
    Gone(Role, Stage, String),
}

/// How a transfer ended otherwise.
pub(crate) enum Outcome {
    /// What both workers have measured.
    Measured {
        /// The initiator's.
        initiator: Measurements,
        /// The target's.
        target: Measurements,
    },
    /// The other machine's supervisor has said what it came to.
    Decided,
}
