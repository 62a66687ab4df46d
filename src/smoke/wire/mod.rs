//! What supervisor and worker say to each other, and how it is framed.
#![forbid(unsafe_code)]

pub(crate) mod blob;
pub(crate) mod cause;
pub(crate) mod frame;
pub(crate) mod worker;
