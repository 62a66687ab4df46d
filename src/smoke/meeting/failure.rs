//! A transfer that failed before it began.

use crate::report::smoke::Failure;
use crate::report::stage::Stage;

/// The two ends did not come together.
pub(crate) fn failure(message: String, advice: &str) -> Failure {
    Failure { stage: Stage::Handshake, message, advice: advice.into() }
}
