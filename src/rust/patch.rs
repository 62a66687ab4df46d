//! One file: what it is now, and what it would become.

use std::ops::Range;
use std::path::Path;

use thiserror::Error;

use super::agent_call;
use super::rewrite;
use super::site::{Shape, Site};
use super::syntax::{Source, SyntaxError};
use super::tokens;
use super::verify::Mismatch;
use crate::choice::rule::Rule;
use crate::report::file::{Action, FileStatus, SiteReport, SiteShape};
use crate::source::diff;
use crate::source::lines::LineIndex;
use crate::source::marker::{Comment, Marker, Own, TooManyMarkers};
use crate::source::offset::TextOffset;

/// The version that a new marker carries.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The largest source, in bytes: positions are 32 bits wide in proc-macro2.
const LARGEST: usize = 1 << 28;
/// A file without any of these words chooses no backend.
const WORDS: [&[u8]; 2] = [b"NixlAgent", b"nixl_sys"];

/// What `apply` does with a file.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What the file is, before anything is written.
    pub status: FileStatus,
    /// Its places that choose an agent's backends.
    pub sites: Vec<SiteReport>,
    /// Its new bytes, where it would change.
    pub patched: Option<Vec<u8>>,
    /// The change as a unified diff; empty where there is none.
    pub diff: Vec<u8>,
    /// What else a user should know, one sentence each.
    pub notes: Vec<String>,
    /// Whether the file is patched already and as this tool wrote it.
    pub intact: bool,
}

/// Why a file cannot be processed.
#[derive(Debug, Error)]
pub(crate) enum PatchError {
    /// It is not Rust.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// It is larger than any source.
    #[error("{bytes} bytes; a Rust source of more than 256 MiB is not analysed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Its own marker cannot be told from others.
    #[error(transparent)]
    Markers(#[from] TooManyMarkers),
    /// It was edited after nixl-retrofit patched it.
    #[error(
        "edited since nixl-retrofit {version} patched it: {what}; nothing was changed\n\
         help: get the original again, then run `apply` again"
    )]
    EditedSince {
        /// The version that patched it.
        version: String,
        /// What cannot be done for that reason.
        what: &'static str,
    },
    /// It carries no marker.
    #[error("not patched by nixl-retrofit; nothing to revert")]
    NotPatched,
    /// The rewrite is wrong: a bug in this program.
    #[error("{0}; nothing was changed\nhelp: this is a bug in nixl-retrofit; please report it with the file")]
    Rewrite(#[from] Mismatch),
}

impl PatchError {
    /// Whether it begins with a line and a column.
    pub(crate) fn has_position(&self) -> bool {
        matches!(self, PatchError::Syntax(SyntaxError::Syntax { .. }))
    }
}

/// A file as it is, and its path for the diff.
#[derive(Clone, Copy)]
struct Present<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    block_manager: bool,
}

/// Whether a file can choose a backend at all.
pub(crate) fn may_matter(bytes: &[u8]) -> bool {
    WORDS.iter().any(|word| memchr::memmem::find(bytes, word).is_some())
}

/// Decides what `apply` does with a file's bytes. `path` is for the diff; `block_manager` says whether the block manager's
/// places are rewritten too, as they are again in a file where they were. The stack has to be large: a syntax tree can be
/// deep.
///
/// # Errors
/// Where the file is not understood, or was edited after it was patched and would have to change again.
pub(crate) fn plan(path: &Path, bytes: &[u8], rule: &Rule, block_manager: bool) -> Result<Plan, PatchError> {
    if bytes.len() > LARGEST {
        return Err(PatchError::TooLarge { bytes: bytes.len() });
    }
    let present = Present { path, bytes, block_manager };
    match own_marker(bytes)? {
        None => plan_original(bytes, present, rule, VERSION),
        Some(Own { marker, original: Some(original) }) => {
            replan(Present { block_manager: true, ..present }, &original, &marker, rule)
        }
        Some(Own { marker, original: None }) => plan_edited(present, &marker, rule),
    }
}

/// A file with its original bytes again.
#[derive(Debug)]
pub(crate) struct Reverted {
    /// The original bytes.
    pub original: Vec<u8>,
    /// The change as a unified diff.
    pub diff: Vec<u8>,
}

/// The original of a file that this tool patched. `path` is for the diff. The stack has to be large.
///
/// # Errors
/// Where it is not patched, or was edited since.
pub(crate) fn revert(path: &Path, bytes: &[u8]) -> Result<Reverted, PatchError> {
    let Own { marker, original } = own_marker(bytes)?.ok_or(PatchError::NotPatched)?;
    let edited =
        PatchError::EditedSince { version: marker.version.clone(), what: "the original bytes cannot be restored" };
    let original = original.ok_or(edited)?;
    let diff = diff::of_removal(path, bytes, &original, &marker.inserted);
    Ok(Reverted { original, diff })
}

/// The marker of a file that this tool patched and nobody edited since, and its original. The stack has to be large.
pub(super) fn intact(bytes: &[u8]) -> Option<(Marker, Vec<u8>)> {
    let Own { marker, original } = own_marker(bytes).ok()??;
    Some((marker, original?))
}

/// The file's own marker: a comment of the file's own level, not part of a string, of another comment or of an item.
///
/// # Errors
/// Where something looks like a marker, and the file is not understood.
fn own_marker(bytes: &[u8]) -> Result<Option<Own>, PatchError> {
    let markers = Marker::all(bytes, Comment::Slashes);
    if markers.is_empty() {
        return Ok(None);
    }
    let source = Source::parse(bytes)?;
    let top_level = top_level(&source);
    let own =
        markers.into_iter().filter(|(at, _)| is_between_items(&source, &top_level, *at)).map(|(_, marker)| marker);
    Ok(Marker::own(own, bytes)?)
}

/// The places of the tokens and groups of the file's own level.
fn top_level(source: &Source) -> Vec<Range<usize>> {
    source.tokens.clone().into_iter().map(|tree| source.range(tree.span())).collect()
}

/// Whether a comment begins at an offset, between two tokens of the file's own level.
fn is_between_items(source: &Source, top_level: &[Range<usize>], offset: usize) -> bool {
    let before = top_level.partition_point(|range| range.start < offset);
    let end = before.checked_sub(1).map_or(source.base, |last| top_level[last].end);
    end <= offset && tokens::is_comment(source.text, end, offset)
}

fn plan_original(bytes: &[u8], present: Present, rule: &Rule, version: &str) -> Result<Plan, PatchError> {
    let source = Source::parse(bytes)?;
    let sites = if may_matter(bytes) { agent_call::find(&source, present.block_manager) } else { Vec::new() };
    let lines = LineIndex::new(source.text);
    let reports = sites.iter().map(|site| report(site, &lines)).collect();
    if sites.iter().all(|site| site.edit.is_none()) {
        return Ok(Plan {
            status: untouched(&sites),
            sites: reports,
            patched: None,
            diff: Vec::new(),
            notes: Vec::new(),
            intact: false,
        });
    }
    let rewrite = rewrite::rewrite(&source, &sites, rule, version)?;
    rewrite.prove(&source)?;
    let diff = if present.bytes == bytes {
        diff::of_insertions(present.path, bytes, &rewrite.bytes, &rewrite.inserted)
    } else {
        diff::unified(present.path, present.bytes, &rewrite.bytes)
    };
    Ok(Plan {
        status: FileStatus::WouldPatch,
        sites: reports,
        patched: Some(rewrite.bytes),
        diff,
        notes: Vec::new(),
        intact: false,
    })
}

/// A file that carries a marker and is unedited: it changes only where the inserted code does. A new version of
/// nixl-retrofit that would insert the same code leaves it.
fn replan(present: Present, original: &[u8], marker: &Marker, rule: &Rule) -> Result<Plan, PatchError> {
    let mut plan = plan_original(original, present, rule, &marker.version)?;
    if plan.patched.as_deref() == Some(present.bytes) {
        plan.status = FileStatus::AlreadyPatched;
        plan.intact = true;
        plan.patched = None;
        plan.sites.iter_mut().filter(|site| site.action == Action::Rewrite).for_each(|site| site.action = Action::Done);
        return Ok(plan);
    }
    let mut plan = plan_original(original, present, rule, VERSION)?;
    plan.notes.push(format!("previously patched by nixl-retrofit {} with `{}`", marker.version, marker.options));
    plan.notes.push("lines and columns refer to the original".into());
    Ok(plan)
}

fn plan_edited(present: Present, marker: &Marker, rule: &Rule) -> Result<Plan, PatchError> {
    let mut plan = plan_original(present.bytes, present, rule, VERSION)?;
    let edited = |what| PatchError::EditedSince { version: marker.version.clone(), what };
    if plan.patched.is_some() {
        return Err(edited("its new call cannot be patched"));
    }
    if marker.options != rule.to_string() {
        return Err(edited("other options cannot be applied"));
    }
    plan.status = FileStatus::AlreadyPatched;
    plan.notes.push(format!("edited since nixl-retrofit {} patched it: it can no longer be reverted", marker.version));
    Ok(plan)
}

fn untouched(sites: &[Site]) -> FileStatus {
    let any = |wanted: fn(&Shape) -> bool| sites.iter().any(|site| wanted(&site.shape));
    if any(|shape| matches!(shape, Shape::Unresolved(..))) {
        return FileStatus::Unresolved;
    }
    if any(|shape| matches!(shape, Shape::EnvironmentAware(_))) {
        return FileStatus::EnvAware;
    }
    if any(|shape| matches!(shape, Shape::Configured(_) | Shape::BlockManager(_))) {
        return FileStatus::Configured;
    }
    FileStatus::NothingToPatch
}

fn report(site: &Site, lines: &LineIndex) -> SiteReport {
    let (shape, reason) = match &site.shape {
        Shape::HardCoded => (SiteShape::HardCoded, "the source names `UCX`".to_string()),
        Shape::BlockManager(can_change) => {
            let hint = if *can_change { "; `--also block-manager` rewrites it" } else { "" };
            let hint = if site.edit.is_none() { hint } else { "" };
            (SiteShape::HardCoded, format!("the source names `UCX`, through nixl-sys{hint}"))
        }
        Shape::Configured(how) => (SiteShape::Configured, format!("chooses its own backends: {how}")),
        Shape::EnvironmentAware(read) => (SiteShape::EnvAware, environment_aware(read.variable.as_deref())),
        Shape::Unresolved(shape, reason) => (*shape, reason.clone()),
    };
    let choice = match &site.shape {
        Shape::EnvironmentAware(read) => Some(read.clone()),
        _ => None,
    };
    let (line, column) = lines.position(TextOffset(site.offset));
    SiteReport {
        line,
        column,
        function: site.function.clone(),
        shape,
        action: if site.edit.is_some() { Action::Rewrite } else { Action::Leave },
        variable: choice.as_ref().and_then(|choice| choice.variable.clone()),
        reason,
        choice,
    }
}

fn environment_aware(variable: Option<&str>) -> String {
    match variable {
        Some(name) => format!("reads the environment variable `{name}`"),
        None => "reads environment variables".into(),
    }
}
