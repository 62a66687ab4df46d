//! What `apply`, `check` and `revert` share.
//!
//! 1. Each TARGET becomes an environment, and each environment yields its modules; other runs are locked out: [`find`].
//! 2. Each module becomes a planned file, with its new bytes and its report: [`plan`], and within [`revert`].
//! 3. The planned files are committed as one transaction: [`commit`].
//!
//! Rust sources take the same way: [`rust`].
//!
//! A source on standard input is planned like a file, and the result goes to standard output: [`plan_text`] and
//! [`revert_text`].

mod expectation;
mod purpose;
mod release;
mod rust;
mod selected;

use std::cmp::Reverse;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use pep440_rs::Version;

use crate::audit::across::Tree;
use crate::choice::rule::Rule;
use crate::environment::python::bytecode;
use crate::environment::python::distribution::{self, Distribution};
use crate::environment::python::install::{self, Direction, Failure, Transaction};
use crate::environment::python::module::{self, Listed, Module};
use crate::environment::python::record::Record;
use crate::environment::python::target::{self, Environment, Execution, NotStarted, Takes};
use crate::environment::source_date;
use crate::python::helper_check;
use crate::python::meaning::Imports;
use crate::python::nixl_default::{self, NixlDefault};
use crate::python::patch::{self, PatchError};
use crate::report::file::{FileReport, FileStatus};
use crate::shown::Shown;
use crate::source::lock::{self, Lock};
use crate::source::{regular, replace};
pub(crate) use expectation::Expectation;
pub(crate) use purpose::Purpose;
pub(crate) use rust::are_rust;
use selected::Selected;
pub(crate) use selected::{Selection, Targets};

/// The TARGET that means standard input.
const STANDARD_INPUT: &str = "-";
/// What standard input is called in reports and diffs.
const STANDARD_INPUT_NAME: &str = "<stdin>";

/// The default backend of every release of NIXL.
const NIXL_DEFAULT: &str = "UCX";

/// The files of a run, their environments, and the locks that keep other runs from them.
pub(crate) struct Work {
    files: Vec<Planned>,
    environments: Vec<Environment>,
    /// The latest time that what is written may have.
    latest: Option<SystemTime>,
    _locks: Vec<Lock>,
}

impl Work {
    /// What the user is told about the files, where nothing is changed.
    pub(crate) fn reports(self) -> Vec<FileReport> {
        self.files.into_iter().map(|planned| planned.report).collect()
    }
}

/// A file, and what is to be done with it.
struct Planned {
    of: Of,
    content: Vec<u8>,
    /// Its new bytes; None when it stays as it is.
    changed: Option<Vec<u8>>,
    report: FileReport,
}

/// What a file is.
enum Of {
    Module(Found),
    Source(rust::Source),
}

impl Of {
    fn path(&self) -> &Path {
        match self {
            Of::Module(found) => &found.module.path,
            Of::Source(source) => &source.path,
        }
    }
}

/// A module that was found.
struct Found {
    /// Its environment's place in the run's.
    environment: usize,
    module: Module,
    /// What the modules around it bind, where calls in it may go through their names.
    tree: Option<Rc<Tree>>,
    /// The distributions whose RECORD lists it.
    owners: Vec<Distribution>,
}

/// Whether the TARGET is standard input.
///
/// # Errors
/// When it is one of several, or other files are wanted besides.
pub(crate) fn is_standard_input(targets: &[PathBuf], selection: Selection) -> Result<bool> {
    let named = targets.iter().any(|target| target.as_os_str() == STANDARD_INPUT);
    if named && targets.len() > 1 {
        bail!("`-` (standard input) cannot be combined with other targets");
    }
    if named && !selection.also.is_empty() {
        bail!("`-` (standard input) cannot be combined with `--also`\nhelp: drop one of the two");
    }
    Ok(named)
}

impl Found {
    /// Puts the distribution first that the file is of: its RECORD has the file's hash. Where several have it, as those of a
    /// patched file do, it is the newest.
    fn put_owner_first(&mut self, content: &[u8]) {
        self.owners.sort_by_key(|owner| {
            let version = Version::from_str(&owner.version).ok();
            Reverse((owner.record.agrees(&owner.entry, content), version))
        });
    }

    /// Says that its distribution is installed twice in one folder.
    fn several_dist_infos(&self) -> Option<String> {
        let owner = self.owners.first()?;
        let others = distribution::others_of(owner);
        let (first, rest) = others.split_first()?;
        let others = rest.iter().fold(format!("`{first}`"), |text, other| format!("{text}, `{other}`"));
        Some(format!(
            "warning: `{}` is installed twice: `{}`, which is used here, and {others}; RECORD is updated wherever it lists \
             the file. Reinstall `{}` to have one",
            owner.name,
            owner.folder_name(),
            owner.name
        ))
    }
}

/// What a run found: its environments, their modules, Rust sources, and the locks.
struct Search {
    environments: Vec<Environment>,
    found: Vec<Found>,
    sources: Vec<rust::Source>,
    locks: Vec<Lock>,
}

/// Finds the modules of the environments and the Rust sources that the TARGETs are, a file that several TARGETs lead to
/// once, and locks the folders that hold them, their RECORDs and their checksums. Interpreters of the environments run
/// `program` in the background; `marked` asks for every file in them that was patched before.
///
/// Runs take the locks in the same order, so that none waits for another one that waits for it: first all modules' folders
/// by their names, then all RECORDs', then all Rust sources' and checksums'. What is read, is read under the lock.
///
/// # Errors
/// When a TARGET does not exist or has no module, there is no TARGET and no default environment, a RECORD cannot be read,
/// or another run does not finish.
fn find(targets: Targets, program: &str, purpose: Purpose, marked: bool) -> Result<Search> {
    let split = rust::Split::of(targets)?;
    let sources = rust::find(&split)?;
    let environments = if split.is_rust_alone { Vec::new() } else { environments(split.python(targets), program)? };
    let modules = selected::modules(&environments, split.python(targets), marked)?;
    let deadline = Instant::now() + lock::PATIENCE;
    let folders = modules.iter().map(|it| replace::real_folder(&it.module.path)).collect::<Result<Vec<_>>>()?;
    let mut held = Vec::new();
    let mut locks = lock_all(folders, &mut held, purpose, deadline)?;
    let owners = module::owners(&modules.iter().map(|it| &it.module).collect::<Vec<_>>())?;
    let both = modules.into_iter().zip(owners);
    let mut found: Vec<Found> = both
        .map(|(Selected { environment, module, tree }, owners)| Found { environment, module, tree, owners })
        .collect();
    let records = || found.iter().flat_map(|found| &found.owners).map(|owner| replace::real_folder(&owner.record.path));
    locks.extend(lock_all(records().collect::<Result<Vec<_>>>()?, &mut held, purpose, deadline)?);
    for Found { environment, module, owners, .. } in &mut found {
        for owner in owners {
            owner.record = Record::read(&owner.record.path)?;
        }
        if purpose == Purpose::Change {
            // Guarded by the lock of the module's folder.
            let folders = bytecode::folders(&module.path, environments[*environment].cache_prefix.as_deref());
            folders.iter().for_each(|folder| replace::remove_left_over(folder));
        }
    }
    locks.extend(lock_all(rust::folders(&sources)?, &mut held, purpose, deadline)?);
    let sources = sources.into_iter().map(rust::Source::read).collect::<Result<Vec<_>>>()?;
    Ok(Search { environments, found, sources, locks })
}

/// Locks folders in the order of their names, but for those that this run holds: a second lock would wait for the first.
fn lock_all(
    mut folders: Vec<PathBuf>,
    held: &mut Vec<PathBuf>,
    purpose: Purpose,
    deadline: Instant,
) -> Result<Vec<Lock>> {
    folders.sort();
    folders.dedup();
    folders.retain(|folder| !held.contains(folder));
    held.extend(folders.iter().cloned());
    let mut locks = Vec::new();
    for folder in folders {
        match purpose {
            Purpose::Look => locks.extend(lock::shared(&folder, deadline)?),
            Purpose::Change => {
                locks.push(lock::exclusive(&folder, deadline)?);
                replace::remove_left_over(&folder);
            }
        }
    }
    Ok(locks)
}

fn environments(targets: Targets, program: &str) -> Result<Vec<Environment>> {
    let execution = if targets.no_exec { Execution::Never } else { Execution::Start(program) };
    if targets.named.is_empty() {
        let what = format!("`{}`", module::MODULE);
        let has_module = |environment: &Environment| environment.has_module().then_some(());
        let (default, ()) = target::default_environment(execution, &what, targets.variables, has_module)?;
        return Ok(vec![default]);
    }
    targets.named.iter().map(|target| target::resolve(target, &Takes::Sources, execution, targets.variables)).collect()
}

/// Plans the rewrite of every TARGET. A file that cannot be processed is also added to `failures`.
///
/// # Errors
/// The first TARGET that cannot be processed: then nothing may be written.
pub(crate) fn plan(targets: Targets, rule: &Rule, purpose: Purpose, failures: &mut Vec<FileReport>) -> Result<Work> {
    let latest = source_date::latest(targets.variables)?;
    let Search { mut environments, found, sources, locks } =
        find(targets, &helper_check::program(rule), purpose, false)?;
    let mut files: Vec<Planned> = Vec::new();
    for found in found {
        let path = found.module.path.clone();
        let environment = &mut environments[found.environment];
        let is_first = !files.iter().any(|file| file.is_change_in(found.environment));
        let plan = || {
            let mut file = plan_rewrite(found, environment, rule, targets.directory, purpose)?;
            if file.changed.is_some() && is_first {
                file.report.notes.extend(replaced_defaults(environment, rule));
                match check_helper(environment, rule)? {
                    Checked::No(note) => file.report.notes.push(note),
                    Checked::Said(detail) => file.report.details.push(detail),
                    Checked::NoPython => {}
                }
            }
            if targets.selection.known_only {
                release::require(&path, &file.report)?;
            }
            Ok(file)
        };
        let file = plan().inspect_err(|error| failures.push(failed(&path, error)))?;
        if file.is_listed() {
            files.push(file);
        }
    }
    for source in sources {
        let path = source.path.clone();
        let name = DiffName::of(&path, None, targets.directory);
        let planned = rust::plan(&source, &name.path, rule, purpose).and_then(|planned| {
            if let Some(planned) = planned.as_ref().filter(|_| targets.selection.known_only) {
                release::require(&path, &planned.report)?;
            }
            Ok(planned)
        });
        let planned = planned.inspect_err(|error| failures.push(failed(&path, error)))?;
        files.extend(planned.map(|planned| Planned::of_source(source, planned, name.folder)));
    }
    Ok(Work { files, environments, latest, _locks: locks })
}

fn plan_rewrite(
    mut found: Found,
    environment: &Environment,
    rule: &Rule,
    directory: &Path,
    purpose: Purpose,
) -> Result<Planned> {
    let content = regular::read(&found.module.path)?;
    found.put_owner_first(&content);
    let path = &found.module.path;
    let name = DiffName::of(path, found.module.root(&found.owners), directory);
    let seen = found.tree.as_ref().map(|tree| tree.seen_from(path));
    let imports = seen.as_ref().map(|seen| seen as &dyn Imports);
    let plan = patch::plan(&name.path, &content, rule, imports).map_err(|error| located(path, &error))?;
    if let Some(cached) = found.module.in_shared_cache().filter(|_| plan.patched.is_some()) {
        bail!(
            "{}: a link to `{}`, in a cache that every environment shares; nothing was changed\n\
             help: reinstall with `UV_LINK_MODE=copy uv pip install --reinstall`",
            path.shown(),
            cached.shown()
        );
    }
    let mut report = file_report(&found, environment, plan.status);
    release::add(&mut report, plan.original_sha256.as_deref());
    report.diff_folder = Some(name.folder);
    report.sites = plan.sites;
    report.notes = plan.notes;
    report.notes.extend(found.several_dist_infos());
    report.diff = plan.diff;
    if plan.patched.is_none() && plan.intact && is_unfinished(&found, environment, &content)? {
        let note = match purpose {
            Purpose::Look => {
                "a run was stopped before it updated RECORD or removed bytecode; `apply` finishes it, `revert` undoes it"
            }
            Purpose::Change => "finished what a stopped run left: RECORD or bytecode",
        };
        report.notes.push(note.into());
        if purpose == Purpose::Look {
            report.status = FileStatus::Unfinished;
        }
    }
    Ok(Planned { of: Of::Module(found), content, changed: plan.patched, report })
}

impl Planned {
    /// Whether the user is told about it.
    fn is_listed(&self) -> bool {
        let is_silent = matches!(self.report.status, FileStatus::NothingToPatch | FileStatus::Configured);
        match &self.of {
            Of::Module(found) => match found.module.listed {
                Listed::Always => true,
                Listed::WithSites => !is_silent || !self.report.sites.is_empty(),
                Listed::WithCalls => !is_silent,
            },
            Of::Source(_) => true,
        }
    }

    /// Whether it changes a module of that environment.
    fn is_change_in(&self, environment: usize) -> bool {
        matches!(&self.of, Of::Module(found) if found.environment == environment) && self.changed.is_some()
    }

    fn of_source(source: rust::Source, planned: rust::Planned, diff_folder: PathBuf) -> Self {
        let rust::Planned { content, changed, report } = planned;
        let report = FileReport { diff_folder: Some(diff_folder), ..report };
        Planned { of: Of::Source(source), content, changed, report }
    }
}

/// Whether a run patched the module and did not get to its RECORD or its bytecode.
fn is_unfinished(found: &Found, environment: &Environment, content: &[u8]) -> Result<bool> {
    let prefix = environment.cache_prefix.as_deref();
    Ok(!install::records_agree(&found.owners, content) || bytecode::misleads(&found.module.path, prefix)?)
}

/// Says where the installed NIXL's own default is not the one that the patched code will use instead.
fn replaced_defaults(environment: &Environment, rule: &Rule) -> Vec<String> {
    let sources = module::nixl_sources(&environment.import_path);
    sources.iter().filter_map(|path| replaced_default(path, rule)).collect()
}

fn replaced_default(path: &Path, rule: &Rule) -> Option<String> {
    let text = String::from_utf8(regular::read(path).ok()?).ok()?;
    let (path, default, variable) = (path.shown(), rule.default, &rule.variable);
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

/// What came of the check of the inserted helper.
enum Checked {
    /// It was not made, as everybody should know.
    No(String),
    /// What was done, for `-v`.
    Said(String),
    /// TARGET has no interpreter.
    NoPython,
}

/// Checks what the inserted helper returned in the environment's own interpreter.
fn check_helper(environment: &mut Environment, rule: &Rule) -> Result<Checked> {
    if let Some(NotStarted { command, broken }) = &environment.not_started {
        let command = command.shown();
        return Ok(match broken {
            Some(fact) => Checked::No(format!(
                "warning: `{command}` {fact}; the module was found by the environment's files, and the inserted helper \
                 was not checked in that Python"
            )),
            None => Checked::Said(format!("did not check the inserted helper: `--no-exec` forbids {command}")),
        });
    }
    let Some(interpreter) = &mut environment.interpreter else { return Ok(Checked::NoPython) };
    let output = interpreter.output()?;
    let python = format!("{} (Python {})", interpreter.executable.shown(), interpreter.version);
    helper_check::compare(&output, rule).map_err(|wrong| anyhow!("{python}: {wrong}; nothing was changed"))?;
    let values = helper_check::count();
    let said = format!("checked the inserted helper with {values} values of the variable, isolated, in {python}");
    Ok(Checked::Said(said))
}

/// Writes what was planned, all of it or nothing. Adds the reports to `reports`; returns the environments for a smoke
/// transfer.
///
/// # Errors
/// When a file cannot be written or replaced. Then `reports` says which files are changed all the same.
pub(crate) fn commit(work: Work, reports: &mut Vec<FileReport>) -> Result<Vec<Environment>> {
    change(work, Direction::Forward, reports)
}

fn change(work: Work, direction: Direction, reports: &mut Vec<FileReport>) -> Result<Vec<Environment>> {
    let mut transaction = Transaction::until(work.latest);
    let mut files = work.files;
    for planned in &mut files {
        let details = stage(&mut transaction, planned, &work.environments)
            .inspect_err(|error| reports.push(failed(planned.of.path(), error)))?;
        planned.report.mended = planned.changed.is_none() && !details.is_empty();
        planned.report.details.extend(details);
    }
    let outcome = transaction.commit(direction);
    if let (Ok(notes), Some(first)) = (&outcome, files.first_mut()) {
        first.report.notes.extend(notes.iter().cloned());
    }
    for planned in files {
        let changed = outcome.is_ok() && planned.changed.is_some();
        let stuck = matches!(outcome, Err(Failure::Some { .. }));
        if changed || stuck {
            reports.push(changed_report(&planned, direction, stuck));
        } else if outcome.is_ok() {
            reports.push(planned.report);
        } else if let Err(failure) = &outcome {
            reports.push(FileReport {
                notes: vec![failure.to_string()],
                ..FileReport::new(planned.of.path(), FileStatus::Failed)
            });
        }
    }
    outcome?;
    Ok(work.environments)
}

fn stage(transaction: &mut Transaction, planned: &Planned, environments: &[Environment]) -> Result<Vec<String>> {
    let is_patched = planned.report.status == FileStatus::AlreadyPatched;
    match (&planned.of, &planned.changed) {
        (Of::Module(Found { environment, module, owners, .. }), changed) => {
            let prefix = environments[*environment].cache_prefix.as_deref();
            match changed {
                Some(changed) => transaction.add(&module.path, owners, (&planned.content, changed), prefix),
                None if is_patched => transaction.add_rest(&module.path, owners, &planned.content, prefix),
                None => Ok(Vec::new()),
            }
        }
        (Of::Source(source), Some(changed)) => source.stage(transaction, (&planned.content, changed)),
        (Of::Source(source), None) if is_patched => source.stage(transaction, (&planned.content, &planned.content)),
        (Of::Source(_), None) => Ok(Vec::new()),
    }
}

/// The report of a file after a change; where that got stuck, of what the file is now.
fn changed_report(planned: &Planned, direction: Direction, stuck: bool) -> FileReport {
    let done = if direction == Direction::Forward { FileStatus::Patched } else { FileStatus::Reverted };
    if !stuck {
        return FileReport { status: done, ..planned.report.clone() };
    }
    let now = regular::read(planned.of.path()).ok();
    let status = match now.as_ref() == planned.changed.as_ref() {
        true if direction == Direction::Forward => FileStatus::Unfinished,
        true => FileStatus::Reverted,
        // RECORD is the original's already.
        false if direction == Direction::Back => FileStatus::Unfinished,
        false => FileStatus::Failed,
    };
    FileReport { status, diff: Vec::new(), ..planned.report.clone() }
}

/// Restores the original of every TARGET and of all other files that this tool patched in it; one that is not patched stays
/// as it is. Adds the reports to `reports`.
///
/// # Errors
/// When a file was edited since it was patched, or one cannot be replaced.
pub(crate) fn revert(targets: Targets, reports: &mut Vec<FileReport>) -> Result<()> {
    let latest = source_date::latest(targets.variables)?;
    let Search { environments, found, sources, locks } = find(targets, "", Purpose::Change, true)?;
    let mut files = Vec::new();
    for found in found {
        let environment = &environments[found.environment];
        let file = plan_revert(found, environment, targets.directory)?;
        if file.is_listed() {
            files.push(file);
        }
    }
    for source in sources {
        let name = DiffName::of(&source.path, None, targets.directory);
        let planned = rust::plan_revert(&source, &name.path)?;
        files.extend(planned.map(|planned| Planned::of_source(source, planned, name.folder)));
    }
    change(Work { files, environments, latest, _locks: locks }, Direction::Back, reports)?;
    Ok(())
}

fn plan_revert(found: Found, environment: &Environment, directory: &Path) -> Result<Planned> {
    let path = &found.module.path;
    let content = regular::read(path)?;
    let name = DiffName::of(path, found.module.root(&found.owners), directory);
    let (changed, report) = match patch::revert(&name.path, &content) {
        Ok(reverted) => {
            let report = file_report(&found, environment, FileStatus::Reverted);
            let report = FileReport { diff: reverted.diff, diff_folder: Some(name.folder), ..report };
            (Some(reverted.original), report)
        }
        Err(error @ PatchError::NotPatched) => {
            let report = file_report(&found, environment, FileStatus::NothingToPatch);
            (None, FileReport { notes: vec![error.to_string()], ..report })
        }
        Err(error) => return Err(located(path, &error)),
    };
    Ok(Planned { of: Of::Module(found), content, changed, report })
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
/// When it is not understood, or with `known_only` where no release has it.
pub(crate) fn plan_text(content: &[u8], rule: &Rule, known_only: bool) -> Result<(FileReport, Option<Vec<u8>>)> {
    let path = Path::new(STANDARD_INPUT_NAME);
    let plan = patch::plan(path, content, rule, None).map_err(|error| located(path, &error))?;
    let mut report =
        FileReport { sites: plan.sites, notes: plan.notes, diff: plan.diff, ..FileReport::new(path, plan.status) };
    release::add(&mut report, plan.original_sha256.as_deref());
    if known_only {
        release::require(path, &report)?;
    }
    Ok((report, plan.patched))
}

/// The original of a source that is not a file; itself where it is not patched.
///
/// # Errors
/// When it was edited since it was patched.
pub(crate) fn revert_text(content: &[u8]) -> Result<Vec<u8>> {
    let path = Path::new(STANDARD_INPUT_NAME);
    match patch::revert(path, content) {
        Ok(reverted) => Ok(reverted.original),
        Err(PatchError::NotPatched) => Ok(content.to_vec()),
        Err(error) => Err(located(path, &error)),
    }
}

/// An error about a file's content, after the file's path.
fn located(path: &Path, error: &patch::PatchError) -> anyhow::Error {
    // A syntax error begins with its line and column, for PATH:LINE:COLUMN.
    let separator = if matches!(error, patch::PatchError::Syntax(_)) { ":" } else { ": " };
    let words = format!("{}{separator}{error}", path.shown());
    if has_python_name(path) {
        return anyhow!(words);
    }
    let fact = words.split("\nhelp: ").next().unwrap_or_default();
    let archive = is_archive(path)
        .then(|| format!("{}: a ZIP archive (a wheel or a zip application), not Python source", path.shown()));
    let fact = archive.as_deref().unwrap_or(fact);
    anyhow!(
        "{fact}\nhelp: pass a Python source (`*.py`), a package or site-packages folder, or an environment; install a wheel, and \
         pass the environment that it is in"
    )
}

/// Whether a file ends as ZIP archives do, behind whatever an application begins with: its last record, without a comment.
fn is_archive(path: &Path) -> bool {
    const END_OF_DIRECTORY: usize = 22;
    let content = regular::read(path).unwrap_or_default();
    let end = &content[content.len().saturating_sub(END_OF_DIRECTORY)..];
    end.starts_with(b"PK\x05\x06")
}

/// Whether a user takes the file for Python's. Any file may hold a Python source, so the others are read too.
fn has_python_name(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    path == Path::new(STANDARD_INPUT_NAME) || matches!(extension, Some("py" | "pyi" | "pyw" | "pyx"))
}

/// A module's report before its content is known.
fn file_report(found: &Found, environment: &Environment, status: FileStatus) -> FileReport {
    let Found { module, owners, .. } = found;
    let (distribution, distribution_version) = module.distribution(owners).unzip();
    let mut details = vec![format!("found: {}", module.found_by(owners))];
    let shadowed = module::shadowed(&environment.import_path, module);
    details.extend(shadowed.iter().map(|path| format!("shadowed copy, left unchanged: {}", path.shown())));
    FileReport { distribution, distribution_version, details, ..FileReport::new(&module.path, status) }
}

fn failed(path: &Path, error: &anyhow::Error) -> FileReport {
    FileReport { notes: vec![format!("{error:#}")], ..FileReport::new(path, FileStatus::Failed) }
}

/// How a diff names a file, and the folder that the name is relative to: `patch -d FOLDER -p1` finds the file.
struct DiffName {
    folder: PathBuf,
    path: PathBuf,
}

impl DiffName {
    /// Below the folder that imports would find it in, so that the name is the same in every image; otherwise below the
    /// current directory or the root.
    fn of(path: &Path, root: Option<PathBuf>, directory: &Path) -> DiffName {
        let absolute = |path: &Path| std::path::absolute(directory.join(path)).unwrap_or_else(|_| path.to_path_buf());
        let path = absolute(path);
        let folders = root.map(|root| absolute(&root)).into_iter().chain([directory.to_path_buf()]);
        let is_around = |folder: &PathBuf| folder.is_absolute() && path.starts_with(folder);
        let folder = folders.into_iter().find(is_around).unwrap_or_else(|| PathBuf::from("/"));
        let path = path.strip_prefix(&folder).map(Path::to_path_buf).unwrap_or(path);
        DiffName { folder, path }
    }
}
