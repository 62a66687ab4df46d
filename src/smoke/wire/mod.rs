//! The messages between supervisor and worker, and their framing.
#![forbid(unsafe_code)]

pub(crate) mod blob;
pub(crate) mod cause;
pub(crate) mod frame;
pub(crate) mod worker;
