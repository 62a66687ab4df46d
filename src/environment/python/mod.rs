//! Python environments: interpreters, site-packages, distributions with their RECORD, bytecode, and installing a change.

pub(crate) mod bytecode;
pub(crate) mod distribution;
pub(crate) mod install;
pub(crate) mod interpreter;
mod layout;
pub(crate) mod module;
pub(crate) mod record;
pub(crate) mod search;
pub(crate) mod site_packages;
pub(crate) mod target;
