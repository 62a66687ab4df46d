//! The workers' lives: start, watch, deadline, last words, end, settlement.
#![forbid(unsafe_code)]

pub mod between;
pub mod child;
pub mod ear;
pub mod event;
pub mod plugin_check;
pub mod remote;
pub mod settlement;
pub mod side;
pub mod sides;
pub mod watch;
