//! Two machines: agreeing on a transfer's result.
//!
//! The connecting side, where the initiator is, decides, because it sees what the initiator's library states. The listening
//! side reports a failure of its own worker, and waits for the verdict.

use super::event::Event;
use super::remote::GRACE;
use super::supervisor::Supervisor;
use crate::report::smoke::{Failure, PeerReport, Smoke, SmokeStatus};
use crate::report::stage::Stage;
use crate::smoke::ending::Ending;
use crate::smoke::meeting::connection::{Connection, own_host, own_kernel};
use crate::smoke::meeting::message::{Message, TargetFailure};
use crate::smoke::meeting::verdict::Verdict;
use crate::smoke::plan::Plan;
use crate::smoke::plan::role::Role;

/// Puts the peer into a report.
pub(crate) fn add_peer(smoke: &mut Smoke, connection: &Connection) {
    let peer = &connection.peer;
    smoke.role = Some(connection.role.name().into());
    smoke.peer = Some(PeerReport {
        address: peer.address.to_string(),
        host: peer.host.clone(),
        nixl_version: peer.nixl_version.clone(),
    });
    if peer.kernel.is_some() && peer.kernel == own_kernel() {
        smoke.warnings.push(format!(
            "both ends are one machine: {} has the same kernel as this end (boot ID), so nothing is shown of the network \
             between two machines\nhelp: run each end on a machine of its own, not in two containers or network namespaces of \
             one",
            connection.describe()
        ));
    }
    if let (Some(ours), Some(theirs)) = (&smoke.nixl_version, &peer.nixl_version)
        && ours != theirs
    {
        smoke.warnings.push(format!(
            "{} has NIXL {theirs}, this machine has NIXL {ours}\nhelp: install the same NIXL on both machines",
            connection.describe()
        ));
    }
}

/// Puts different releases of NIXL on the two machines before anything else that a failure names. A failure that the peer
/// reports has them already.
pub(crate) fn add_versions(failure: &mut Failure, smoke: &Smoke, ending: &Ending) {
    let Some(peer) = smoke.peer.as_ref().filter(|_| !matches!(ending, Ending::ReportedByPeer(_))) else { return };
    if let (Some(ours), Some(theirs)) = (&smoke.nixl_version, &peer.nixl_version)
        && ours != theirs
    {
        let own = own_host();
        failure.message = format!("{own} has NIXL {ours}, {} has NIXL {theirs}: {}", peer.host, failure.message);
    }
}

impl Supervisor {
    /// Adds to a failure the machine it happened on.
    pub(crate) fn add_machine(&mut self, failure: &mut Failure, ending: &Ending) {
        let awaits_verdict = self.awaits_verdict();
        let Some(remote) = self.remote() else { return };
        match ending {
            Ending::NotStarted(_) | Ending::Failed(..) | Ending::Died(..) | Ending::Broken(..) => {
                let side = if awaits_verdict { "listening" } else { "connecting" };
                failure.message = format!("on {} ({side} side): {}", own_host(), failure.message);
            }
            Ending::Deadline(_) => {
                let other = if awaits_verdict { Role::Initiator } else { Role::Target };
                let silence = remote.last_heard.elapsed().as_secs_f64();
                failure.message.push_str(&format!(
                    "\n  the {other} is on {}; its last message came {silence:.1} s before the end",
                    remote.name
                ));
            }
            Ending::ReportedByPeer(_) | Ending::PeerLost(..) => {}
        }
    }

    /// Agrees with the peer on the transfer's result, and returns it.
    pub(crate) fn settle(
        &mut self,
        plan: &Plan,
        connection: &mut Connection,
        smoke: Smoke,
        ending: Option<&Ending>,
    ) -> Smoke {
        // A side that awaits a verdict has already waited beyond the deadline for it.
        let is_late = self.awaits_verdict() && matches!(ending, Some(Ending::Deadline(_)));
        if is_late || matches!(ending, Some(Ending::PeerLost(..))) {
            connection.close();
            return smoke;
        }
        match connection.role {
            Role::Initiator => {
                if !self.send_verdict(&smoke) {
                    connection.close();
                }
                smoke
            }
            Role::Target => match self.receive_verdict(&smoke, matches!(ending, Some(Ending::Died(..)))) {
                Some(verdict) => {
                    // The peer may have closed the connection after its last message.
                    connection.lost |=
                        self.remote().is_none_or(|remote| remote.send(&Message::VerdictReceived).is_err());
                    match self.contradiction(plan, &verdict) {
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

    fn send_verdict(&mut self, smoke: &Smoke) -> bool {
        let Some(remote) = self.remote() else { return false };
        if remote.send(&Message::Verdict(Box::new(Verdict::of(smoke)))).is_err() {
            return false;
        }
        loop {
            match self.next_peer_event(GRACE) {
                Some(Event::VerdictReceived) => return true,
                // Sent before the verdict arrived.
                Some(Event::TargetFailed(..)) => {}
                _ => return false,
            }
        }
    }

    fn receive_verdict(&mut self, smoke: &Smoke, died: bool) -> Option<Box<Verdict>> {
        if self.verdict.is_none() {
            let failure = TargetFailure { failure: smoke.failure.clone()?.into(), died };
            self.remote()?.send(&Message::TargetFailed(failure)).ok()?;
            if let Some(Event::Verdict(verdict)) = self.next_peer_event(GRACE) {
                self.verdict = Some(verdict);
            }
        }
        self.verdict.take()
    }

    /// What contradicts a verdict: this side reports `passed` only if its own worker has compared the bytes.
    fn contradiction(&mut self, plan: &Plan, verdict: &Verdict) -> Option<Failure> {
        let has_compared = self.done(Role::Target).is_some_and(|done| done.compared == plan.size);
        let is_right_fabric = !plan.principal || plan.require_fabric.accepts(verdict.fabric.as_ref());
        let what = match verdict.status {
            SmokeStatus::Failed => return None,
            SmokeStatus::Passed if has_compared && verdict.verified && is_right_fabric => return None,
            SmokeStatus::Passed if has_compared && verdict.verified => {
                "passed, but over another fabric than this side requires"
            }
            SmokeStatus::Passed => {
                "passed, but this side's worker has not compared the bytes that it should have received"
            }
            SmokeStatus::Skipped => "was skipped, which was not agreed",
        };
        let name = self.remote().map(|remote| remote.name.clone()).unwrap_or_default();
        Some(Failure {
            stage: Stage::Compare,
            message: format!("{name} reports that the transfer {what}"),
            advice: "do not trust this result; check the peer's version".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_releases_are_the_first_thing_that_a_failure_names() {
        let with = |theirs: &str| Smoke {
            nixl_version: Some("1.5.0".into()),
            peer: Some(PeerReport {
                address: "10.0.0.2:7000".into(),
                host: "node-a".into(),
                nixl_version: Some(theirs.into()),
            }),
            ..Smoke::nothing_observed("UCX")
        };
        let failure = || Failure { stage: Stage::Load, message: "m".into(), advice: "a".into() };
        let message = |theirs: &str, ending: Ending| {
            let mut failure = failure();
            add_versions(&mut failure, &with(theirs), &ending);
            failure.message
        };
        let named = format!("{} has NIXL 1.5.0, node-a has NIXL 1.0.1: m", own_host());
        assert_eq!(message("1.0.1", Ending::NotStarted("e".into())), named);
        assert_eq!(message("1.5.0", Ending::NotStarted("e".into())), "m");
        assert_eq!(message("1.0.1", Ending::ReportedByPeer(failure())), "m");
    }
}
