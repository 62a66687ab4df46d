//! What reaches the supervisor.

use std::sync::mpsc::SyncSender;

use crate::smoke::ending::PeerLoss;
use crate::smoke::meeting::message::TargetFailure;
use crate::smoke::meeting::verdict::Verdict;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::worker::FromWorker;

/// Maximum number of events that wait for the supervisor. A worker or a peer that sends more waits itself.
pub(crate) const QUEUE: usize = 64;

/// What reaches the supervisor from its workers and from the peer's supervisor.
#[derive(Debug)]
pub(crate) enum Event {
    /// A worker sent a message; the peer's supervisor forwards those of its own.
    Worker(Role, FromWorker),
    /// A worker on this machine or its control channel ended; what broke the protocol, if something did.
    Closed(Role, Option<String>),
    /// The peer reports how its worker, the target, failed.
    TargetFailed(Role, TargetFailure),
    /// The peer reports the transfer's result.
    Verdict(Box<Verdict>),
    /// The peer has the verdict.
    VerdictReceived,
    /// The connection to the peer, whose worker has this role, is of no more use.
    PeerLost(Role, PeerLoss),
}

/// A thread's way to the supervisor.
#[derive(Clone)]
pub(crate) struct EventSender {
    /// The supervisor's queue, which holds [`QUEUE`] events.
    pub events: SyncSender<Event>,
    /// Asks the kernel to schedule the calling thread soon after it wakes up.
    pub promptly: fn(),
}
