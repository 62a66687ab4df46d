//! Two machines: agreeing on what a transfer came to.
//!
//! The connecting end, where the initiator is, decides, because it sees what the initiator's library states. The
//! listening end tells it how its own worker has failed, if it has, and waits for the verdict.

use super::event::Event;
use super::remote::GRACE;
use super::sides::Supervisor;
use crate::report::smoke::{Failure, PeerReport, Smoke, SmokeStatus};
use crate::report::stage::Stage;
use crate::smoke::ending::Ending;
use crate::smoke::meeting::connection::{Connection, own_host};
use crate::smoke::meeting::message::{Finding, Message};
use crate::smoke::meeting::verdict::Verdict;
use crate::smoke::plan::Plan;
use crate::smoke::plan::role::Role;

/// Puts into a report who is at the other end.
pub(crate) fn introduce(smoke: &mut Smoke, connection: &Connection) {
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
    /// Says on which machine it was.
    pub(crate) fn locate(&mut self, failure: &mut Failure, ending: &Ending, plan_seconds: &str) {
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
    pub(crate) fn settle(
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
                        None => verdict.adopt(smoke),
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
        let Some(remote) = self.remote() else { return false };
        let said = remote.say(&Message::Verdict(Box::new(Verdict::of(smoke))));
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

    fn hear_verdict(&mut self, smoke: &Smoke, died: bool) -> Option<Box<Verdict>> {
        if self.verdict.is_none() {
            let finding = Finding { failure: smoke.failure.clone()?.into(), died };
            self.remote()?.say(&Message::Finding(finding)).ok()?;
            if let Some(Event::Decided(verdict)) = self.word_from_there(GRACE) {
                self.verdict = Some(verdict);
            }
        }
        self.verdict.take()
    }

    /// What speaks against a verdict: this end says «passed» only of what its own worker has compared.
    fn doubt(&mut self, plan: &Plan, verdict: &Verdict) -> Option<Failure> {
        let has_compared = self.done(Role::Target).is_some_and(|done| done.compared == plan.size);
        let is_right_fabric = !plan.principal || plan.require_fabric.accepts(verdict.fabric.as_ref());
        let what = match verdict.status {
            SmokeStatus::Failed => return None,
            SmokeStatus::Passed if has_compared && verdict.verified && is_right_fabric => return None,
            SmokeStatus::Passed if has_compared && verdict.verified => "over another fabric than this end demands",
            SmokeStatus::Passed => "and this end's worker has not compared what it should have received",
            SmokeStatus::Skipped => "was skipped, which was not agreed upon",
        };
        let name = self.remote().map(|remote| remote.name.clone()).unwrap_or_default();
        Some(Failure {
            stage: Stage::Compare,
            message: format!("{name} says that the transfer is over ({:?}), {what}", verdict.status),
            advice: "Do not believe that machine's nixl-retrofit: see which one runs there.".into(),
        })
    }
}
