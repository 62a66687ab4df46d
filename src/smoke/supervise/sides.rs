//! Both sides of a transfer, and what is known of them.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::child::Child;
use super::ear::Ear;
use super::event::Event;
use super::remote::{GRACE, Remote};
use super::side::Side;
use crate::choice::backend::Backend;
use crate::report::stage::Stage;
use crate::smoke::ending::Ending;
use crate::smoke::launch::worker_command::WorkerCommand;
use crate::smoke::meeting::connection::Connection;
use crate::smoke::meeting::verdict::Verdict;
use crate::smoke::observe::statement::Statement;
use crate::smoke::observe::{libfabric, ucx};
use crate::smoke::plan::Plan;
use crate::smoke::plan::messages::Messages;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::worker::{Gpu, Measurements, Stated, Task, TaskBackend, ToWorker};

/// How long to look whether a worker's error is the echo of the other one's death.
pub(crate) const ECHO: Duration = Duration::from_millis(100);
/// How long to wait for the rest of an ended worker's output.
const OUTPUT: Duration = Duration::from_millis(500);

/// Both workers, and what is known of them.
pub(crate) struct Supervisor {
    /// When the transfer must have ended.
    pub deadline: Instant,
    /// The two, once they are started.
    pub workers: Vec<Side>,
    /// What they say.
    pub events: Receiver<Event>,
    /// Where a listening thread sends that.
    pub ear: Ear,
    /// When the initiator had its connection.
    pub connected: Option<Instant>,
    /// What the initiator's library has stated; the target's, where the initiator is on another machine.
    pub stated: Option<Stated>,
    /// The initiator's GPU.
    pub gpu: Option<Gpu>,
    /// What the other machine's supervisor says that the transfer came to.
    pub verdict: Option<Box<Verdict>>,
}

impl Supervisor {
    /// Without workers as yet. `promptly` asks the kernel to let a thread run soon after it wakes up.
    pub(crate) fn new(deadline: Instant, promptly: fn()) -> Supervisor {
        let (sender, events) = mpsc::channel();
        Supervisor {
            deadline,
            workers: Vec::new(),
            events,
            ear: Ear { events: sender, promptly },
            connected: None,
            stated: None,
            gpu: None,
            verdict: None,
        }
    }

    /// Starts this machine's workers, and listens to the other machine's.
    ///
    /// # Errors
    /// Where no process or thread can be started.
    pub(crate) fn start(
        &mut self,
        plan: &Plan,
        library: &Path,
        worker: &WorkerCommand,
        connection: Option<&Connection>,
    ) -> Result<(), Ending> {
        for role in Role::ALL {
            let side = match connection.filter(|connection| connection.role != role) {
                Some(connection) => {
                    Remote::start(connection, self.deadline, self.ear.clone()).map(|remote| Side::there(role, remote))
                }
                None => {
                    let task = ToWorker::Task(task(plan, library, role));
                    Child::start(worker, role, &task, self.deadline, self.ear.clone())
                        .map(|child| Side::here(role, child))
                }
            };
            self.workers.push(side.map_err(|error| Ending::NotStarted(error.to_string()))?);
        }
        (self.ear.promptly)();
        Ok(())
    }

    /// The last stage that a side has entered.
    pub(crate) fn stage(&self, role: Role) -> Stage {
        self.workers.iter().find(|worker| worker.role == role).map_or(Stage::Load, |worker| worker.stage)
    }

    /// A side's last message, when everything was right.
    pub(crate) fn done(&self, role: Role) -> Option<Measurements> {
        self.workers.iter().find(|worker| worker.role == role)?.done.clone()
    }

    /// A side.
    pub(crate) fn worker(&mut self, role: Role) -> &mut Side {
        // Events come from started workers only, and both are started before the first event is handled.
        let index = self.workers.iter().position(|worker| worker.role == role);
        &mut self.workers[index.expect("both workers are started")]
    }

    /// Ends both, whatever they are doing, and keeps what they have printed.
    pub(crate) fn end_workers(&mut self) {
        for worker in &mut self.workers {
            worker.kill();
        }
        for worker in &mut self.workers {
            worker.reap(OUTPUT);
        }
    }

    /// What was stated about what carries the bytes.
    pub(crate) fn statement(&self, plan: &Plan) -> Statement {
        if self.awaits_verdict() {
            return Statement::default();
        }
        if let Some(carrier) = self.stated.as_ref().and_then(|stated| stated.carrier.clone()) {
            return Statement { fabric: carrier.fabric, transports: carrier.transports };
        }
        let statements = self.statements();
        if self.chosen(plan) == Backend::Libfabric {
            // Rails that never carried anything are no statement.
            return self.connected.map(|_| libfabric::read(&statements)).unwrap_or_default();
        }
        let longest = Messages::divide(plan.size as usize, plan.iterations as usize).longest();
        ucx::read(&statements, longest as u64)
    }

    /// The backend that moved the bytes, as far as it is known.
    fn chosen(&self, plan: &Plan) -> Backend {
        let name = self.done(Role::Initiator).and_then(|measurements| measurements.chosen);
        name.and_then(|name| name.parse().ok()).unwrap_or_else(|| plan.backend())
    }

    /// What the initiator's library has stated in what it printed.
    pub(crate) fn statements(&self) -> String {
        let initiator = self.workers.iter().find(|worker| worker.role == Role::Initiator);
        initiator.map(Side::statements).unwrap_or_default()
    }

    /// What a side has printed last.
    pub(crate) fn last_words(&self, role: Role) -> Vec<String> {
        self.workers.iter().find(|worker| worker.role == role).map(Side::last_words).unwrap_or_default()
    }

    /// Whether the other end decides what the transfer came to.
    pub(crate) fn awaits_verdict(&self) -> bool {
        self.workers.iter().any(|side| side.role == Role::Initiator && !side.is_here())
    }

    /// When to give up; who awaits a verdict gives the other end the time to say that its time is over.
    pub(crate) fn limit(&self) -> Instant {
        if self.awaits_verdict() { self.deadline + GRACE } else { self.deadline }
    }

    /// The other machine, where there is one.
    pub(crate) fn remote(&mut self) -> Option<&mut Remote> {
        self.workers.iter_mut().find_map(|side| side.remote())
    }
}

fn task(plan: &Plan, library: &Path, role: Role) -> Task {
    Task {
        role,
        engine: plan.engine.kind,
        library: library.as_os_str().into(),
        backends: plan.pair.of(role).iter().map(|backend| task_backend(plan, *backend)).collect(),
        memory: plan.memory,
        size: plan.size,
        iterations: plan.iterations,
        seed: plan.seed,
        fault: plan.fault,
    }
}

fn task_backend(plan: &Plan, backend: Backend) -> TaskBackend {
    let plugin = plan.plugins.as_ref().map(|plugins| plugins.file(backend.name()).as_os_str().into());
    TaskBackend { name: backend.name().into(), plugin }
}
