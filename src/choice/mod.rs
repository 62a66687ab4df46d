//! What a user may choose: the backends' names, and the rule by which a variable's value becomes a list of them.
#![forbid(unsafe_code)]

pub mod backend;
pub mod rule;
