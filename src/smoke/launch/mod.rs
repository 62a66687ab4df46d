//! What a worker is started with: libraries, stand-ins, environment variables.
#![forbid(unsafe_code)]

pub(crate) mod libraries;
pub(crate) mod load_command;
pub(crate) mod stand_in;
pub(crate) mod variables;
pub(crate) mod worker_command;
