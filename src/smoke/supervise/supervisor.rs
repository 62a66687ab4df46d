//! Both sides of a transfer, and what is known about them.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::child::Child;
use super::event::{Event, EventSender, QUEUE};
use super::family::Family;
use super::remote::{GRACE, Remote};
use super::side::Side;
use crate::choice::backend::Backend;
use crate::report::stage::Stage;
use crate::smoke::ending::{Ending, UncleanEnd};
use crate::smoke::launch::worker_command::WorkerCommand;
use crate::smoke::meeting::connection::Connection;
use crate::smoke::meeting::verdict::Verdict;
use crate::smoke::observe::complaint::Complaint;
use crate::smoke::observe::statement::Statement;
use crate::smoke::observe::{libfabric, ucx};
use crate::smoke::plan::Plan;
use crate::smoke::plan::messages::Messages;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::worker::{Gpu, Measurements, Stated, Task, TaskBackend, Work};

/// How long to wait for the other worker's death, which may have caused a worker's error.
pub(crate) const CAUSE_WAIT: Duration = Duration::from_millis(100);
/// How long a worker that is done may take to close its library and to end, before it is killed.
const GRACE_TO_END: Duration = Duration::from_secs(2);
/// How long to wait for the rest of an ended worker's output.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// Both workers, and what is known about them.
pub(crate) struct Supervisor {
    /// When the transfer must have ended.
    pub deadline: Instant,
    /// Both, once they are started.
    pub workers: Vec<Side>,
    /// What the receiving threads send.
    pub events: Receiver<Event>,
    /// A receiving thread's way to `events`.
    pub sender: EventSender,
    /// When the initiator was connected.
    pub connected: Option<Instant>,
    /// What the initiator's library stated; the target's, if the initiator is on the peer.
    pub stated: Option<Stated>,
    /// The initiator's GPU.
    pub gpu: Option<Gpu>,
    /// The transfer's result, as the peer reports it.
    pub verdict: Option<Box<Verdict>>,
}

impl Supervisor {
    /// Has no workers yet. `promptly` asks the kernel to schedule a thread soon after it wakes up.
    pub(crate) fn new(deadline: Instant, promptly: fn()) -> Supervisor {
        let (sender, events) = mpsc::sync_channel(QUEUE);
        Supervisor {
            deadline,
            workers: Vec::new(),
            events,
            sender: EventSender { events: sender, promptly },
            connected: None,
            stated: None,
            gpu: None,
            verdict: None,
        }
    }

    /// Starts this machine's workers, and the thread that receives from the peer.
    ///
    /// # Errors
    /// If no process or thread can be started.
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
                    Remote::start(connection, self.deadline, self.sender.clone()).map(|remote| Side::peer(role, remote))
                }
                None => {
                    let work = Work::Transfer(task(plan, library, role));
                    Child::start(worker, role, work, self.deadline, self.sender.clone())
                        .map(|child| Side::local(role, child))
                }
            };
            self.workers.push(side.map_err(|error| Ending::NotStarted(error.to_string()))?);
        }
        (self.sender.promptly)();
        Ok(())
    }

    /// The last stage that a side entered.
    pub(crate) fn stage(&self, role: Role) -> Stage {
        self.workers.iter().find(|worker| worker.role == role).map_or(Stage::Load, |worker| worker.stage)
    }

    /// A side's results, once everything was correct.
    pub(crate) fn done(&self, role: Role) -> Option<Measurements> {
        self.workers.iter().find(|worker| worker.role == role)?.done.clone()
    }

    /// A side; both must be started.
    pub(crate) fn worker(&mut self, role: Role) -> &mut Side {
        // Events come from started workers, and both are started before the first event is handled.
        let index = self.workers.iter().position(|worker| worker.role == role);
        &mut self.workers[index.expect("both workers are started")]
    }

    /// Ends both, and whatever their libraries have started; keeps what they printed. Returns those that were done and did
    /// not end well. `spared` is the number of a child of this process that stays.
    pub(crate) fn end_workers(&mut self, family: &Family, spared: Option<u32>) -> Vec<UncleanEnd> {
        for worker in &mut self.workers {
            worker.end();
        }
        let until = Instant::now() + GRACE_TO_END;
        let done = self.workers.iter_mut().filter(|worker| worker.done.is_some() && worker.is_local());
        let unclean = done.filter_map(|worker| {
            let status = worker.wait(until.saturating_duration_since(Instant::now()));
            let is_clean = status.is_some_and(|status| status.success());
            (!is_clean).then_some(UncleanEnd { role: worker.role, status })
        });
        let unclean = unclean.collect();
        for worker in &mut self.workers {
            worker.kill();
            worker.reap();
        }
        family.end_orphans(spared);
        for worker in &mut self.workers {
            worker.collect_output(OUTPUT_TIMEOUT);
        }
        unclean
    }

    /// What the library stated about what carries the bytes. No fabric before the connection is made: until then, a lane or a
    /// rail is only an intention.
    pub(crate) fn statement(&self, plan: &Plan) -> Statement {
        let stated = self.stated_transports(plan);
        Statement { fabric: stated.fabric.filter(|_| self.connected.is_some()), ..stated }
    }

    fn stated_transports(&self, plan: &Plan) -> Statement {
        if self.awaits_verdict() {
            return Statement::default();
        }
        if let Some(carrier) = self.stated.as_ref().and_then(|stated| stated.carrier.clone()) {
            return Statement { fabric: carrier.fabric, transports: carrier.transports };
        }
        let statements = self.statements();
        if self.chosen(plan) == Backend::Libfabric {
            return libfabric::read(&statements);
        }
        let longest = Messages::divide(plan.size as usize, plan.iterations as usize).longest();
        ucx::read(&statements, longest as u64)
    }

    /// The backend that NIXL chose; until that is known, the preferred one.
    fn chosen(&self, plan: &Plan) -> Backend {
        let name = self.done(Role::Initiator).and_then(|measurements| measurements.chosen);
        name.and_then(|name| name.parse().ok()).unwrap_or_else(|| plan.backend())
    }

    /// The lines that the initiator printed about transports.
    pub(crate) fn statements(&self) -> String {
        let initiator = self.workers.iter().find(|worker| worker.role == Role::Initiator);
        initiator.map(Side::statements).unwrap_or_default()
    }

    /// What UCX was asked for on this machine and does not have, each once.
    pub(crate) fn complaints(&self) -> Vec<Complaint> {
        let mut distinct: Vec<Complaint> = Vec::new();
        for complaint in self.workers.iter().flat_map(Side::complaints) {
            if !distinct.contains(&complaint) {
                distinct.push(complaint);
            }
        }
        distinct
    }

    /// The last lines that a side printed.
    pub(crate) fn last_words(&self, role: Role) -> Vec<String> {
        self.workers.iter().find(|worker| worker.role == role).map(Side::last_words).unwrap_or_default()
    }

    /// Whether the peer decides the result: it does if the initiator is there.
    pub(crate) fn awaits_verdict(&self) -> bool {
        self.workers.iter().any(|side| side.role == Role::Initiator && !side.is_local())
    }

    /// When to give up. A side that awaits a verdict gives the peer time to report that the deadline has passed.
    pub(crate) fn limit(&self) -> Instant {
        if self.awaits_verdict() { self.deadline + GRACE } else { self.deadline }
    }

    /// The peer, if there is one.
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
