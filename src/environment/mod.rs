//! What is installed here: interpreters and site-packages, distributions and their RECORD, NIXL installations.
#![forbid(unsafe_code)]

pub mod bytecode;
pub mod distribution;
pub mod install;
pub mod interpreter;
pub mod module;
pub mod nixl;
pub mod record;
pub mod site_packages;
pub mod target;
