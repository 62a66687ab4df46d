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
use crate::smoke::{self, Plan};

/// Checks what clap cannot.
///
/// # Errors
/// Where the options make no transfer possible.
pub fn validate(args: &TransferArgs) -> Result<()> {
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
        return args.backend.clone();
    }
    let value = env::var_os(variable).map(|value| value.to_string_lossy().into_owned());
    backend::choose(value.as_deref(), default, allow).0
}

/// Runs one transfer a backend. Where none can be made, that is a failure if `required`, and said to be skipped if not.
pub fn run(
    environment: &Environment,
    args: &TransferArgs,
    backends: &[Backend],
    required: bool,
    console: &Console,
    report: &mut Report,
) -> ExitStatus {
    let nixl = match usable(environment, args.engine) {
        Ok(nixl) => nixl,
        Err(reason) => {
            report.add_smoke(not_made(backends, reason, required));
            return if required { ExitStatus::Findings } else { ExitStatus::Success };
        }
    };
    let mut status = ExitStatus::Success;
    for backend in backends {
        let mut smoke = one(environment, &nixl, args, *backend, console);
        if !required && nixl.capi.is_none() {
            skip_unless_loaded(&mut smoke);
        }
        if smoke.status == SmokeStatus::Failed {
            status = ExitStatus::Findings;
        }
        report.add_smoke(smoke);
    }
    status
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
pub fn usable(environment: &Environment, engine: EngineChoice) -> Result<NixlInstallation, String> {
    let folders = environment.folders();
    let found = nixl::find(&folders).into_iter().next();
    let Some(nixl) = found else {
        let searched: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        return Err(format!("no NIXL is installed for {}; searched: {}", environment.label, searched.join(", ")));
    };
    if nixl.capi.is_some() || engine != EngineChoice::Nixl {
        return Ok(nixl);
    }
    let version = nixl.version.as_deref().unwrap_or("of an unknown version");
    Err(format!(
        "{} {version} has no libnixl_capi.so, the C API that --engine nixl goes through; NIXL's wheels have it from 0.10.1 on",
        nixl.name
    ))
}

fn one(
    environment: &Environment,
    nixl: &NixlInstallation,
    args: &TransferArgs,
    backend: Backend,
    console: &Console,
) -> Smoke {
    let plan = plan(environment, nixl, args, backend);
    let smoke = smoke::run(&plan, &mut |stage| console.progress(&format!("smoke {backend}: {stage}")));
    console.progress("");
    smoke
}

/// What the options ask for.
pub fn plan(environment: &Environment, nixl: &NixlInstallation, args: &TransferArgs, backend: Backend) -> Plan {
    Plan {
        nixl: nixl.clone(),
        engine: args.engine,
        backend,
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
    let names: Vec<&str> = backends.iter().map(|backend| backend.name()).collect();
    let mut smoke = Smoke::skipped(&names.join(","), reason.clone());
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
