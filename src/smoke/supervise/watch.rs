//! Watching the workers: their messages, how they end, the deadline.

use std::time::{Duration, Instant};

use super::event::Event;
use super::remote::out_of_turn;
use super::supervisor::{CAUSE_WAIT, Supervisor};
use crate::report::stage::Stage;
use crate::smoke::ending::{Ending, Outcome};
use crate::smoke::plan::role::Role;
use crate::smoke::wire::cause::Surrender;
use crate::smoke::wire::worker::FromWorker;

/// Limit for a worker that has closed its channel to end.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Watches both workers until they are done, one fails, or the deadline passes; `progress` gets each stage, and how
    /// far a long one has come.
    ///
    /// # Errors
    /// How it ended, if it did not end well.
    pub(crate) fn supervise(&mut self, progress: &mut dyn FnMut(&str)) -> Result<Outcome, Ending> {
        loop {
            let left = self.limit().saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.out_of_time());
            }
            match self.events.recv_timeout(left) {
                Ok(event) => self.handle(event, progress)?,
                Err(_) => return Err(self.out_of_time()),
            }
            if self.verdict.is_some() {
                return Ok(Outcome::Decided);
            }
            if !self.awaits_verdict()
                && let [Some(initiator), Some(target)] = [self.done(Role::Initiator), self.done(Role::Target)]
            {
                return Ok(Outcome::Measured { initiator, target });
            }
        }
    }

    fn handle(&mut self, event: Event, progress: &mut dyn FnMut(&str)) -> Result<(), Ending> {
        if let Event::Worker(role, message) = &event {
            if !self.worker(*role).takes(message) {
                return Err(self.out_of_turn(*role));
            }
            self.forward(*role, message);
        }
        match event {
            Event::Worker(role, FromWorker::Stage(stage)) => self.stage_begins(role, stage, progress),
            Event::Worker(role, FromWorker::Progress(share)) => {
                progress(&format!("{}, {} %", self.stage(role).activity(), share.percent()));
            }
            Event::Worker(role, FromWorker::Peer(message)) => {
                // If the worker has ended, its own channel says how.
                let _ = self.worker(role.other()).forward(message);
            }
            Event::Worker(role, FromWorker::Stated(stated)) => {
                if role == Role::Initiator || self.awaits_verdict() {
                    self.stated = Some(stated);
                }
            }
            Event::Worker(Role::Initiator, FromWorker::Gpu(gpu)) => self.gpu = Some(gpu),
            Event::Worker(Role::Target, FromWorker::Gpu(_)) => {}
            Event::Worker(role, FromWorker::Tried(_)) => {
                return Err(Ending::Broken(role, self.stage(role), "it answered a question that was not asked".into()));
            }
            Event::Worker(role, FromWorker::Done(measurements)) => self.worker(role).done = Some(measurements),
            Event::Worker(role, FromWorker::Failed(surrender)) => return Err(self.failed(role, surrender)),
            // How it ends is looked at once both are done.
            Event::Closed(role, _) if self.done(role).is_some() => {}
            Event::Closed(role, error) => return Err(self.closed(role, error)),
            Event::TargetFailed(role, failure) => return Err(self.target_failed(role, failure)),
            Event::Verdict(verdict) => self.verdict = Some(verdict),
            Event::PeerLost(role, loss) => return Err(Ending::PeerLost(role, self.stage(role), loss)),
            // No verdict was sent yet.
            Event::VerdictReceived => return Err(self.out_of_turn(Role::Target)),
        }
        Ok(())
    }

    /// The ending for a message that came before its turn, or twice.
    fn out_of_turn(&mut self, role: Role) -> Ending {
        let stage = self.stage(role);
        match self.worker(role).remote() {
            Some(remote) => Ending::PeerLost(role, stage, out_of_turn(&remote.name)),
            None => Ending::Broken(role, stage, "it sent a message out of turn".into()),
        }
    }

    fn stage_begins(&mut self, role: Role, stage: Stage, progress: &mut dyn FnMut(&str)) {
        self.worker(role).stage = stage;
        if role != Role::Initiator {
            return;
        }
        if stage == Stage::Transfer {
            self.connected.get_or_insert_with(Instant::now);
        }
        progress(stage.activity());
    }

    /// The ending for a worker's error, which may be the consequence of the other one's death.
    fn failed(&mut self, role: Role, surrender: Surrender) -> Ending {
        let other = role.other();
        if surrender.stage < Stage::Connect {
            return Ending::Failed(role, surrender);
        }
        if let Some(ending) = self.cause_on_peer(role, &surrender) {
            return ending;
        }
        match self.worker(other).wait(CAUSE_WAIT) {
            Some(status) if self.done(other).is_none() => Ending::Died(other, self.last_stage(other), status),
            _ => Ending::Failed(role, surrender),
        }
    }

    /// The last stage of a worker that has ended: its message may still be in the queue.
    fn last_stage(&mut self, role: Role) -> Stage {
        while let Ok(event) = self.events.recv_timeout(CAUSE_WAIT) {
            match event {
                Event::Worker(sender, FromWorker::Stage(stage)) => self.worker(sender).stage = stage,
                Event::Closed(closed, _) if closed == role => break,
                _ => {}
            }
        }
        self.stage(role)
    }

    fn closed(&mut self, role: Role, error: Option<String>) -> Ending {
        let worker = self.worker(role);
        let stage = worker.stage;
        if let Some(error) = error {
            return Ending::Broken(role, stage, error);
        }
        match worker.wait(EXIT_TIMEOUT) {
            Some(status) => Ending::Died(role, stage, status),
            None => Ending::Broken(role, stage, "it closed its control channel".into()),
        }
    }

    fn out_of_time(&mut self) -> Ending {
        Ending::Deadline(Role::ALL.map(|role| (role, self.stage(role))))
    }
}
