//! What the supervisor hears.

use crate::smoke::meeting::message::Finding;
use crate::smoke::meeting::verdict::Verdict;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::worker::FromWorker;

/// What reaches the supervisor from a worker.
#[derive(Debug)]
pub(crate) enum Event {
    /// It said something.
    Said(Role, FromWorker),
    /// Nothing more will come; with the error, if it was one.
    Closed(Role, Option<String>),
    /// The other machine's supervisor: how its worker has failed.
    Found(Role, Finding),
    /// The other machine's supervisor: what the transfer came to.
    Decided(Box<Verdict>),
    /// The other machine's supervisor has heard that.
    Heard,
}
