//! Findings: what is wrong on this machine or in this image, and the cure.
#![forbid(unsafe_code)]

pub(crate) mod libraries;
pub(crate) mod machine;
pub(crate) mod media_loader;
pub(crate) mod rdma;
pub(crate) mod ucx;
