//! What a worker is started with: libraries, stand-ins, environment variables.
#![forbid(unsafe_code)]

pub mod libraries;
pub mod stand_in;
pub mod variables;
pub mod worker_command;
