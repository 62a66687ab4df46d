//! Python seen through rustpython-parser: encoding, bindings, agent calls, rewrite, proof.
#![forbid(unsafe_code)]

pub(crate) mod agent_call;
mod alone;
pub(crate) mod bindings;
pub(crate) mod encoding;
pub(crate) mod environment_read;
pub(crate) mod helper;
pub(crate) mod helper_check;
pub(crate) mod meaning;
mod module_getattr;
pub(crate) mod nixl_default;
pub(crate) mod own_choice;
pub(crate) mod patch;
pub(crate) mod rewrite;
mod span;
pub(crate) mod syntax;
pub(crate) mod verify;
mod walk;
