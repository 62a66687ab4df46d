//! A transfer that failed before it began.

use crate::report::smoke::Failure;
use crate::report::stage::Stage;

/// A failure to connect, authenticate or negotiate.
pub(crate) fn failure(message: String, advice: &str) -> Failure {
    Failure { stage: Stage::Handshake, message, advice: advice.into() }
}
