//! Every place in a tree that creates a NIXL agent, its configuration or a backend, and how it chooses.
#![forbid(unsafe_code)]

mod distributions;
pub(crate) mod findings;
mod modules;
mod needles;
mod rust;
mod survey;
mod walk;

pub(crate) use survey::{Progress, audit};
