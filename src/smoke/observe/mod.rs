//! What a running library states about what carries the bytes, and what a worker prints.
#![forbid(unsafe_code)]

pub(crate) mod libfabric;
pub(crate) mod output;
pub(crate) mod statement;
pub(crate) mod ucx;
