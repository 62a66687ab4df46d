//! What a library has stated about the connection to the other agent.

use crate::report::fabric::Fabrics;

/// What was stated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statement {
    /// What carried the bytes. `None` when nothing was stated, or nothing that settles it.
    pub fabric: Option<Fabrics>,
    /// Every transport stated for the connection, in the library's words, those that carried the bytes first.
    pub transports: Vec<String>,
}
