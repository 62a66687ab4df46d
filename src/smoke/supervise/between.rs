//! Two machines: what each supervisor hears of the other one's worker.
//!
//! Each supervisor sees both workers' stages and results: its own one's directly, the other one's because it is passed
//! on.

use std::time::{Duration, Instant};

use super::event::Event;
use super::remote::{GRACE, is_passed_on};
use super::sides::{self, Supervisor};
use crate::smoke::ending::Ending;
use crate::smoke::meeting::message::{Finding, Message};
use crate::smoke::plan::role::Role;
use crate::smoke::wire::cause::Surrender;
use crate::smoke::wire::worker::FromWorker;

/// How long to look whether a worker's error is the echo of what has happened on the other machine.
const ECHO: Duration = Duration::from_millis(500);

impl Supervisor {
    /// Lets the other machine hear what this one's worker has said, as far as it concerns it, and notes when that one's
    /// was heard.
    pub(super) fn pass_on(&mut self, speaker: Role, message: &FromWorker) {
        if let Some(remote) = self.worker(speaker).remote() {
            remote.heard = Instant::now();
            return;
        }
        let is_for_worker = matches!(message, FromWorker::Peer(_));
        if let Some(remote) = self.worker(speaker.other()).remote().filter(|_| is_passed_on(message) && !is_for_worker)
        {
            // Where it cannot be told any more, the thread that listens to it says why.
            let _ = remote.say(&Message::Worker(message.clone()));
        }
    }

    /// A worker's error may be the echo of what has happened on the other machine. None without one.
    pub(super) fn echo_from_there(&mut self, role: Role, surrender: &Surrender) -> Option<Ending> {
        self.worker(role.other()).remote()?;
        let ending = match self.word_from_there(ECHO) {
            Some(Event::Found(_, finding)) if finding.died => Ending::Told(finding.failure.into()),
            Some(Event::Closed(other, error)) => self.gone(other, error),
            Some(Event::Decided(verdict)) => {
                self.verdict = Some(verdict);
                Ending::Failed(role, surrender.clone())
            }
            _ => Ending::Failed(role, surrender.clone()),
        };
        Some(ending)
    }

    /// The other end's worker has failed, which may be the echo of this end's death.
    pub(super) fn found(&mut self, role: Role, finding: Finding) -> Ending {
        let own = role.other();
        if finding.died || self.done(own).is_some() {
            return Ending::Told(finding.failure.into());
        }
        match self.worker(own).wait(sides::ECHO) {
            Some(status) => Ending::Died(own, self.stage(own), status),
            None => Ending::Told(finding.failure.into()),
        }
    }

    /// The other end has gone, or cannot be understood.
    pub(super) fn gone(&mut self, role: Role, error: Option<String>) -> Ending {
        let stage = self.stage(role);
        let name = self.remote().map(|remote| remote.name.clone()).unwrap_or_default();
        let what = error.unwrap_or_else(|| "closed the control connection without a word".into());
        Ending::Gone(role, stage, format!("{name} {what}"))
    }

    /// What the other supervisor says next on its own account.
    pub(super) fn word_from_there(&mut self, limit: Duration) -> Option<Event> {
        let until = (Instant::now() + limit).min(self.deadline + GRACE);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left).ok()? {
                Event::Said(..) => {}
                Event::Closed(role, _) if self.worker(role).is_here() => {}
                event => return Some(event),
            }
        }
    }
}
