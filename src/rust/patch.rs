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
use crate::report::file::{Action, SiteReport, SiteShape};
use crate::rewriting::{EditedSince, Plan, Present, Reverted};
use crate::source::lines::LineIndex;
use crate::source::marker::{Comment, Marker, Own, TooManyMarkers};
use crate::source::offset::TextOffset;

/// The largest source, in bytes: positions are 32 bits wide in proc-macro2.
const LARGEST: usize = 1 << 28;
/// A file without any of these words chooses no backend.
const WORDS: [&[u8]; 2] = [b"NixlAgent", b"nixl_sys"];

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
    #[error("{0}\nhelp: get the original again, then run `apply` again")]
    EditedSince(#[from] EditedSince),
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
    let present = Present { path, bytes };
    let own = own_marker(bytes)?;
    let block_manager = block_manager || own.as_ref().is_some_and(|own| own.original.is_some());
    present.plan(own, rule, |original, version| plan_original(original, present, rule, version, block_manager))
}

/// The original of a file that this tool patched. `path` is for the diff. The stack has to be large.
///
/// # Errors
/// Where it is not patched, or was edited since.
pub(crate) fn revert(path: &Path, bytes: &[u8]) -> Result<Reverted, PatchError> {
    let own = own_marker(bytes)?.ok_or(PatchError::NotPatched)?;
    Ok(Present { path, bytes }.revert(own)?)
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

fn plan_original(
    bytes: &[u8],
    present: Present,
    rule: &Rule,
    version: &str,
    block_manager: bool,
) -> Result<Plan, PatchError> {
    let source = Source::parse(bytes)?;
    let sites = if may_matter(bytes) { agent_call::find(&source, block_manager) } else { Vec::new() };
    let lines = LineIndex::new(source.text);
    let reports: Vec<SiteReport> = sites.iter().map(|site| report(site, &lines)).collect();
    if sites.iter().all(|site| site.edit.is_none()) {
        return Ok(Plan::unchanged(reports));
    }
    let rewrite = rewrite::rewrite(&source, &sites, rule, version)?;
    rewrite.prove(&source)?;
    let diff = present.diff(bytes, &rewrite.bytes, &rewrite.inserted);
    Ok(Plan::rewritten(reports, rewrite.bytes, diff, rewrite.original_sha256))
}

fn report(site: &Site, lines: &LineIndex) -> SiteReport {
    let (shape, reason) = match &site.shape {
        Shape::HardCoded => (SiteShape::HardCoded, "the source names `UCX`".to_string()),
        Shape::BlockManager(cannot_change) => {
            let hint = match cannot_change {
                Some(why) => format!("; {why}"),
                None if site.edit.is_none() => "; `--also block-manager` rewrites it".into(),
                None => String::new(),
            };
            (SiteShape::HardCoded, format!("the source names `UCX`, through nixl-sys{hint}"))
        }
        Shape::Configured(how) => (SiteShape::Configured, format!("chooses its own backends: {how}")),
        Shape::EnvironmentAware(read) => (SiteShape::EnvAware, environment_aware(read.variable.as_deref())),
        Shape::Unresolved(shape, reason) => (*shape, reason.clone()),
    };
    let choice = match &site.shape {
        Shape::EnvironmentAware(read) => Some(Box::new(read.clone())),
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
        reason: reason.into(),
        choice,
    }
}

fn environment_aware(variable: Option<&str>) -> String {
    match variable {
        Some(name) => format!("reads the environment variable `{name}`"),
        None => "reads environment variables".into(),
    }
}
