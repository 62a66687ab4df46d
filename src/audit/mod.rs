//! Every place in a tree that creates a NIXL agent, its configuration or a backend, and how it chooses.
#![forbid(unsafe_code)]

pub(crate) mod across;
mod distributions;
pub(crate) mod findings;
mod modules;
mod needles;
mod rust;
mod survey;
mod tree;
mod walk;

pub(crate) use survey::{Progress, audit};
