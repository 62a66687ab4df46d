//! What is different between two machines.
//!
//! Each supervisor sees both workers' stages and results: its own one's directly, the other one's because it is passed
//! on. The connecting end, where the initiator is, decides what a transfer came to, because it sees what the initiator's
//! library states. The listening end tells it how its own worker has failed, if it has, and waits for the verdict.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::child::Event;
use super::remote::{GRACE, Remote, is_passed_on};
use super::{Ending, Supervisor};
use crate::report::{Failure, PeerReport, Smoke, SmokeStatus};
use crate::smoke::meeting::connection::{Connection, Finding, Message, own_host};
use crate::smoke::plan::Plan;
use crate::smoke::protocol::{FromWorker, Role, Stage, Surrender};

/// How long to look whether a worker's error is the echo of what has happened on the other machine.
const ECHO: Duration = Duration::from_millis(500);

/// Puts into a report who is at the other end.
pub(super) fn introduce(smoke: &mut Smoke, connection: &Connection) {
    let other = &connection.other;
    smoke.role = Some(connection.role.name().into());
    smoke.peer = Some(PeerReport {
        address: other.address.to_string(),
        host: other.host.clone(),
        nixl_version: other.nixl_version.clone(),
    });
    if let (Some(ours), Some(theirs)) = (&smoke.nixl_version, &other.nixl_version)
        && ours != theirs
    {
        smoke.warnings.push(format!("{} has NIXL {theirs}, and this machine {ours}", connection.describe()));
    }
}

impl Supervisor {
    /// Whether the other end decides what the transfer came to.
    pub(super) fn awaits_verdict(&self) -> bool {
        self.workers.iter().any(|side| side.role == Role::Initiator && !side.is_here())
    }

    /// When to give up; who awaits a verdict gives the other end the time to say that its time is over.
    pub(super) fn limit(&self) -> Instant {
        if self.awaits_verdict() { self.deadline + GRACE } else { self.deadline }
    }

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
            Some(Event::Found(_, finding)) if finding.died => Ending::Told(finding.failure),
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
            return Ending::Told(finding.failure);
        }
        match self.worker(own).wait(super::ECHO) {
            Some(status) => Ending::Died(own, self.stage(own), status),
            None => Ending::Told(finding.failure),
        }
    }

    /// The other end has gone, or cannot be understood.
    pub(super) fn gone(&mut self, role: Role, error: Option<String>) -> Ending {
        let stage = self.stage(role);
        let name = self.remote().map(|remote| remote.name.clone()).unwrap_or_default();
        let what = error.unwrap_or_else(|| "closed the control connection without a word".into());
        Ending::Gone(role, stage, format!("{name} {what}"))
    }

    /// Says on which machine it was.
    pub(super) fn locate(&mut self, failure: &mut Failure, ending: &Ending, plan_seconds: &str) {
        let awaits_verdict = self.awaits_verdict();
        let Some(remote) = self.remote() else { return };
        match ending {
            Ending::NotStarted(_) | Ending::Failed(..) | Ending::Died(..) | Ending::Broken(..) => {
                let end = if awaits_verdict { "listened" } else { "connected" };
                failure.message = format!("on {}, which {end}: {}", own_host(), failure.message);
            }
            Ending::Deadline(_) => {
                let other = if awaits_verdict { Role::Initiator } else { Role::Target };
                let silence = remote.heard.elapsed().as_secs_f64();
                failure.message.push_str(&format!(
                    "\n  the {other} is on {}, which was last heard of {silence:.1} s before the end of these {plan_seconds}",
                    remote.name
                ));
            }
            Ending::Told(_) | Ending::Gone(..) => {}
        }
    }

    /// Agrees with the other end on what the transfer came to; returns that.
    pub(super) fn settle(
        &mut self,
        plan: &Plan,
        connection: &mut Connection,
        smoke: Smoke,
        ending: Option<&Ending>,
    ) -> Smoke {
        // Who awaits a verdict has, at the deadline, waited for it long enough.
        let is_late = self.awaits_verdict() && matches!(ending, Some(Ending::Deadline(_)));
        if is_late || matches!(ending, Some(Ending::Gone(..))) {
            connection.close();
            return smoke;
        }
        match connection.role {
            Role::Initiator => {
                if !self.announce(&smoke) {
                    connection.close();
                }
                smoke
            }
            Role::Target => match self.hear_verdict(&smoke, matches!(ending, Some(Ending::Died(..)))) {
                Some(verdict) => {
                    // It may have hung up after its last word.
                    connection.lost |= self.remote().is_none_or(|remote| remote.say(&Message::Heard).is_err());
                    match self.doubt(plan, &verdict) {
                        Some(failure) => Smoke { failure: smoke.failure.clone().or(Some(failure)), ..smoke },
                        None => adopt(*verdict, smoke),
                    }
                }
                None => {
                    connection.close();
                    smoke
                }
            },
        }
    }

    fn announce(&mut self, smoke: &Smoke) -> bool {
        let shared = Smoke {
            nixl_library: None,
            environment: Vec::new(),
            stand_ins: Vec::new(),
            role: None,
            peer: None,
            ..smoke.clone()
        };
        let Some(remote) = self.remote() else { return false };
        let said = remote.say(&Message::Verdict(Box::new(shared)));
        if said.is_err() {
            return false;
        }
        loop {
            match self.word_from_there(GRACE) {
                Some(Event::Heard) => return true,
                // It has said how its worker failed before it could hear what this one's came to.
                Some(Event::Found(..)) => {}
                _ => return false,
            }
        }
    }

    fn hear_verdict(&mut self, smoke: &Smoke, died: bool) -> Option<Box<Smoke>> {
        if self.verdict.is_none() {
            let finding = Finding { failure: smoke.failure.clone()?, died };
            self.remote()?.say(&Message::Finding(finding)).ok()?;
            if let Some(Event::Decided(verdict)) = self.word_from_there(GRACE) {
                self.verdict = Some(verdict);
            }
        }
        self.verdict.take()
    }

    /// What speaks against a verdict: this end says «passed» only of what its own worker has compared.
    fn doubt(&mut self, plan: &Plan, verdict: &Smoke) -> Option<Failure> {
        let has_compared = self.done(Role::Target).is_some_and(|done| done.compared == plan.size);
        let is_right_fabric = !plan.principal || plan.require_fabric.accepts(verdict.fabric.as_deref());
        let what = match verdict.status {
            SmokeStatus::Failed => return None,
            SmokeStatus::Passed if has_compared && verdict.verified && is_right_fabric => return None,
            SmokeStatus::Passed if has_compared && verdict.verified => "over another fabric than this end demands",
            SmokeStatus::Passed => "and this end's worker has not compared what it should have received",
            SmokeStatus::Skipped => "was skipped, which was not agreed upon",
        };
        let name = self.remote().map(|remote| remote.name.clone()).unwrap_or_default();
        Some(Failure {
            stage: Stage::Compare.name().into(),
            message: format!("{name} says that the transfer is over ({:?}), {what}", verdict.status),
            advice: "Do not believe that machine's nixl-retrofit: see which one runs there.".into(),
        })
    }

    fn remote(&mut self) -> Option<&mut Remote> {
        self.workers.iter_mut().find_map(|side| side.remote())
    }

    /// What the other supervisor says next on its own account.
    fn word_from_there(&mut self, limit: Duration) -> Option<Event> {
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

/// The connecting end's report, with what is this machine's own in it.
fn adopt(verdict: Smoke, own: Smoke) -> Smoke {
    Smoke {
        nixl_version: own.nixl_version,
        nixl_library: own.nixl_library,
        native_library: own.native_library,
        plugin: own.plugin,
        environment: own.environment,
        stand_ins: own.stand_ins,
        role: own.role,
        peer: own.peer,
        ..verdict
    }
}
