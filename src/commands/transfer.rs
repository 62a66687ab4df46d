//! The smoke transfer as `apply` and `smoke` run it.
#![forbid(unsafe_code)]

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::console::Console;
use crate::backend::{self, Backend};
use crate::cli::{EngineChoice, TransferArgs};
use crate::environment::nixl::{self, NixlInstallation};
use crate::environment::target::Environment;
use crate::exit_status::ExitStatus;
use crate::report::{Failure, Report, Smoke, SmokeStatus};
use crate::smoke::{self, Memory, Pair, Plan};

/// Checks what clap cannot.
///
/// # Errors
/// Where the options make no transfer possible.
pub fn validate(args: &TransferArgs) -> Result<()> {
    if args.engine == EngineChoice::Native && !args.peer_backend.is_empty() {
        bail!("--peer-backend needs NIXL's agents, and --engine native has none; leave one of them away");
    }
    if let Some(folder) = args.plugin_dir.as_ref().filter(|folder| !folder.is_dir()) {
        bail!("--plugin-dir {}: no such folder", folder.display());
    }
    if let Some(folder) = args.library_path.iter().find(|folder| !folder.is_dir()) {
        bail!("--library-path {}: no such folder", folder.display());
    }
    Ok(())
}

/// The backends to test: those named, or those that the patched code would choose now.
pub fn backends(args: &TransferArgs, variable: &str, default: Backend, allow: &[Backend]) -> Vec<Backend> {
    if !args.backend.is_empty() {
        return backend::distinct(&args.backend);
    }
    let value = env::var_os(variable).map(|value| value.to_string_lossy().into_owned());
    backend::choose(value.as_deref(), default, allow).0
}

/// One transfer to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The agents' backends.
    pub pair: Pair,
    /// Whether it is what the patched code would do, so that the required fabric is demanded of it.
    pub principal: bool,
}

/// Each backend alone; then what only agents with several of them show, the reader of Dynamo's media loader among it.
pub fn trials(backends: &[Backend], peer: &[Backend]) -> Vec<Trial> {
    if !peer.is_empty() {
        let pair = Pair { initiator: backends.to_vec(), target: backend::distinct(peer) };
        return vec![Trial { pair, principal: true }];
    }
    let alone = backends.iter().enumerate();
    let mut trials: Vec<Trial> =
        alone.map(|(number, backend)| Trial { pair: Pair::alike(&[*backend]), principal: number == 0 }).collect();
    if backends.len() > 1 {
        trials.push(Trial { pair: Pair::alike(backends), principal: true });
    }
    if backends.len() > 1 && backends.contains(&Backend::Ucx) {
        let pair = Pair { initiator: backends.to_vec(), target: vec![Backend::Ucx] };
        trials.push(Trial { pair, principal: false });
    }
    trials
}

/// Makes the transfers. Where none can be made, that is a failure if `required`, and said to be skipped if not.
pub fn run(
    environment: &Environment,
    args: &TransferArgs,
    backends: &[Backend],
    required: bool,
    console: &Console,
    report: &mut Report,
) -> ExitStatus {
    let nixl = match usable(environment, args) {
        Ok(nixl) => nixl,
        Err(reason) => {
            report.add_smoke(not_made(backends, reason, required));
            return if required { ExitStatus::Findings } else { ExitStatus::Success };
        }
    };
    let trials = trials(backends, &args.peer_backend).into_iter();
    let plans = trials.map(|trial| plan(environment, &nixl, args, trial)).collect();
    try_all(plans, report, |plan| {
        let mut smoke = one(plan, console);
        // Who asks for a GPU's memory shall hear that there is no driver for it.
        if !required && nixl.capi.is_none() && args.memory == Memory::Dram {
            skip_unless_loaded(&mut smoke);
        }
        smoke
    })
}

/// Makes each transfer as `make` does. Agents with several backends are not tried where a transfer before has failed.
pub fn try_all(plans: Vec<Plan>, report: &mut Report, mut make: impl FnMut(&Plan) -> Smoke) -> ExitStatus {
    let mut failed: Option<String> = None;
    for plan in plans {
        let smoke = match &failed {
            Some(first) if !plan.pair.is_one() => not_tried(&plan.pair, first),
            _ => make(&plan),
        };
        if smoke.status == SmokeStatus::Failed {
            failed.get_or_insert_with(|| plan.pair.title());
        }
        report.add_smoke(smoke);
    }
    if failed.is_some() { ExitStatus::Findings } else { ExitStatus::Success }
}

fn not_tried(pair: &Pair, failed: &str) -> Smoke {
    let reason = format!("not tried, because {failed} has failed before");
    Smoke { peer_backend: pair.peer(), ..Smoke::skipped(&backend::list(&pair.initiator), reason) }
}

/// Without NIXL's C API there may be no library to make a transfer with. `--smoke auto` goes on without one, and says why.
fn skip_unless_loaded(smoke: &mut Smoke) {
    if let Some(failure) = smoke.failure.take_if(|failure| failure.stage == "load") {
        smoke.status = SmokeStatus::Skipped;
        smoke.reason = Some(failure.message);
    }
}

/// The NIXL that this environment's Python would use, if a transfer can be made with that engine.
///
/// # Errors
/// Why not, in words for a report.
pub fn usable(environment: &Environment, args: &TransferArgs) -> Result<NixlInstallation, String> {
    let folders = environment.folders();
    let found = nixl::find(&folders).into_iter().next();
    let Some(nixl) = found else {
        let searched: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        return Err(format!("no NIXL is installed for {}; searched: {}", environment.label, searched.join(", ")));
    };
    if nixl.capi.is_some() || args.engine != EngineChoice::Nixl && args.peer_backend.is_empty() {
        return Ok(nixl);
    }
    let version = nixl.version.as_deref().unwrap_or("of an unknown version");
    Err(format!(
        "{} {version} has no libnixl_capi.so, the C API that --engine nixl and --peer-backend go through; NIXL's wheels have it from 0.10.1 on",
        nixl.name
    ))
}

fn one(plan: &Plan, console: &Console) -> Smoke {
    let title = plan.pair.title();
    let smoke = smoke::run(plan, &mut |stage| console.progress(&format!("smoke {title}: {stage}")));
    console.progress("");
    smoke
}

/// What the options ask for.
pub fn plan(environment: &Environment, nixl: &NixlInstallation, args: &TransferArgs, trial: Trial) -> Plan {
    Plan {
        nixl: nixl.clone(),
        engine: args.engine,
        pair: trial.pair,
        principal: trial.principal,
        memory: args.memory,
        size: args.size().0,
        iterations: args.iterations(),
        timeout: args.timeout.0,
        plugin_dir: args.plugin_dir.clone(),
        library_path: args.library_path.iter().map(|folder| absolute(folder)).collect(),
        import_path: environment.folders(),
        require_fabric: args.require_fabric,
        fault: args.fault,
    }
}

/// A worker may have another current folder one day, and reports are read elsewhere.
fn absolute(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf())
}

fn not_made(backends: &[Backend], reason: String, required: bool) -> Smoke {
    let mut smoke = Smoke::skipped(&backend::list(backends), reason.clone());
    if required {
        smoke.status = SmokeStatus::Failed;
        smoke.failure = Some(Failure {
            stage: "load".into(),
            message: reason,
            advice: "install NIXL in this environment (--engine nixl needs 0.10.1 or newer), or use --smoke auto to go on without a transfer".into(),
        });
    }
    smoke
}

#[cfg(test)]
mod tests {
    use super::*;
    use Backend::{Libfabric, Ucx};

    fn titles(backends: &[Backend], peer: &[Backend]) -> Vec<(String, bool)> {
        trials(backends, peer).into_iter().map(|trial| (trial.pair.title(), trial.principal)).collect()
    }

    #[test]
    fn several_backends_are_tried_alone_together_and_against_ucx() {
        let expected = [("LIBFABRIC", true), ("UCX", false), ("LIBFABRIC,UCX", true), ("LIBFABRIC,UCX to UCX", false)];
        assert_eq!(titles(&[Libfabric, Ucx], &[]), expected.map(|(title, principal)| (title.into(), principal)));
        assert_eq!(titles(&[Ucx], &[]), [("UCX".into(), true)]);
        assert_eq!(titles(&[Libfabric], &[Ucx]), [("LIBFABRIC to UCX".into(), true)]);
    }
}
