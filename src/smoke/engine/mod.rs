//! The libraries that move bytes. All unsafe code of this program is in this folder's files.

pub mod nixl_capi;
pub mod region;
