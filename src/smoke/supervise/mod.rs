//! The workers' lives: start, watch, deadline, last words, end, settlement.
#![forbid(unsafe_code)]

pub(crate) mod between;
pub(crate) mod child;
pub(crate) mod ear;
pub(crate) mod event;
pub(crate) mod plugin_check;
pub(crate) mod remote;
pub(crate) mod settlement;
pub(crate) mod side;
pub(crate) mod sides;
pub(crate) mod watch;
