//! What is installed here: interpreters and site-packages, distributions and their RECORD, NIXL installations, shared libraries (ELF),
//! fabric devices.
#![forbid(unsafe_code)]

pub mod bytecode;
pub mod distribution;
pub mod fabric_devices;
pub mod install;
pub mod interpreter;
pub mod loader;
pub mod module;
pub mod nixl;
pub mod record;
pub mod shared_library;
pub mod site_packages;
pub mod target;
