//! What a running library states about what carries the bytes, and what a worker prints.
#![forbid(unsafe_code)]

pub mod libfabric;
pub mod output;
pub mod statement;
pub mod ucx;
