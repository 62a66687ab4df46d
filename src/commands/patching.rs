//! What `apply` and `check` have in common: every TARGET found, read and planned before anything is written.
#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cli::PatchArgs;
use crate::environment::module::{self, Module};
use crate::environment::target::{self, Environment};
use crate::python::{helper_check, patch};
use crate::report::Report;
use crate::report::file::{FileReport, FileStatus};

/// The TARGET that means standard input.
const STANDARD_INPUT: &str = "-";

/// One module, and what is to be done with it.
pub struct Planned {
    /// Where it was found.
    pub module: Module,
    /// The environment that it was found in.
    pub environment: Environment,
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its new bytes, where it changes.
    pub changed: Option<Vec<u8>>,
    /// What is said of it.
    pub report: FileReport,
}

/// Whether the only TARGET is standard input.
///
/// # Errors
/// Where it stands beside others.
pub fn is_standard_input(targets: &[PathBuf]) -> Result<bool> {
    let named = targets.iter().any(|target| target.as_os_str() == STANDARD_INPUT);
    if named && targets.len() > 1 {
        bail!("- (standard input) cannot stand beside other TARGETs");
    }
    Ok(named)
}

/// Standard input, whole.
///
/// # Errors
/// Where it cannot be read.
pub fn read_standard_input() -> Result<Vec<u8>> {
    let mut content = Vec::new();
    io::stdin().lock().read_to_end(&mut content).context("standard input cannot be read")?;
    Ok(content)
}

/// The environments that the TARGETs name, or the default one.
///
/// # Errors
/// Where there is no such thing, or nothing is found.
pub fn environments(targets: &[PathBuf], program: &str) -> Result<Vec<Environment>> {
    if targets.is_empty() {
        return Ok(vec![target::default_environment(program, module::MODULE, Environment::has_module)?]);
    }
    targets.iter().map(|target| target::resolve(target, program)).collect()
}

/// Plans every TARGET. A file named twice is planned once. What could not be dealt with is in `report` too.
///
/// # Errors
/// The first TARGET that cannot be dealt with: then nothing may be written.
pub fn plan(targets: &[PathBuf], options: &PatchArgs, report: &mut Report) -> Result<Vec<Planned>> {
    let environments = environments(targets, &helper_check::program(options))?;
    let mut planned: Vec<Planned> = Vec::new();
    for environment in environments {
        let module = target::require_module(&environment)?;
        if planned.iter().any(|known| same_file(&known.module.path, &module.path)) {
            continue;
        }
        let path = module.path.clone();
        match plan_module(environment, module, options) {
            Ok(one) => planned.push(one),
            Err(error) => {
                report.files.push(failed(&path, &error));
                return Err(error);
            }
        }
    }
    Ok(planned)
}

fn plan_module(mut environment: Environment, module: Module, options: &PatchArgs) -> Result<Planned> {
    let content = read(&module.path)?;
    let plan =
        patch::plan(&shown_path(&module.path), &content, options).map_err(|error| located(&module.path, &error))?;
    let mut report = file_report(&module, plan.status, &environment);
    report.sites = plan.sites;
    report.notes = plan.notes;
    report.diff = plan.diff;
    if plan.patched.is_some() {
        report.details.extend(check_helper(&mut environment, options)?);
    }
    Ok(Planned { module, environment, content, changed: plan.patched, report })
}

/// Compares what the helper, run by the environment's own interpreter meanwhile, returned.
fn check_helper(environment: &mut Environment, options: &PatchArgs) -> Result<Option<String>> {
    let Some(interpreter) = &mut environment.interpreter else { return Ok(None) };
    let output = interpreter.output()?;
    let who = format!("{} (Python {})", interpreter.executable.display(), interpreter.version);
    helper_check::compare(&output, options).map_err(|wrong| anyhow::anyhow!("{who}: {wrong}; nothing was changed"))?;
    let values = helper_check::count();
    Ok(Some(format!(
        "the inserted helper, run on its own and isolated by {who}, is right for {values} values of the variable"
    )))
}

/// Reads a module's source.
///
/// # Errors
/// Where it is no file, or cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    if path.is_dir() {
        bail!("{}: a folder stands where the module's source should be", path.display());
    }
    fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))
}

/// An error of a file's content, with the file's path before it.
pub fn located(path: &Path, error: &patch::PatchError) -> anyhow::Error {
    // A syntax error begins with line and column, so that the whole reads PATH:LINE:COLUMN.
    let separator = if matches!(error, patch::PatchError::Syntax(_)) { ":" } else { ": " };
    anyhow::anyhow!("{}{separator}{error}", path.display())
}

/// The report of a module, before anything is known of its content.
pub fn file_report(module: &Module, status: FileStatus, environment: &Environment) -> FileReport {
    let (distribution, distribution_version) = module.distribution.clone().unzip();
    let mut details = vec![format!("found: {}", module.found_by)];
    let shadowed = module::shadowed(&environment.import_path, module);
    details.extend(shadowed.iter().map(|path| format!("not used by an import, left alone: {}", path.display())));
    FileReport { distribution, distribution_version, details, ..FileReport::new(&module.path, status) }
}

/// The report of a file that could not be dealt with.
fn failed(path: &Path, error: &anyhow::Error) -> FileReport {
    FileReport { notes: vec![format!("{error:#}")], ..FileReport::new(path, FileStatus::Failed) }
}

/// The path for a diff's header: as seen from the working folder where it lies below it, so that `patch -p1` and
/// `git apply` find the file from here; otherwise from the root.
pub fn shown_path(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let here = env::current_dir().unwrap_or_default();
    absolute.strip_prefix(here).map(Path::to_path_buf).unwrap_or(absolute)
}

fn same_file(one: &Path, other: &Path) -> bool {
    let (one, other) = (fs::canonicalize(one), fs::canonicalize(other));
    one.ok().zip(other.ok()).is_some_and(|(one, other)| one == other)
}
