//! Rust sources as targets of apply, check and revert.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::purpose::Purpose;
use super::release;
use super::selected::{Selection, Targets};
use crate::choice::rule::Rule;
use crate::environment::python::install::Transaction;
use crate::environment::rust::checksum::Checksum;
use crate::environment::rust::package::{self, Package};
use crate::environment::rust::target::{self, Sources};
use crate::report::file::{FileReport, FileStatus};
use crate::rust::modules;
use crate::rust::patch::{self, PatchError};
use crate::shown::Shown;
use crate::source::{regular, replace};

/// Folders whose packages Cargo takes as unchanged: it compiles them again only where their version changes.
const REGISTRY: &str = "registry/src";

/// A source that was found.
pub(super) struct Source {
    /// The file.
    pub path: PathBuf,
    /// The checksum that lists it.
    pub checksum: Option<Checksum>,
    package: Option<Package>,
    found_by: String,
    /// Whether it was named by its path.
    named: bool,
    /// Whether the block manager's way to a backend is rewritten in it.
    block_manager: bool,
}

/// What a plan for a source is.
pub(super) struct Planned {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its new bytes; None when it stays as it is.
    pub changed: Option<Vec<u8>>,
    /// What the user is told.
    pub report: FileReport,
}

/// What `--also` calls the sources below `src/block_manager`.
const BLOCK_MANAGER: &str = "block-manager";

/// Whether all TARGETs are Rust sources, so that there is no environment for a transfer.
pub(crate) fn are_rust(targets: &[PathBuf]) -> bool {
    !targets.is_empty() && targets.iter().all(|target| target::is_rust(target))
}

/// The TARGETs, and what `--also` names: Rust, and the rest.
pub(super) struct Split {
    /// Rust sources, packages and workspaces.
    pub sources: Vec<PathBuf>,
    /// Whether nothing else is a TARGET, so that no environment is looked for.
    pub is_rust_alone: bool,
    /// Whether the block manager's sources are rewritten too.
    pub block_manager: bool,
    named: Vec<PathBuf>,
    also: Vec<String>,
}

impl Split {
    /// Tells them apart.
    ///
    /// # Errors
    /// When `--also` names the block manager, and nothing is Rust.
    pub(super) fn of(targets: Targets) -> Result<Self> {
        let (mut sources, named): (Vec<PathBuf>, Vec<PathBuf>) =
            targets.named.iter().cloned().partition(|target| target::is_rust(target));
        let (also_rust, also): (Vec<String>, Vec<String>) =
            targets.selection.also.iter().cloned().partition(|name| target::is_rust(Path::new(name)));
        sources.extend(also_rust.into_iter().map(PathBuf::from));
        let wants_block_manager = also.iter().any(|name| name == BLOCK_MANAGER);
        if wants_block_manager && sources.is_empty() {
            bail!(
                "`--also {BLOCK_MANAGER}` concerns Rust sources, and no TARGET is one\n\
                 help: pass the folder of `dynamo-llm` as TARGET"
            );
        }
        let block_manager = wants_block_manager;
        let also = also.into_iter().filter(|name| name != BLOCK_MANAGER).collect();
        Ok(Split { sources, is_rust_alone: are_rust(targets.named), block_manager, named, also })
    }

    /// The TARGETs that are Python's.
    pub(super) fn python<'s>(&'s self, targets: Targets<'s>) -> Targets<'s> {
        let selection = Selection { also: &self.also, ..targets.selection };
        Targets { named: &self.named, selection, ..targets }
    }
}

/// The sources of TARGETs that are Rust, those that may matter. Nothing is locked yet.
///
/// # Errors
/// When a TARGET does not exist or has no source that may matter.
pub(super) fn find(split: &Split) -> Result<Vec<Source>> {
    let mut found: Vec<Source> = Vec::new();
    for target in &split.sources {
        let sources = target::resolve(target)?;
        let before = found.len();
        for path in &sources.files {
            // A folder's files are many, and most have nothing to do with NIXL.
            if !sources.named && !patch::may_matter(&regular::read(path)?) {
                continue;
            }
            if !found.iter().any(|known| regular::is_same_file(&known.path, path)) {
                found.push(Source { block_manager: split.block_manager, ..source(path, &sources)? });
            }
        }
        if found.len() == before && !sources.named {
            bail!(no_source(target, &sources));
        }
    }
    Ok(found)
}

fn no_source(target: &Path, sources: &Sources) -> anyhow::Error {
    let package = sources.package.as_ref();
    let version = package.and_then(|package| package.version.as_deref()).unwrap_or("of an unknown version");
    anyhow!(
        "{}: no source of `dynamo-llm` {version} creates a NIXL agent\nhelp: the media loader came with 0.8.0; pass a newer \
         package",
        target.shown()
    )
}

/// The folders to lock: those of the sources and of their checksums.
///
/// # Errors
/// When a file was removed.
pub(super) fn folders(sources: &[Source]) -> Result<Vec<PathBuf>> {
    let checksums = sources.iter().filter_map(|source| Some(&source.checksum.as_ref()?.path));
    sources.iter().map(|source| &source.path).chain(checksums).map(|path| replace::real_folder(path)).collect()
}

fn source(path: &Path, sources: &Sources) -> Result<Source> {
    let checksum = match &sources.package {
        Some(package) => Checksum::of(package, path)?,
        None => None,
    };
    let (package, found_by, named) = (sources.package.clone(), sources.found_by.clone(), sources.named);
    Ok(Source { path: path.to_path_buf(), checksum, package, found_by, named, block_manager: false })
}

impl Source {
    /// Reads the checksum again, under the lock.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(self) -> Result<Self> {
        let checksum = match (&self.package, &self.checksum) {
            (Some(package), Some(_)) => Checksum::of(package, &self.path)?,
            _ => None,
        };
        Ok(Source { checksum, ..self })
    }

    /// Adds a change to a transaction, or what a killed run did not get to. Returns messages about other files.
    ///
    /// # Errors
    /// When a new file cannot be written, or the checksum cannot be updated.
    pub(super) fn stage(&self, transaction: &mut Transaction, (old, new): (&[u8], &[u8])) -> Result<Vec<String>> {
        transaction.add_source(&self.path, (old, new), self.checksum.as_ref())
    }

    /// A report before the content is known.
    fn report(&self, status: FileStatus) -> FileReport {
        FileReport {
            distribution: self.package.as_ref().map(|package| package.name.clone()),
            distribution_version: self.package.as_ref().and_then(|package| package.version.clone()),
            details: vec![format!("found: {}", self.found_by)],
            ..FileReport::new(&self.path, status)
        }
    }

    /// Whether the source is compiled for tests, benchmarks or examples alone.
    fn is_for_tests(&self) -> bool {
        let besides = self.package.as_ref().is_some_and(|package| package.is_besides(&self.path));
        besides
            || package::declarations(&self.path).iter().any(|(file, name)| {
                regular::read(file).is_ok_and(|declaring| modules::is_declared_for_tests(&declaring, name))
            })
    }

    /// What Cargo does not notice by itself.
    fn build_note(&self) -> Option<String> {
        let package = self.package.as_ref()?;
        let unpacked = package.root.to_string_lossy().contains(REGISTRY);
        (unpacked || self.checksum.is_some()).then(|| {
            let name = &package.name;
            format!("Cargo does not compile a registry's package again by itself: run `cargo clean -p {name}` before the build")
        })
    }

    /// Whether a run changed the source and did not get to the checksum.
    fn is_unfinished(&self, content: &[u8]) -> bool {
        self.checksum.as_ref().is_some_and(|checksum| !checksum.agrees(content))
    }
}

/// Plans the rewrite; None for a file of a folder that chooses no backend. `shown` is the path for the diff.
///
/// # Errors
/// When the source is not understood, or was edited since it was patched.
pub(super) fn plan(source: &Source, shown: &Path, rule: &Rule, purpose: Purpose) -> Result<Option<Planned>> {
    let path = &source.path;
    let content = regular::read(path)?;
    let plan = patch::plan(shown, &content, rule, source.block_manager).map_err(|error| located(path, &error))?;
    if !source.named && plan.status == FileStatus::NothingToPatch {
        return Ok(None);
    }
    if plan.status != FileStatus::NothingToPatch && source.is_for_tests() {
        if !source.named {
            return Ok(None);
        }
        let notes = vec!["test code: nothing in it is changed".into()];
        let report = FileReport { notes, ..source.report(FileStatus::NothingToPatch) };
        return Ok(Some(Planned { content, changed: None, report }));
    }
    let mut report = source.report(plan.status);
    release::add(&mut report, plan.original_sha256.as_deref());
    report.sites = plan.sites;
    report.notes = plan.notes;
    report.diff = plan.diff;
    if plan.patched.is_some() {
        report.notes.extend(source.build_note());
    } else if plan.intact && source.is_unfinished(&content) {
        let note = match purpose {
            Purpose::Look => {
                "a run was stopped before it updated the checksum; `apply` finishes it, `revert` undoes it"
            }
            Purpose::Change => "finished what a stopped run left: the checksum",
        };
        report.notes.push(note.into());
        if purpose == Purpose::Look {
            report.status = FileStatus::Unfinished;
        }
    }
    Ok(Some(Planned { content, changed: plan.patched, report }))
}

/// Plans the way back; None for a file of a folder that is not patched. `shown` is the path for the diff.
///
/// # Errors
/// When the source was edited since it was patched.
pub(super) fn plan_revert(source: &Source, shown: &Path) -> Result<Option<Planned>> {
    let path = &source.path;
    let content = regular::read(path)?;
    match patch::revert(shown, &content) {
        Ok(reverted) => {
            let mut report = FileReport { diff: reverted.diff, ..source.report(FileStatus::Reverted) };
            report.notes.extend(source.build_note());
            Ok(Some(Planned { content, changed: Some(reverted.original), report }))
        }
        Err(error @ PatchError::NotPatched) if source.named => {
            let notes = vec![error.to_string()];
            let report = FileReport { notes, ..source.report(FileStatus::NothingToPatch) };
            Ok(Some(Planned { content, changed: None, report }))
        }
        Err(PatchError::NotPatched) => Ok(None),
        Err(error) => Err(located(path, &error)),
    }
}

/// An error about a source's content, after its path.
fn located(path: &Path, error: &PatchError) -> anyhow::Error {
    // A syntax error begins with its line and column, for PATH:LINE:COLUMN.
    let separator = if error.has_position() { ":" } else { ": " };
    anyhow!("{}{separator}{error}", path.shown())
}
