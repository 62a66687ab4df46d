//! One transfer, from its plan to its report.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ending::{Ending, Outcome};
use super::engine::schedule::run_promptly;
use super::janitor::{Janitor, RUN_VARIABLE};
use super::judge::{aftermath, fabric, failure, gpu, mixture, rdma, verdict};
use super::launch::libraries::{LIBRARY_PATH, Libraries};
use super::launch::load_command::Answer;
use super::launch::variables::WorkerVariables;
use super::launch::worker_command::WorkerCommand;
use super::meeting::connection::Connection;
use super::meeting::token::TOKEN_VARIABLE;
use super::plan::Plan;
use super::plan::fabric::RequiredFabric;
use super::plan::memory::Memory;
use super::plan::plugins::NamedBy;
use super::supervise::family::Family;
use super::supervise::supervisor::Supervisor;
use super::supervise::{load, plugin_check, settlement};
use super::wire::worker::Stated;
use crate::choice::backend::{self, Backend};
use crate::environment::fabric_devices::FabricDevices;
use crate::report::finding::Finding;
use crate::report::smoke::{Gpu, LoadedLibrary, NativeLibrary, Smoke, SmokeEngine, SmokeStatus};
use crate::threads;

/// Limit for the plugin check: its share of the deadline.
const PLUGIN_CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the native engine skips a transfer of agents with several backends.
const NEEDS_AGENTS: &str = "the native engine tests each backend alone: it has no agents, so it cannot show which of several \
    backends NIXL chooses";

/// Runs one transfer and reports it; `progress` gets each stage as it begins, and how far a long one has come.
///
/// A transfer that needs the C API of a NIXL from before 0.10.1 is reported as skipped.
pub(crate) fn run(plan: &Plan, progress: &mut dyn FnMut(&str)) -> Smoke {
    conduct(plan, None, progress)
}

/// Runs one transfer between two machines, whose other worker is the peer's. Both sides report the same result; if the
/// connection fails before they have agreed on it, `connection.lost` is set.
pub(crate) fn run_between(plan: &Plan, connection: &mut Connection, progress: &mut dyn FnMut(&str)) -> Smoke {
    conduct(plan, Some(connection), progress)
}

fn conduct(plan: &Plan, connection: Option<&mut Connection>, progress: &mut dyn FnMut(&str)) -> Smoke {
    let begin = Instant::now();
    let libraries = find_libraries(plan);
    let mut worker = worker_command(plan, &libraries);
    let mut smoke = blank(plan, &worker.variables, &libraries);
    if let Some(connection) = &connection {
        settlement::add_peer(&mut smoke, connection);
    }
    let Some(library) = &plan.engine.library else {
        verdict::no_library(plan, &mut smoke);
        return smoke;
    };
    if !plan.engine.is_nixl() && !plan.pair.is_one() {
        smoke.status = SmokeStatus::Skipped;
        smoke.reason = Some(NEEDS_AGENTS.into());
        return smoke;
    }
    smoke.engine = Some(if plan.engine.is_nixl() { SmokeEngine::Nixl } else { SmokeEngine::Native });
    smoke.memory = Some(plan.memory.to_string());
    smoke.nixl_library = plan.engine.is_nixl().then(|| library.clone());
    let family = Family::begin();
    let janitor = Janitor::start(&plan.program);
    worker.mark = janitor.as_ref().map(|janitor| (RUN_VARIABLE, janitor.mark.clone()));
    let spared = janitor.as_ref().map(Janitor::id);
    let mut supervisor = Supervisor::new(begin + plan.timeout, run_promptly);
    // Reading UCX's modules takes milliseconds, and the supervisor waits meanwhile.
    let find_ucx = || rdma::find_ucx(plan, libraries.searched_first());
    let supervise = || {
        supervisor.start(plan, library, &worker, connection.as_deref()).and_then(|()| supervisor.supervise(progress))
    };
    let (result, ucx) = threads::join(find_ucx, supervise);
    let unclean = supervisor.end_workers(&family, spared);
    smoke.setup_ms = supervisor.connected.map(|at| milliseconds(at - begin));
    let own_warnings = std::mem::take(&mut smoke.warnings);
    conclude(&mut smoke, plan, &libraries, &mut supervisor, &result);
    smoke.duration_ms = milliseconds(begin.elapsed());
    if let Some(connection) = connection {
        // Each end's own NIXL has to have the plugin: the initiator's before it sends the verdict, the target's after.
        verdict::require_plugin(&mut smoke, plan);
        smoke = supervisor.settle(plan, connection, smoke, result.as_ref().err());
        verdict::require_plugin(&mut smoke, plan);
    }
    smoke.warnings.splice(0..0, own_warnings);
    if let Some(stated) = supervisor.stated.take() {
        add_stated(&mut smoke, plan, stated);
    }
    let is_alone = smoke.peer.is_none();
    let left = if is_alone { plan.timeout.saturating_sub(begin.elapsed()) } else { PLUGIN_CHECK_TIMEOUT };
    smoke.plugin = plugin_check::check_plugin(plan, &worker, left.min(PLUGIN_CHECK_TIMEOUT), run_promptly);
    if is_alone && smoke.plugin.is_some() {
        smoke.duration_ms = milliseconds(begin.elapsed());
    }
    smoke.findings = rdma::findings(&smoke, plan, &supervisor.complaints(), &FabricDevices::look(), ucx.as_ref());
    smoke.findings.extend(without_efa(plan, &libraries, &worker, left.min(PLUGIN_CHECK_TIMEOUT)));
    rdma::explain(&mut smoke);
    let refused = smoke.plugin.iter().filter(|plugin| !plugin.loads).map(|plugin| plugin.message.clone());
    smoke.warnings.extend(refused);
    family.end_orphans(spared);
    let leavings = janitor.map(Janitor::finish).unwrap_or_default();
    smoke.warnings.extend(aftermath::warnings(&unclean, &leavings));
    smoke
}

/// The finding that the libfabric here was built without efa, where efa is asked for. What keeps the plugin from being loaded
/// comes first.
fn without_efa(plan: &Plan, libraries: &Libraries, worker: &WorkerCommand, limit: Duration) -> Option<Finding> {
    let severity = rdma::asks_for_efa(plan)?;
    if !libraries.needs.is_met() {
        return None;
    }
    let library = if plan.engine.is_nixl() { libraries.libfabric.as_ref() } else { plan.engine.library.as_ref() };
    let library = library?;
    let answer = load::one(&plan.program, library, limit, &|command| worker.variables.apply(command));
    let Answer::Loaded { providers: Some(providers), .. } = answer else { return None };
    rdma::without_efa(severity, library, &providers)
}

/// Puts the libraries that were used into the report.
fn add_stated(smoke: &mut Smoke, plan: &Plan, stated: Stated) {
    if !plan.engine.is_nixl() {
        smoke.native_library = Some(NativeLibrary { path: stated.library, version: stated.version });
        return;
    }
    smoke.loaded =
        stated.loaded.into_iter().map(|loaded| LoadedLibrary { path: loaded.path, version: loaded.version }).collect();
    let paths = smoke.loaded.iter().map(|loaded| Path::new(&loaded.path));
    smoke.warnings.extend(mixture::warning(plan, paths));
}

/// Puts the result of the ended workers into the report.
fn conclude(
    smoke: &mut Smoke,
    plan: &Plan,
    libraries: &Libraries,
    supervisor: &mut Supervisor,
    result: &Result<Outcome, Ending>,
) {
    let statement = supervisor.statement(plan);
    smoke.fabric = statement.fabric;
    smoke.transports = statement.transports;
    // The peer has looked at its own machine's devices.
    if !supervisor.awaits_verdict() {
        rdma::doubt(smoke, &FabricDevices::look());
    }
    smoke.gpu = supervisor.gpu.take().map(|gpu| Gpu { name: gpu.name, cuda: gpu.cuda, driver: gpu.driver });
    match result {
        Ok(Outcome::Measured { initiator, target }) => {
            verdict::passed(smoke, plan, initiator, target);
            smoke.warnings.extend(gpu::misdetection(plan, || supervisor.statements()));
        }
        Ok(Outcome::Decided) => {}
        Err(ending) => {
            let mut failure = failure::failure(plan, libraries, ending, &|role| supervisor.last_words(role));
            supervisor.add_machine(&mut failure, ending);
            settlement::add_versions(&mut failure, smoke, ending);
            smoke.failure = Some(failure);
        }
    }
    fabric::enforce(smoke, plan, &FabricDevices::look);
}

fn find_libraries(plan: &Plan) -> Libraries {
    let variable = plan.variables.get(LIBRARY_PATH);
    // LIBFABRIC's plugin has the larger dependency set.
    let largest = if plan.pair.has(Backend::Libfabric) { Backend::Libfabric } else { Backend::Ucx };
    let plugin = plan.plugins.as_ref().map(|plugins| plugins.file(largest.name()));
    let libraries = Libraries::find(plugin.as_deref(), &plan.library_path, variable, &plan.import_path);
    // The native engines do not load the plugin; GPU memory needs the real driver.
    let may_stand_in = plan.engine.is_nixl() && plan.memory == Memory::Dram;
    if may_stand_in { libraries } else { libraries.without_stand_in() }
}

fn worker_command(plan: &Plan, libraries: &Libraries) -> WorkerCommand {
    let named = plan.plugins.as_ref().filter(|plugins| plugins.named_by == NamedBy::Option);
    let named = named.map(|plugins| plugins.path.as_path());
    let mut variables = WorkerVariables::new(Arc::clone(&plan.variables), TOKEN_VARIABLE, named);
    for backend in Backend::ALL.into_iter().filter(|backend| plan.pair.has(*backend)) {
        variables.add_backend(backend);
    }
    if plan.principal && plan.require_fabric != RequiredFabric::Any {
        variables.keep_from_shared_memory(plan.pair.has(Backend::Ucx), plan.memory != Memory::Dram);
    }
    variables.add_variables(libraries.variables(&plan.variables));
    WorkerCommand { program: plan.program.clone(), variables, mark: None }
}

fn blank(plan: &Plan, variables: &WorkerVariables, libraries: &Libraries) -> Smoke {
    let mut warnings = variables.warnings().to_vec();
    warnings.extend(libraries.warnings());
    Smoke {
        nixl_version: plan.nixl.version.clone(),
        plugin_dir: plan.plugins.as_ref().map(|plugins| plugins.path.clone()),
        environment: variables.describe(),
        stand_ins: libraries.stand_ins.clone(),
        warnings,
        peer_backend: plan.pair.peer(),
        ..Smoke::nothing_observed(&backend::list(&plan.pair.initiator))
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
