//! A failure, as one end tells it to the other.

use serde::{Deserialize, Serialize};

use crate::report::smoke::Failure;
use crate::report::stage::Stage;

/// A failure, as one end tells it to the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Where.
    pub stage: Stage,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub advice: String,
}

impl From<Failure> for Told {
    fn from(failure: Failure) -> Told {
        Told { stage: failure.stage, message: failure.message, advice: failure.advice }
    }
}

impl From<Told> for Failure {
    fn from(told: Told) -> Failure {
        Failure { stage: told.stage, message: told.message, advice: told.advice }
    }
}
