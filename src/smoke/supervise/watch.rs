//! Watching the workers: what they say, how they end, the deadline.

use std::time::{Duration, Instant};

use super::event::Event;
use super::sides::{ECHO, Supervisor};
use crate::report::stage::Stage;
use crate::smoke::ending::{Ending, Outcome};
use crate::smoke::plan::role::Role;
use crate::smoke::wire::cause::Surrender;
use crate::smoke::wire::worker::FromWorker;

/// How long a worker that has closed its channel may take to end.
const DYING: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Watches both workers until they are done, one fails, or time runs out; `progress` hears of each stage.
    ///
    /// # Errors
    /// How it ended, when it did not end well.
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
        if let Event::Said(role, message) = &event {
            self.pass_on(*role, message);
        }
        match event {
            Event::Said(role, FromWorker::Stage(stage)) => self.stage_begins(role, stage, progress),
            Event::Said(role, FromWorker::Peer(message)) => {
                // A worker that cannot be told any more has ended; its own channel says how.
                let _ = self.worker(role.other()).tell(message);
            }
            Event::Said(role, FromWorker::Stated(stated)) => {
                if role == Role::Initiator || self.awaits_verdict() {
                    self.stated = Some(stated);
                }
            }
            Event::Said(Role::Initiator, FromWorker::Gpu(gpu)) => self.gpu = Some(gpu),
            Event::Said(Role::Target, FromWorker::Gpu(_)) => {}
            Event::Said(role, FromWorker::Tried(_)) => {
                return Err(Ending::Broken(role, self.stage(role), "it tried a plugin".into()));
            }
            Event::Said(role, FromWorker::Done(measurements)) => self.worker(role).dismiss(measurements),
            Event::Said(role, FromWorker::Failed(surrender)) => return Err(self.failed(role, surrender)),
            // The one that is done has been dismissed.
            Event::Closed(role, _) if self.done(role).is_some() && self.worker(role).is_here() => {}
            Event::Closed(role, error) => return Err(self.closed(role, error)),
            Event::Found(role, finding) => return Err(self.found(role, finding)),
            Event::Decided(verdict) => self.verdict = Some(verdict),
            // Nothing was said yet that could have been heard.
            Event::Heard => return Err(self.gone(Role::Target, Some("said something out of turn".into()))),
        }
        Ok(())
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

    /// A worker's error may be nothing but the echo of the other one's end.
    fn failed(&mut self, role: Role, surrender: Surrender) -> Ending {
        let other = role.other();
        if surrender.stage < Stage::Connect {
            return Ending::Failed(role, surrender);
        }
        if let Some(ending) = self.echo_from_there(role, &surrender) {
            return ending;
        }
        match self.worker(other).wait(ECHO) {
            Some(status) if self.done(other).is_none() => Ending::Died(other, self.last_stage(other), status),
            _ => Ending::Failed(role, surrender),
        }
    }

    /// The last stage of a worker that has ended: what it said of it may not have been heard yet.
    fn last_stage(&mut self, role: Role) -> Stage {
        while let Ok(event) = self.events.recv_timeout(ECHO) {
            match event {
                Event::Said(speaker, FromWorker::Stage(stage)) => self.worker(speaker).stage = stage,
                Event::Closed(closed, _) if closed == role => break,
                _ => {}
            }
        }
        self.stage(role)
    }

    fn closed(&mut self, role: Role, error: Option<String>) -> Ending {
        let worker = self.worker(role);
        if !worker.is_here() {
            return self.gone(role, error);
        }
        let stage = worker.stage;
        match worker.wait(DYING) {
            Some(status) => Ending::Died(role, stage, status),
            None => Ending::Broken(role, stage, error.unwrap_or_else(|| "it closed its control channel".into())),
        }
    }

    fn out_of_time(&mut self) -> Ending {
        Ending::Deadline(Role::ALL.map(|role| (role, self.stage(role))))
    }
}
