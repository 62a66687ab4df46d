//! Rust seen through syn: names, agent calls, rewrite, proof. Positions come from proc-macro2's spans, new code from quote.
#![forbid(unsafe_code)]

mod agent_call;
mod block_manager;
mod condition;
mod constant;
mod fact;
mod failure;
mod helper;
pub(crate) mod modules;
mod names;
pub(crate) mod patch;
mod rewrite;
mod site;
pub(crate) mod survey;
mod syntax;
mod tokens;
mod verify;
