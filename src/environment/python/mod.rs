//! A Python environment: its interpreter, site-packages, distributions with their RECORD, bytecode, and installing a
//! change.

pub mod bytecode;
pub mod distribution;
pub mod install;
pub mod interpreter;
pub mod module;
pub mod record;
pub mod site_packages;
pub mod target;
