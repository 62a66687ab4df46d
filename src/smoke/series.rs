//! Several transfers: which ones a list of backends leads to, and their results.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::judge::verdict;
use super::plan::engine::{Engine, EngineChoice};
use super::plan::memory::Memory;
use super::plan::options::TransferOptions;
use super::plan::pair::Pair;
use super::plan::plugins::PluginFolder;
use super::plan::{Plan, seed};
use crate::choice::backend::{self, Backend};
use crate::choice::rule::Rule;
use crate::environment::nixl::{self, NixlInstallation};
use crate::environment::variables::Variables;
use crate::report::smoke::{Failure, Smoke, SmokeStatus};
use crate::report::stage::Stage;
use crate::shown::Shown;

/// The environment in which transfers are made.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its name, for a sentence.
    pub label: String,
    /// The NIXL that TARGET is; None for the one that its Python would use.
    pub nixl: Option<NixlInstallation>,
    /// The directories that its Python imports from.
    pub import_path: Vec<PathBuf>,
    /// This program's file.
    pub program: PathBuf,
    /// The environment variables.
    pub variables: Arc<Variables>,
}

/// One transfer to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    /// The agents' backends.
    pub pair: Pair,
    /// Whether it is what the patched code would do; only then is the required fabric enforced.
    pub principal: bool,
}

/// The transfers for a list of backends: each alone; all of them in both agents; all of them against UCX alone, which is what
/// the agent of Dynamo's media loader has.
pub(crate) fn trials(backends: &[Backend], peer: &[Backend]) -> Vec<Trial> {
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

/// The backends to test: those that the options name, or those that the rule chooses now.
pub(crate) fn backends(options: &TransferOptions, rule: &Rule, variables: &Variables) -> Vec<Backend> {
    if !options.backends.is_empty() {
        return backend::distinct(&options.backends);
    }
    let value = variables.get(rule.variable.as_str()).map(|value| value.to_string_lossy());
    rule.choose(value.as_deref()).backends
}

/// The transfers to make, each with all that it needs.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// In order.
    pub plans: Vec<Plan>,
    /// The initiator's backends, which the plans try alone and together.
    pub backends: Vec<Backend>,
    /// Whether a transfer whose library cannot be loaded may be skipped: host memory, and a NIXL without a C API.
    may_skip: bool,
}

impl Series {
    /// Plans the transfers for these backends.
    ///
    /// # Errors
    /// If none can be made.
    pub(crate) fn plan(place: &Place, options: &TransferOptions, backends: &[Backend]) -> Result<Series, Impossible> {
        let nixl = usable(place, options)?;
        let seed = seed::random().map_err(|error| Impossible {
            fact: format!("the system has no random numbers for the payload's seed: {error}"),
            help: "allow getrandom(2) in this sandbox",
        })?;
        let may_skip = nixl.capi.is_none() && options.memory == Memory::Dram;
        let first = Pair::alike(backends);
        let template = Plan {
            program: place.program.clone(),
            engine: Engine::decide(options.engine, &nixl, first.preferred()),
            plugins: PluginFolder::decide(options.plugin_dir.as_deref(), &place.variables, &nixl),
            nixl,
            pair: first,
            principal: true,
            memory: options.memory,
            size: options.size(),
            iterations: options.iterations(),
            seed,
            timeout: options.timeout,
            library_path: options.library_path.iter().map(|folder| absolute(folder)).collect(),
            import_path: place.import_path.clone(),
            variables: Arc::clone(&place.variables),
            require_fabric: options.require_fabric,
            fault: options.fault,
        };
        let plan = |trial: Trial| template.with_pair(trial.pair, options.engine, trial.principal);
        let plans = trials(backends, &options.peer_backends).into_iter().map(plan).collect();
        Ok(Series { plans, backends: backends.to_vec(), may_skip })
    }

    /// Makes each transfer with `make`; `report` gets each result. Returns whether none failed.
    ///
    /// Unless `required`, a transfer with neither a C API nor a library is skipped.
    pub(crate) fn run(
        &self,
        required: bool,
        make: &mut dyn FnMut(&Plan) -> Smoke,
        report: &mut dyn FnMut(Smoke),
    ) -> bool {
        let make = |plan: &Plan| {
            let mut smoke = make(plan);
            // Never skip silently when VRAM was requested.
            if !required && self.may_skip {
                skip_unless_loaded(&mut smoke);
            }
            if required {
                verdict::require_plugin(&mut smoke, plan);
            }
            smoke
        };
        try_all(&self.plans, make, report)
    }
}

/// Makes each transfer with `make`; agents with several backends are skipped once a transfer has failed. Returns whether none
/// failed.
pub(crate) fn try_all(plans: &[Plan], mut make: impl FnMut(&Plan) -> Smoke, report: &mut dyn FnMut(Smoke)) -> bool {
    let mut failed: Option<String> = None;
    for plan in plans {
        let smoke = match &failed {
            Some(first) if !plan.pair.is_one() => not_tried(&plan.pair, first),
            _ => make(plan),
        };
        if smoke.status == SmokeStatus::Failed {
            failed.get_or_insert_with(|| plan.pair.title());
        }
        report(smoke);
    }
    failed.is_none()
}

fn not_tried(pair: &Pair, failed: &str) -> Smoke {
    let reason = format!("not tried because {failed} failed");
    Smoke { peer_backend: pair.peer(), ..Smoke::skipped(&backend::list(&pair.initiator), reason) }
}

/// Without NIXL's C API there may be no library to make a transfer with; `--smoke auto` then skips it.
fn skip_unless_loaded(smoke: &mut Smoke) {
    if let Some(failure) = smoke.failure.take_if(|failure| failure.stage == Stage::Load) {
        smoke.status = SmokeStatus::Skipped;
        smoke.reason = Some(failure.message);
    }
}

/// Why no transfer can be made.
#[derive(Debug, thiserror::Error)]
#[error("{fact}\nhelp: {help}")]
pub(crate) struct Impossible {
    fact: String,
    help: &'static str,
}

/// The NIXL that this environment's Python would use, if a transfer can be made with it.
///
/// # Errors
/// If no NIXL is installed, or it lacks the C API that the options need.
fn usable(place: &Place, options: &TransferOptions) -> Result<NixlInstallation, Impossible> {
    let found = place.nixl.clone().or_else(|| nixl::find(&place.import_path).into_iter().next());
    let Some(nixl) = found else {
        let searched: Vec<String> = place.import_path.iter().map(|folder| folder.shown().to_string()).collect();
        let fact = if searched.is_empty() {
            format!("{} belongs to no environment with a NIXL", place.label)
        } else {
            format!("no NIXL is installed for {}; searched: {}", place.label, searched.join(", "))
        };
        return Err(Impossible { fact, help: "install NIXL in this environment, or pass another TARGET" });
    };
    if nixl.capi.is_some() || options.engine != EngineChoice::Nixl && options.peer_backends.is_empty() {
        return Ok(nixl);
    }
    Err(Impossible {
        fact: format!(
            "{} has no `libnixl_capi.so`, the C API that `--engine nixl` and `--peer-backend` need",
            nixl.title()
        ),
        help: "install NIXL 0.10.1 or newer, whose wheels have the C API",
    })
}

/// Absolute, because workers may run elsewhere.
fn absolute(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf())
}

/// The report of a transfer that cannot be made: a failure if `required`, else skipped.
pub(crate) fn not_made(backends: &[Backend], impossible: Impossible, required: bool) -> Smoke {
    let Impossible { fact, help } = impossible;
    let backends = backend::list(backends);
    if !required {
        return Smoke::skipped(&backends, fact);
    }
    let advice = format!("{help}, or use `--smoke auto` to go on without a transfer");
    Smoke {
        status: SmokeStatus::Failed,
        failure: Some(Failure { stage: Stage::Load, message: fact.clone(), advice }),
        ..Smoke::skipped(&backends, fact)
    }
}

/// The report of a transfer that nothing asks for.
pub(crate) fn skipped(backends: &[Backend], reason: &str) -> Smoke {
    Smoke::skipped(&backend::list(backends), reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Backend::{Libfabric, Ucx};

    fn titles(backends: &[Backend], peer: &[Backend]) -> Vec<(String, bool)> {
        trials(backends, peer).into_iter().map(|trial| (trial.pair.title(), trial.principal)).collect()
    }

    #[test]
    fn several_backends_are_tried_alone_and_together_and_against_ucx() {
        let expected = [("LIBFABRIC", true), ("UCX", false), ("LIBFABRIC,UCX", true), ("LIBFABRIC,UCX to UCX", false)];
        assert_eq!(titles(&[Libfabric, Ucx], &[]), expected.map(|(title, principal)| (title.into(), principal)));
        assert_eq!(titles(&[Ucx], &[]), [("UCX".into(), true)]);
        assert_eq!(titles(&[Libfabric], &[Ucx]), [("LIBFABRIC to UCX".into(), true)]);
    }
}
