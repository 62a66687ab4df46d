//! The workers' lives: start, deadline, last words, end.
#![forbid(unsafe_code)]

mod between;
pub(super) mod child;
mod remote;
mod side;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use self::child::{Child, Event};
use self::remote::Remote;
use self::side::Side;
use super::advice;
use super::diagnosis;
use super::engine::schedule::run_promptly;
use super::libraries::Libraries;
use super::meeting::connection::Connection;
use super::memory::Memory;
use super::native;
use super::payload;
use super::plan::{Messages, Pair, Plan, spoken};
use super::protocol::{
    Blob, EngineKind, FromWorker, Measurements, Role, Stage, Stated, Surrender, Task, TaskBackend, ToWorker,
};
use super::surroundings::Surroundings;
use super::transports::{self, Statement};
use super::{gpu, rails, requirement};
use crate::backend::{self, Backend};
use crate::environment::fabric_devices::FabricDevices;
use crate::report::{Failure, Gpu, NativeLibrary, Smoke, SmokeEngine, SmokeStatus};

/// How long a worker that has closed its channel may take to end.
const DYING: Duration = Duration::from_secs(2);
/// How long the look at a plugin may take between two machines.
const PLUGIN_CHECK: Duration = Duration::from_secs(5);
/// How long to look whether a worker's error is the echo of the other one's death.
const ECHO: Duration = Duration::from_millis(100);
/// How long to wait for the rest of an ended worker's output.
const OUTPUT: Duration = Duration::from_millis(500);

/// Why there is no such transfer without NIXL.
const NEEDS_AGENTS: &str = "several backends in one agent, and which one is chosen, are NIXL's business: the native engine \
    has no agents, and tests each backend alone";

/// How a transfer ended that did not pass.
#[derive(Debug)]
pub(super) enum Ending {
    /// No worker could be started.
    NotStarted(String),
    /// A worker gave up, with a reason.
    Failed(Role, Surrender),
    /// A worker ended without a word.
    Died(Role, Stage, ExitStatus),
    /// A worker broke the protocol, or its channel failed.
    Broken(Role, Stage, String),
    /// Time ran out.
    Deadline([(Role, Stage); 2]),
    /// The other machine's supervisor has said how its worker failed.
    Told(Failure),
    /// The other machine's supervisor is gone, or cannot be understood.
    Gone(Role, Stage, String),
}

/// How a transfer ended otherwise.
enum Outcome {
    /// What both workers have measured.
    Measured { initiator: Measurements, target: Measurements },
    /// The other machine's supervisor has said what it came to.
    Decided,
}

/// Runs one transfer and reports it; `progress` hears of each stage as it begins.
///
/// Where the C API of a NIXL from before it is asked for, the report says `skipped`, and why.
pub fn run(plan: &Plan, progress: &mut dyn FnMut(&str)) -> Smoke {
    conduct(plan, None, progress)
}

/// The same between two machines: one worker is here, the other one at the connection's other end. Both ends report the
/// same; where they cannot tell each other any more, `connection.lost` is set.
pub fn run_between(plan: &Plan, connection: &mut Connection, progress: &mut dyn FnMut(&str)) -> Smoke {
    conduct(plan, Some(connection), progress)
}

fn conduct(plan: &Plan, connection: Option<&mut Connection>, progress: &mut dyn FnMut(&str)) -> Smoke {
    let begin = Instant::now();
    let libraries = find_libraries(plan);
    let surroundings = surroundings(plan, &libraries);
    let mut smoke = blank(plan, &surroundings);
    smoke.stand_ins = libraries.stand_ins.clone();
    smoke.warnings.extend(libraries.warnings());
    if let Some(connection) = &connection {
        between::introduce(&mut smoke, connection);
    }
    let (engine, library) = native::engine(plan);
    let Some(library) = library else {
        no_library(plan, &mut smoke);
        return smoke;
    };
    let uses_nixl = engine == EngineKind::Nixl;
    if !uses_nixl && !plan.pair.is_one() {
        smoke.status = SmokeStatus::Skipped;
        smoke.reason = Some(NEEDS_AGENTS.into());
        return smoke;
    }
    smoke.engine = Some(if uses_nixl { SmokeEngine::Nixl } else { SmokeEngine::Native });
    smoke.memory = Some(plan.memory.to_string());
    smoke.nixl_library = uses_nixl.then(|| library.clone());
    let mut supervisor = Supervisor::new(begin + plan.timeout);
    let result = supervisor.supervise(plan, (engine, &library), &surroundings, connection.as_deref(), progress);
    supervisor.end_workers();
    smoke.setup_ms = supervisor.connected.map(|at| milliseconds(at - begin));
    let statement = supervisor.statement(plan);
    smoke.fabric = statement.fabric;
    smoke.transports = statement.transports;
    smoke.gpu = supervisor.gpu.take();
    let own_warnings = std::mem::take(&mut smoke.warnings);
    match &result {
        Ok(Outcome::Measured { initiator, target }) => {
            passed(&mut smoke, plan, initiator, target);
            smoke.warnings.extend(gpu::doubts(plan, || supervisor.statements()));
        }
        Ok(Outcome::Decided) => {}
        Err(ending) => {
            let mut failure = advice::failure(plan, &libraries, ending, &|role| supervisor.last_words(role));
            supervisor.locate(&mut failure, ending, &spoken(plan.timeout));
            smoke.failure = Some(failure);
        }
    }
    requirement::hold(&mut smoke, plan, &FabricDevices::look);
    smoke.duration_ms = milliseconds(begin.elapsed());
    if let Some(connection) = connection {
        smoke = supervisor.settle(plan, connection, smoke, result.as_ref().err());
    }
    smoke.warnings.splice(0..0, own_warnings);
    if let Some(stated) = supervisor.stated.take() {
        smoke.native_library = Some(NativeLibrary { path: stated.library, version: stated.version });
    }
    // Between two machines the other one does not wait for this.
    let limit = if smoke.peer.is_some() { Instant::now() + PLUGIN_CHECK } else { begin + plan.timeout };
    smoke.plugin = native::check_plugin(plan, &surroundings, limit);
    let refused = smoke.plugin.iter().filter(|plugin| !plugin.loads).map(|plugin| plugin.message.clone());
    smoke.warnings.extend(refused);
    smoke
}

fn find_libraries(plan: &Plan) -> Libraries {
    let variable = std::env::var_os("LD_LIBRARY_PATH");
    // LIBFABRIC's plugin needs the more.
    let greediest = if plan.pair.has(Backend::Libfabric) { Backend::Libfabric } else { Backend::Ucx };
    let plugin = plugin_dir(plan).map(|dir| plugin_file(&dir, greediest.name()));
    let libraries = Libraries::find(plugin.as_deref(), &plan.library_path, variable.as_deref(), &plan.import_path);
    match (native::engine(plan).0, plan.memory) {
        (EngineKind::Nixl, Memory::Dram) => libraries,
        // No memory of a GPU without its driver.
        (EngineKind::Ucp | EngineKind::Libfabric, _) | (_, Memory::Vram(_)) => libraries.without_stand_in(),
    }
}

fn surroundings(plan: &Plan, libraries: &Libraries) -> Surroundings {
    let mut surroundings = Surroundings::new(std::env::vars_os(), plan.plugin_dir.as_deref());
    for backend in Backend::ALL.into_iter().filter(|backend| plan.pair.has(*backend)) {
        surroundings.add_backend(backend, |name| std::env::var_os(name));
    }
    surroundings.add_variables(libraries.variables(|name| std::env::var_os(name)));
    surroundings
}

fn blank(plan: &Plan, surroundings: &Surroundings) -> Smoke {
    Smoke {
        nixl_version: plan.nixl.version.clone(),
        environment: surroundings.describe(),
        warnings: surroundings.warnings().to_vec(),
        peer_backend: plan.pair.peer(),
        ..Smoke::nothing_observed(&backend::list(&plan.pair.initiator))
    }
}

/// Wheels from before 0.10.1 never had the library; where it should be and is not, something is broken.
fn no_library(plan: &Plan, smoke: &mut Smoke) {
    let version = plan.nixl.version.as_deref();
    if version.is_some_and(diagnosis::should_have_capi) {
        smoke.failure = Some(Failure {
            stage: Stage::Load.name().into(),
            message: format!("{} has no libnixl_capi.so, although NIXL has had it since 0.10.1", plan.nixl.title()),
            advice: "Install that NIXL again; something has removed a part of it.".into(),
        });
        return;
    }
    smoke.status = SmokeStatus::Skipped;
    smoke.reason = Some(format!(
        "{} has no C API (libnixl_capi.so), which came with NIXL 0.10.1, so there is nothing to make the transfer with",
        plan.nixl.title()
    ));
}

fn passed(smoke: &mut Smoke, plan: &Plan, initiator: &Measurements, target: &Measurements) {
    smoke.verified = initiator.compared == plan.size && target.compared == plan.size;
    if !smoke.verified {
        smoke.failure = Some(Failure {
            stage: Stage::Compare.name().into(),
            message: format!(
                "both workers say that all is right, and have compared {} and {} of {} bytes",
                initiator.compared, target.compared, plan.size
            ),
            advice: "This is a fault of nixl-retrofit, at one end at least: please report it with the output of -v."
                .into(),
        });
        return;
    }
    smoke.status = SmokeStatus::Passed;
    smoke.chosen_backend = initiator.chosen.clone();
    smoke.bytes = initiator.compared + target.compared;
    smoke.latency_us = initiator.latency_us;
    smoke.bandwidth_gbit_s =
        initiator.write_seconds.filter(|seconds| *seconds > 0.0).map(|seconds| plan.size as f64 * 8e-9 / seconds);
    smoke.warnings.extend(other_than_first(&plan.pair, initiator.chosen.as_deref()));
    if smoke.fabric.is_none() {
        let stated = if smoke.transports.is_empty() { "no transport" } else { "transports of several kinds" };
        smoke.warnings.push(format!("{} stated {stated}, so what carried the bytes is not known", plan.pair.title()));
    }
}

/// NIXL does not hold to the order. Measured, twenty runs each with UCX,LIBFABRIC on both sides: 1.0.1 chose LIBFABRIC in
/// all, 1.3.2 UCX in all, 1.5.0 LIBFABRIC in 14 and UCX in 6; with LIBFABRIC,UCX all chose LIBFABRIC.
fn other_than_first(pair: &Pair, chosen: Option<&str>) -> Option<String> {
    let first = pair.initiator.iter().find(|backend| pair.target.contains(backend))?;
    let chosen = chosen.filter(|chosen| *chosen != first.name())?;
    Some(format!(
        "NIXL chose {chosen} although {first} stands before it and both agents have it: NIXL does not hold to the order of \
         the list, and the next process may choose otherwise. To be sure of {first}, name it alone"
    ))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Both workers, and what is known of them.
struct Supervisor {
    deadline: Instant,
    workers: Vec<Side>,
    events: Receiver<Event>,
    sender: Sender<Event>,
    /// When the initiator had its connection.
    connected: Option<Instant>,
    /// What the initiator's library has stated; the target's, where the initiator is on another machine.
    stated: Option<Stated>,
    /// The initiator's GPU.
    gpu: Option<Gpu>,
    /// What the other machine's supervisor says that the transfer came to.
    verdict: Option<Box<Smoke>>,
}

impl Supervisor {
    fn new(deadline: Instant) -> Supervisor {
        let (sender, events) = std::sync::mpsc::channel();
        Supervisor {
            deadline,
            workers: Vec::new(),
            events,
            sender,
            connected: None,
            stated: None,
            gpu: None,
            verdict: None,
        }
    }

    fn supervise(
        &mut self,
        plan: &Plan,
        engine: (EngineKind, &Path),
        surroundings: &Surroundings,
        connection: Option<&Connection>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Outcome, Ending> {
        let seed = connection.map_or_else(payload::random_seed, |connection| connection.seed);
        for role in Role::ALL {
            let side = match connection.filter(|connection| connection.role != role) {
                Some(connection) => Remote::start(connection, self.deadline, self.sender.clone())
                    .map(|remote| Side::there(role, remote)),
                None => {
                    let task = ToWorker::Task(task(plan, engine, role, seed));
                    Child::start(role, &task, surroundings, self.deadline, self.sender.clone())
                        .map(|child| Side::here(role, child))
                }
            };
            self.workers.push(side.map_err(|error| Ending::NotStarted(error.to_string()))?);
        }
        run_promptly();
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

    fn stage(&self, role: Role) -> Stage {
        self.workers.iter().find(|worker| worker.role == role).map_or(Stage::Load, |worker| worker.stage)
    }

    fn done(&self, role: Role) -> Option<Measurements> {
        self.workers.iter().find(|worker| worker.role == role)?.done.clone()
    }

    fn worker(&mut self, role: Role) -> &mut Side {
        // Events come from started workers only, and both are started before the first event is handled.
        let index = self.workers.iter().position(|worker| worker.role == role);
        &mut self.workers[index.expect("both workers are started")]
    }

    /// Ends both, whatever they are doing, and keeps what they have printed.
    fn end_workers(&mut self) {
        for worker in &mut self.workers {
            worker.kill();
        }
        for worker in &mut self.workers {
            worker.reap(OUTPUT);
        }
    }

    fn statement(&self, plan: &Plan) -> Statement {
        if self.awaits_verdict() {
            return Statement::default();
        }
        if let Some((fabric, transports)) = self.stated.as_ref().and_then(|stated| stated.carrier.clone()) {
            return Statement { fabric, transports };
        }
        let statements = self.statements();
        if self.chosen(plan) == Backend::Libfabric {
            // Rails that never carried anything are no statement.
            return self.connected.map(|_| rails::read(&statements)).unwrap_or_default();
        }
        let longest = Messages::divide(plan.size as usize, plan.iterations as usize).longest();
        transports::read(&statements, longest as u64)
    }

    /// The backend that moved the bytes, as far as it is known.
    fn chosen(&self, plan: &Plan) -> Backend {
        let name = self.done(Role::Initiator).and_then(|measurements| measurements.chosen);
        name.and_then(|name| name.parse().ok()).unwrap_or_else(|| plan.backend())
    }

    /// What the initiator's library has stated in what it printed.
    fn statements(&self) -> String {
        let initiator = self.workers.iter().find(|worker| worker.role == Role::Initiator);
        initiator.map(Side::statements).unwrap_or_default()
    }

    fn last_words(&self, role: Role) -> Vec<String> {
        self.workers.iter().find(|worker| worker.role == role).map(Side::last_words).unwrap_or_default()
    }
}

fn task(plan: &Plan, (engine, library): (EngineKind, &Path), role: Role, seed: u64) -> Task {
    Task {
        role,
        engine,
        library: blob(library.as_os_str()),
        backends: plan.pair.of(role).iter().map(|backend| task_backend(plan, *backend)).collect(),
        memory: plan.memory,
        size: plan.size,
        iterations: plan.iterations,
        seed,
        fault: plan.fault,
    }
}

fn task_backend(plan: &Plan, backend: Backend) -> TaskBackend {
    TaskBackend {
        name: backend.name().into(),
        plugin: plugin_dir(plan).map(|dir| blob(plugin_file(&dir, backend.name()).as_os_str())),
    }
}

/// Where NIXL will look for its backends' plugins.
pub(super) fn plugin_dir(plan: &Plan) -> Option<PathBuf> {
    let from_environment = || std::env::var_os("NIXL_PLUGIN_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    plan.plugin_dir.clone().or_else(from_environment).or_else(|| plan.nixl.plugin_dir.clone())
}

/// A backend's plugin, by NIXL's naming.
pub(super) fn plugin_file(folder: &Path, backend: &str) -> PathBuf {
    folder.join(format!("libplugin_{backend}.so"))
}

/// A path for a message.
pub(super) fn blob(text: &OsStr) -> Blob {
    Blob(text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Backend::{Libfabric, Ucx};

    #[test]
    fn a_choice_against_the_order_is_told() {
        let both = Pair::alike(&[Ucx, Libfabric]);
        assert!(other_than_first(&both, Some("LIBFABRIC")).unwrap().contains("although UCX stands before it"));
        assert_eq!(other_than_first(&both, Some("UCX")), None);
        assert_eq!(other_than_first(&both, None), None);
        let mixed = Pair { initiator: vec![Libfabric, Ucx], target: vec![Ucx] };
        assert_eq!(other_than_first(&mixed, Some("UCX")), None, "the only one that both have");
    }
}
