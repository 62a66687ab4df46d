//! What `apply`, `check` and `revert` share: targets become planned files, and planned files become committed ones.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::choice::rule::Rule;
use crate::environment::python::install::{self, StagedChange};
use crate::environment::python::module::{self, Module};
use crate::environment::python::target::{self, Environment};
use crate::environment::variables::Variables;
use crate::python::{helper_check, patch};
use crate::report::file::{FileReport, FileStatus};
use crate::source::diff;

/// The TARGET that means standard input.
const STANDARD_INPUT: &str = "-";
/// What it is called in messages.
const STANDARD_INPUT_NAME: &str = "<stdin>";

/// One module, and what is to be done with it.
pub(crate) struct Planned {
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
pub(crate) fn is_standard_input(targets: &[PathBuf]) -> Result<bool> {
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
pub(crate) fn read_standard_input() -> Result<Vec<u8>> {
    let mut content = Vec::new();
    io::stdin().lock().read_to_end(&mut content).context("standard input cannot be read")?;
    Ok(content)
}

/// The environments that the TARGETs name, or the default one.
///
/// # Errors
/// Where there is no such thing, or nothing is found.
fn environments(targets: &[PathBuf], program: &str, variables: &Variables) -> Result<Vec<Environment>> {
    if targets.is_empty() {
        let wanted = Environment::has_module;
        return Ok(vec![target::default_environment(program, module::MODULE, variables, wanted)?]);
    }
    targets.iter().map(|target| target::resolve(target, program)).collect()
}

/// Plans every TARGET. A file named twice is planned once. What cannot be processed is added to
/// `failures`, too.
///
/// # Errors
/// The first TARGET that cannot be processed: then nothing may be written.
pub(crate) fn plan(
    targets: &[PathBuf],
    rule: &Rule,
    variables: &Variables,
    failures: &mut Vec<FileReport>,
) -> Result<Vec<Planned>> {
    let environments = environments(targets, &helper_check::program(rule), variables)?;
    let mut planned: Vec<Planned> = Vec::new();
    for environment in environments {
        let module = target::require_module(&environment)?;
        if planned.iter().any(|known| same_file(&known.module.path, &module.path)) {
            continue;
        }
        let path = module.path.clone();
        match plan_module(environment, module, rule) {
            Ok(one) => planned.push(one),
            Err(error) => {
                failures.push(failed(&path, &error));
                return Err(error);
            }
        }
    }
    Ok(planned)
}

fn plan_module(mut environment: Environment, module: Module, rule: &Rule) -> Result<Planned> {
    let content = read(&module.path)?;
    let plan = patch::plan(&shown_path(&module.path), &content, rule).map_err(|error| located(&module.path, &error))?;
    let mut report = file_report(&module, plan.status, &environment);
    report.sites = plan.sites;
    report.notes = plan.notes;
    report.diff = plan.diff;
    if plan.patched.is_some() {
        report.details.extend(check_helper(&mut environment, rule)?);
    }
    Ok(Planned { module, environment, content, changed: plan.patched, report })
}

/// Compares what the helper, run by the environment's own interpreter meanwhile, returned.
fn check_helper(environment: &mut Environment, rule: &Rule) -> Result<Option<String>> {
    let Some(interpreter) = &mut environment.interpreter else { return Ok(None) };
    let output = interpreter.output()?;
    let who = format!("{} (Python {})", interpreter.executable.display(), interpreter.version);
    helper_check::compare(&output, rule).map_err(|wrong| anyhow::anyhow!("{who}: {wrong}; nothing was changed"))?;
    let values = helper_check::count();
    Ok(Some(format!(
        "the inserted helper, run on its own and isolated by {who}, is right for {values} values of the variable"
    )))
}

/// Plans a source text that is not a file. Returns what is said of it, and the rewritten text where it changes.
///
/// # Errors
/// Where it is not understood.
pub(crate) fn plan_text(content: &[u8], rule: &Rule) -> Result<(FileReport, Option<Vec<u8>>)> {
    let path = Path::new(STANDARD_INPUT_NAME);
    let plan = patch::plan(path, content, rule).map_err(|error| located(path, &error))?;
    let report =
        FileReport { sites: plan.sites, notes: plan.notes, diff: plan.diff, ..FileReport::new(path, plan.status) };
    Ok((report, plan.patched))
}

/// Writes what was planned. Everything lies ready beside what it replaces before the first file changes.
///
/// # Errors
/// Where a file cannot be written or replaced.
pub(crate) fn commit(planned: Vec<Planned>) -> Result<Vec<(FileReport, Environment)>> {
    let staged = planned.iter().map(stage).collect::<Result<Vec<StagedChange>>>()?;
    let mut committed = Vec::new();
    for (change, planned) in staged.into_iter().zip(planned) {
        let mut report = planned.report;
        report.details.extend(change.commit()?);
        if report.status == FileStatus::WouldPatch {
            report.status = FileStatus::Patched;
        }
        committed.push((report, planned.environment));
    }
    Ok(committed)
}

fn stage(planned: &Planned) -> Result<StagedChange> {
    match (&planned.changed, planned.report.status) {
        (Some(changed), _) => install::stage(&planned.module, &planned.content, changed),
        (None, FileStatus::AlreadyPatched) => install::stage_upkeep(&planned.module, &planned.content),
        (None, _) => Ok(StagedChange::nothing()),
    }
}

/// Restores the original of every TARGET.
///
/// # Errors
/// Where a file is not patched by this program, was edited since, or cannot be replaced.
pub(crate) fn revert(targets: &[PathBuf], variables: &Variables) -> Result<Vec<FileReport>> {
    let staged =
        environments(targets, "", variables)?.iter().map(stage_revert).collect::<Result<Vec<(StagedChange, _)>>>()?;
    let mut reverted = Vec::new();
    for (change, mut file) in staged {
        file.details.extend(change.commit()?);
        reverted.push(file);
    }
    Ok(reverted)
}

fn stage_revert(environment: &Environment) -> Result<(StagedChange, FileReport)> {
    let module = target::require_module(environment)?;
    let content = read(&module.path)?;
    let original = patch::revert(&content).map_err(|error| located(&module.path, &error))?;
    let change = install::stage(&module, &content, &original)?;
    let mut file = file_report(&module, FileStatus::Reverted, environment);
    file.diff = diff::unified(&shown_path(&module.path), &content, &original);
    Ok((change, file))
}

/// The original of a patched text that is not a file.
///
/// # Errors
/// Where it is not patched by this program, or was edited since.
pub(crate) fn revert_text(content: &[u8]) -> Result<Vec<u8>> {
    patch::revert(content).map_err(|error| located(Path::new(STANDARD_INPUT_NAME), &error))
}

/// Reads a module's source.
///
/// # Errors
/// Where it is no file, or cannot be read.
fn read(path: &Path) -> Result<Vec<u8>> {
    if path.is_dir() {
        bail!("{}: a folder stands where the module's source should be", path.display());
    }
    fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))
}

/// An error of a file's content, with the file's path before it.
fn located(path: &Path, error: &patch::PatchError) -> anyhow::Error {
    // A syntax error begins with line and column, so that the whole reads PATH:LINE:COLUMN.
    let separator = if matches!(error, patch::PatchError::Syntax(_)) { ":" } else { ": " };
    anyhow::anyhow!("{}{separator}{error}", path.display())
}

/// The report of a module, before anything is known of its content.
fn file_report(module: &Module, status: FileStatus, environment: &Environment) -> FileReport {
    let (distribution, distribution_version) = module.distribution.clone().unzip();
    let mut details = vec![format!("found: {}", module.found_by)];
    let shadowed = module::shadowed(&environment.import_path, module);
    details.extend(shadowed.iter().map(|path| format!("not used by an import, left alone: {}", path.display())));
    FileReport { distribution, distribution_version, details, ..FileReport::new(&module.path, status) }
}

/// The report of a file that cannot be processed.
fn failed(path: &Path, error: &anyhow::Error) -> FileReport {
    FileReport { notes: vec![format!("{error:#}")], ..FileReport::new(path, FileStatus::Failed) }
}

/// The path for a diff's header: as seen from the working folder where it lies below it, so that `patch -p1` and
/// `git apply` find the file from here; otherwise from the root.
fn shown_path(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let here = env::current_dir().unwrap_or_default();
    absolute.strip_prefix(here).map(Path::to_path_buf).unwrap_or(absolute)
}

fn same_file(one: &Path, other: &Path) -> bool {
    let (one, other) = (fs::canonicalize(one), fs::canonicalize(other));
    one.ok().zip(other.ok()).is_some_and(|(one, other)| one == other)
}
