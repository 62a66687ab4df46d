//! The workers' lives: start, watch, deadline, last words, end, settlement.
#![forbid(unsafe_code)]

pub(crate) mod child;
pub(crate) mod event;
pub(crate) mod family;
pub(crate) mod load;
pub(crate) mod peer;
pub(crate) mod plugin_check;
pub(crate) mod remote;
pub(crate) mod settlement;
pub(crate) mod side;
pub(crate) mod supervisor;
mod turn;
pub(crate) mod watch;
