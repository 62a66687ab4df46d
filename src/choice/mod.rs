//! What a user may choose: the backends, and the rule by which a variable's value becomes a list of them.
#![forbid(unsafe_code)]

pub(crate) mod backend;
pub(crate) mod rule;
