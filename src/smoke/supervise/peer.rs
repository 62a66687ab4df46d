//! Two machines: what each supervisor learns about the other one's worker.
//!
//! Each supervisor forwards its own worker's stages and results, so both see both workers.

use std::time::{Duration, Instant};

use super::event::Event;
use super::remote::{GRACE, is_forwarded};
use super::supervisor::{CAUSE_WAIT, Supervisor};
use crate::smoke::ending::Ending;
use crate::smoke::meeting::message::{Message, TargetFailure};
use crate::smoke::plan::role::Role;
use crate::smoke::wire::cause::Surrender;
use crate::smoke::wire::worker::FromWorker;

/// How long to wait for the peer to report a failure that may have caused a worker's error here.
const PEER_CAUSE_WAIT: Duration = Duration::from_millis(500);

impl Supervisor {
    /// Forwards a message of this machine's worker to the peer; for one of the peer's, notes the time.
    pub(super) fn forward(&mut self, sender: Role, message: &FromWorker) {
        if let Some(remote) = self.worker(sender).remote() {
            remote.last_heard = Instant::now();
            return;
        }
        let is_for_worker = matches!(message, FromWorker::Peer(_));
        if let Some(remote) = self.worker(sender.other()).remote().filter(|_| is_forwarded(message) && !is_for_worker) {
            // If this fails, the receiving thread reports why.
            let _ = remote.send(&Message::Worker(message.clone()));
        }
    }

    /// The ending for an error of this machine's worker, which may be the consequence of a failure on the peer. `None` if
    /// there is no peer.
    pub(super) fn cause_on_peer(&mut self, role: Role, surrender: &Surrender) -> Option<Ending> {
        self.worker(role.other()).remote()?;
        let ending = match self.next_peer_event(PEER_CAUSE_WAIT) {
            Some(Event::TargetFailed(_, TargetFailure { failure, died: true })) => {
                Ending::ReportedByPeer(failure.into())
            }
            Some(Event::PeerLost(other, loss)) => Ending::PeerLost(other, self.stage(other), loss),
            Some(Event::Verdict(verdict)) => {
                self.verdict = Some(verdict);
                Ending::Failed(role, surrender.clone())
            }
            _ => Ending::Failed(role, surrender.clone()),
        };
        Some(ending)
    }

    /// The ending for a failure of the peer's worker, which may be the consequence of a death on this machine.
    pub(super) fn target_failed(&mut self, role: Role, target: TargetFailure) -> Ending {
        let own = role.other();
        if target.died || self.done(own).is_some() {
            return Ending::ReportedByPeer(target.failure.into());
        }
        match self.worker(own).wait(CAUSE_WAIT) {
            Some(status) => Ending::Died(own, self.stage(own), status),
            None => Ending::ReportedByPeer(target.failure.into()),
        }
    }

    /// The next event that the peer's supervisor itself causes; workers' events until then are dropped.
    pub(super) fn next_peer_event(&mut self, limit: Duration) -> Option<Event> {
        let until = (Instant::now() + limit).min(self.deadline + GRACE);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left).ok()? {
                Event::Worker(..) | Event::Closed(..) => {}
                event => return Some(event),
            }
        }
    }
}
