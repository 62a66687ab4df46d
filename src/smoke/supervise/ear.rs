//! What a thread needs that listens for the supervisor.

use std::sync::mpsc::Sender;

use super::event::Event;

/// Where a listening thread sends what it hears.
#[derive(Clone)]
pub(crate) struct Ear {
    /// The supervisor's queue.
    pub events: Sender<Event>,
    /// Asks the kernel to let the calling thread run soon after it wakes up.
    pub promptly: fn(),
}
