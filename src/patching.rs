//! What `apply`, `check` and `revert` share.
//!
//! 1. Each TARGET becomes an environment, and each environment yields its module: [`find`].
//! 2. Each module becomes a planned file, with its new bytes and its report: [`plan`], and within [`revert`].
//! 3. The planned files are committed: every new file is on disk before the first one replaces an old one: [`commit`].
//!
//! A source on standard input is planned like a file, and the result goes to standard output: [`plan_text`] and
//! [`revert_text`].

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::choice::rule::Rule;
use crate::environment::python::install::{self, StagedChange};
use crate::environment::python::module::{self, Module};
use crate::environment::python::target::{self, Environment, Execution};
use crate::environment::variables::Variables;
use crate::python::nixl_default::{self, NixlDefault};
use crate::python::{helper_check, patch};
use crate::report::file::{FileReport, FileStatus};

/// The TARGET that means standard input.
const STANDARD_INPUT: &str = "-";
/// What standard input is called in reports and diffs.
const STANDARD_INPUT_NAME: &str = "<stdin>";

/// The default backend of every release of NIXL.
const NIXL_DEFAULT: &str = "UCX";

/// The targets of a run, and what they are resolved with.
#[derive(Clone, Copy)]
pub(crate) struct Targets<'a> {
    /// Those of the command line; none means the default environment.
    pub named: &'a [PathBuf],
    /// The process's environment variables.
    pub variables: &'a Variables,
    /// The process's current directory; empty where it has none.
    pub directory: &'a Path,
    /// Whether no interpreter may be started.
    pub no_exec: bool,
}

/// A module, and what is to be done with it.
pub(crate) struct Planned {
    module: Module,
    environment: Environment,
    content: Vec<u8>,
    /// Its new bytes; None when it stays as it is.
    changed: Option<Vec<u8>>,
    /// What the user is told about it.
    pub report: FileReport,
}

/// Whether the TARGET is standard input.
///
/// # Errors
/// When it is one of several.
pub(crate) fn is_standard_input(targets: &[PathBuf]) -> Result<bool> {
    let named = targets.iter().any(|target| target.as_os_str() == STANDARD_INPUT);
    if named && targets.len() > 1 {
        bail!("`-` (standard input) cannot be combined with other targets");
    }
    Ok(named)
}

/// Finds the module of every TARGET; a file that several TARGETs lead to once. Interpreters of the environments run
/// `program` in the background.
///
/// # Errors
/// When a TARGET does not exist or has no module, or there is no TARGET and no default environment.
fn find(targets: Targets, program: &str) -> Result<Vec<(Environment, Module)>> {
    let mut found: Vec<(Environment, Module)> = Vec::new();
    for environment in environments(targets, program)? {
        let module = target::require_module(&environment)?;
        if !found.iter().any(|(_, known)| same_file(&known.path, &module.path)) {
            found.push((environment, module));
        }
    }
    Ok(found)
}

fn environments(targets: Targets, program: &str) -> Result<Vec<Environment>> {
    let execution = if targets.no_exec { Execution::Never } else { Execution::Start(program) };
    if targets.named.is_empty() {
        let what = format!("`{}`", module::MODULE);
        let has_module = |environment: &Environment| environment.has_module().then_some(());
        let (default, ()) = target::default_environment(execution, &what, targets.variables, has_module)?;
        return Ok(vec![default]);
    }
    targets.named.iter().map(|target| target::resolve(target, execution, targets.variables)).collect()
}

fn same_file(one: &Path, other: &Path) -> bool {
    let (one, other) = (fs::canonicalize(one), fs::canonicalize(other));
    one.ok().zip(other.ok()).is_some_and(|(one, other)| one == other)
}

/// Plans the rewrite of every TARGET. A file that cannot be processed is also added to `failures`.
///
/// # Errors
/// The first TARGET that cannot be processed: then nothing may be written.
pub(crate) fn plan(targets: Targets, rule: &Rule, failures: &mut Vec<FileReport>) -> Result<Vec<Planned>> {
    let mut planned = Vec::new();
    for (environment, module) in find(targets, &helper_check::program(rule))? {
        let path = module.path.clone();
        let file = plan_rewrite(environment, module, rule, targets.directory)
            .inspect_err(|error| failures.push(failed(&path, error)))?;
        planned.push(file);
    }
    Ok(planned)
}

fn plan_rewrite(mut environment: Environment, module: Module, rule: &Rule, directory: &Path) -> Result<Planned> {
    let content = read(&module.path)?;
    let plan = patch::plan(&diff_path(&module.path, directory), &content, rule)
        .map_err(|error| located(&module.path, &error))?;
    let mut report = file_report(&module, plan.status, &environment);
    report.sites = plan.sites;
    report.notes = plan.notes;
    report.diff = plan.diff;
    if plan.patched.is_some() {
        report.notes.extend(replaced_defaults(&environment, rule));
        report.details.extend(check_helper(&mut environment, rule)?);
    }
    Ok(Planned { module, environment, content, changed: plan.patched, report })
}

/// Says where the installed NIXL's own default is not the one that the patched code will use instead.
fn replaced_defaults(environment: &Environment, rule: &Rule) -> Vec<String> {
    let sources = module::nixl_sources(&environment.import_path);
    sources.iter().filter_map(|path| replaced_default(path, rule)).collect()
}

fn replaced_default(path: &Path, rule: &Rule) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (path, default, variable) = (path.display(), rule.default, &rule.variable);
    let becomes = format!("the patched code uses `{default}` where `{variable}` is unset");
    match nixl_default::of(&text)? {
        NixlDefault::Names(names) if names == [NIXL_DEFAULT] || names == [default.name()] => None,
        NixlDefault::Names(names) => {
            let keep = match names.as_slice() {
                [one] => format!("; pass `--default-backend {one}` to keep it"),
                _ => String::new(),
            };
            Some(format!("warning: `{path}` has the default backend `{}`; {becomes}{keep}", names.join(",")))
        }
        NixlDefault::Computed(source) => {
            Some(format!("warning: `{path}` computes its default backend, `{source}`; {becomes}"))
        }
    }
}

/// Checks what the inserted helper returned in the environment's own interpreter. Returns a message for `-v`.
fn check_helper(environment: &mut Environment, rule: &Rule) -> Result<Option<String>> {
    if let Some(python) = &environment.not_started {
        return Ok(Some(format!("did not check the inserted helper: `--no-exec` forbids {}", python.display())));
    }
    let Some(interpreter) = &mut environment.interpreter else { return Ok(None) };
    let output = interpreter.output()?;
    let python = format!("{} (Python {})", interpreter.executable.display(), interpreter.version);
    helper_check::compare(&output, rule).map_err(|wrong| anyhow!("{python}: {wrong}; nothing was changed"))?;
    let values = helper_check::count();
    Ok(Some(format!("checked the inserted helper with {values} values of the variable, isolated, in {python}")))
}

/// Writes what was planned. Returns the reports, and the environments for a smoke transfer.
///
/// # Errors
/// When a file cannot be written or replaced.
pub(crate) fn commit(planned: Vec<Planned>) -> Result<Vec<(FileReport, Environment)>> {
    let staged = planned.iter().map(stage).collect::<Result<Vec<StagedChange>>>()?;
    let mut committed = Vec::new();
    for (change, planned) in staged.into_iter().zip(planned) {
        let Planned { environment, mut report, .. } = planned;
        report.details.extend(change.commit(environment.cache_prefix.as_deref())?);
        if report.status == FileStatus::WouldPatch {
            report.status = FileStatus::Patched;
        }
        committed.push((report, environment));
    }
    Ok(committed)
}

fn stage(planned: &Planned) -> Result<StagedChange> {
    match (&planned.changed, planned.report.status) {
        (Some(changed), _) => install::stage(&planned.module, &planned.content, changed),
        (None, FileStatus::AlreadyPatched) => install::stage_repair(&planned.module, &planned.content),
        (None, _) => Ok(StagedChange::nothing()),
    }
}

/// Restores the original of every TARGET.
///
/// # Errors
/// When this program did not patch a file, a file was edited since, or one cannot be replaced.
pub(crate) fn revert(targets: Targets) -> Result<Vec<FileReport>> {
    let found = find(targets, "")?.into_iter();
    let planned = found.map(|(environment, module)| plan_revert(environment, module, targets.directory));
    let reverted = commit(planned.collect::<Result<_>>()?)?;
    Ok(reverted.into_iter().map(|(report, _)| report).collect())
}

fn plan_revert(environment: Environment, module: Module, directory: &Path) -> Result<Planned> {
    let content = read(&module.path)?;
    let reverted =
        patch::revert(&diff_path(&module.path, directory), &content).map_err(|error| located(&module.path, &error))?;
    let mut report = file_report(&module, FileStatus::Reverted, &environment);
    report.diff = reverted.diff;
    Ok(Planned { module, environment, content, changed: Some(reverted.original), report })
}

/// All of standard input.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read_standard_input() -> Result<Vec<u8>> {
    let mut content = Vec::new();
    io::stdin().lock().read_to_end(&mut content).context("cannot read standard input")?;
    Ok(content)
}

/// Plans the rewrite of a source that is not a file. Returns the report, and the new bytes where it changes.
///
/// # Errors
/// When it is not understood.
pub(crate) fn plan_text(content: &[u8], rule: &Rule) -> Result<(FileReport, Option<Vec<u8>>)> {
    let path = Path::new(STANDARD_INPUT_NAME);
    let plan = patch::plan(path, content, rule).map_err(|error| located(path, &error))?;
    let report =
        FileReport { sites: plan.sites, notes: plan.notes, diff: plan.diff, ..FileReport::new(path, plan.status) };
    Ok((report, plan.patched))
}

/// The original of a patched source that is not a file.
///
/// # Errors
/// When this program did not patch it, or it was edited since.
pub(crate) fn revert_text(content: &[u8]) -> Result<Vec<u8>> {
    let path = Path::new(STANDARD_INPUT_NAME);
    let reverted = patch::revert(path, content).map_err(|error| located(path, &error))?;
    Ok(reverted.original)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path.is_dir() {
        bail!("{}: is a directory; expected the module's source", path.display());
    }
    fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))
}

/// An error about a file's content, after the file's path.
fn located(path: &Path, error: &patch::PatchError) -> anyhow::Error {
    // A syntax error begins with its line and column, for PATH:LINE:COLUMN.
    let separator = if matches!(error, patch::PatchError::Syntax(_)) { ":" } else { ": " };
    anyhow!("{}{separator}{error}", path.display())
}

/// A module's report before its content is known.
fn file_report(module: &Module, status: FileStatus, environment: &Environment) -> FileReport {
    let (distribution, distribution_version) = module.distribution.clone().unzip();
    let mut details = vec![format!("found: {}", module.found_by)];
    let shadowed = module::shadowed(&environment.import_path, module);
    details.extend(shadowed.iter().map(|path| format!("shadowed copy, left unchanged: {}", path.display())));
    FileReport { distribution, distribution_version, details, ..FileReport::new(&module.path, status) }
}

fn failed(path: &Path, error: &anyhow::Error) -> FileReport {
    FileReport { notes: vec![format!("{error:#}")], ..FileReport::new(path, FileStatus::Failed) }
}

/// A file's path in a diff. Below the current directory it is relative, so that `patch -p1` and `git apply` find the
/// file from there.
fn diff_path(path: &Path, directory: &Path) -> PathBuf {
    let absolute = std::path::absolute(directory.join(path)).unwrap_or_else(|_| path.to_path_buf());
    absolute.strip_prefix(directory).map(Path::to_path_buf).unwrap_or(absolute)
}
