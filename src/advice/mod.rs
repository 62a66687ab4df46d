//! Findings: what is wrong on this machine or in this image, and the cure.
#![forbid(unsafe_code)]

pub(crate) mod backend_choice;
pub(crate) mod efa_settings;
pub(crate) mod ends;
pub(crate) mod explain;
pub(crate) mod installed;
pub(crate) mod interpreter;
pub(crate) mod knobs;
pub(crate) mod libraries;
pub(crate) mod loading;
pub(crate) mod machine;
pub(crate) mod media_loader;
pub(crate) mod nixl_import;
pub(crate) mod nixl_mix;
mod packages;
pub(crate) mod pins;
pub(crate) mod rdma;
pub(crate) mod stale_record;
pub(crate) mod ucx;
pub(crate) mod variables;
