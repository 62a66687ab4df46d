//! What a library states about the connection to the other agent.

use crate::report::fabric::Fabrics;

/// A library's statement about what carries the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statement {
    /// What carried the bytes; `None` if the library did not state it, or not clearly.
    pub fabric: Option<Fabrics>,
    /// Every transport of the connection, as the library names it; those that carried the bytes first.
    pub transports: Vec<String>,
}
