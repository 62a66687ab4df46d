//! A failure, as it travels between the two supervisors.

use serde::{Deserialize, Serialize};

use crate::report::smoke::Failure;
use crate::report::stage::Stage;

/// A failure, as it travels between the two supervisors: a new key in a report's failure is no change here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WireFailure {
    /// Where.
    pub stage: Stage,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub advice: String,
}

impl From<Failure> for WireFailure {
    fn from(failure: Failure) -> WireFailure {
        WireFailure { stage: failure.stage, message: failure.message, advice: failure.advice }
    }
}

impl From<WireFailure> for Failure {
    fn from(failure: WireFailure) -> Failure {
        Failure { stage: failure.stage, message: failure.message, advice: failure.advice }
    }
}
