//! One file: what it is now, and what it would become.

use std::ops::Range;
use std::path::Path;

use rustpython_parser::ast::{Stmt, Suite};
use thiserror::Error;

use super::agent_call::relevant::{self, Relevant};
use super::agent_call::{self, Edited, FindError, Found, Shape, Site};
use super::encoding::{DecodeError, SourceText};
use super::meaning::Imports;
use super::rewrite::{self, Original};
use super::span::{end, first_offset};
use super::syntax::{SyntaxError, parse, parse_rest};
use super::verify::Mismatch;
use crate::choice::rule::Rule;
use crate::report::file::{Action, ChoiceReport, SiteReport, SiteShape};
use crate::rewriting::{EditedSince, Plan, Present, Reverted};
use crate::source::marker::{Comment, Marker, Own, TooManyMarkers};
use crate::source::offset::TextOffset;
use crate::threads;

/// Dropping a tree takes a tenth of the time that parsing took, and the program ends soon.
#[cfg(not(nixl_retrofit_fuzzing))]
type Leaked<T> = std::mem::ManuallyDrop<T>;
/// A fuzz target does not end soon.
#[cfg(nixl_retrofit_fuzzing)]
type Leaked<T> = Box<T>;

/// The largest source, in bytes.
const LARGEST: usize = 1 << 30;

/// From this size on, in bytes, the diff takes longer than starting a thread for it.
const WORTH_A_THREAD: usize = 16 << 10;

/// Why a file cannot be processed.
#[derive(Debug, Error)]
pub(crate) enum PatchError {
    /// Its bytes cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its text is not Python.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// It is larger than any source.
    #[error("{bytes} bytes; a Python source of more than 1 GiB is not analysed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Its calls cannot be listed.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Its own marker cannot be told from others.
    #[error(transparent)]
    Markers(#[from] TooManyMarkers),
    /// It was edited after nixl-retrofit patched it.
    #[error("{0}\nhelp: reinstall the distribution to get the original, then run `apply` again")]
    EditedSince(#[from] EditedSince),
    /// It carries no marker.
    #[error("not patched by nixl-retrofit; nothing to revert")]
    NotPatched,
    /// The rewrite is wrong: a bug in this program.
    #[error("{0}; nothing was changed\nhelp: this is a bug in nixl-retrofit; please report it with the file")]
    Rewrite(#[from] Mismatch),
}

/// Decides what `apply` does with a file's bytes. `path` is for the diff; `imports` knows the modules around the file, None
/// judges it alone.
///
/// # Errors
/// Where the file is not understood, or was edited after it was patched and would have to change again.
pub(crate) fn plan(path: &Path, bytes: &[u8], rule: &Rule, imports: Option<&dyn Imports>) -> Result<Plan, PatchError> {
    if bytes.len() > LARGEST {
        return Err(PatchError::TooLarge { bytes: bytes.len() });
    }
    plan_marked(Present { path, bytes }, own_marker(bytes)?, rule, imports)
}

/// As [`plan`], for a file whose own marker is known.
///
/// # Errors
/// As [`plan`].
pub(crate) fn plan_marked(
    present: Present,
    own: Option<Own>,
    rule: &Rule,
    imports: Option<&dyn Imports>,
) -> Result<Plan, PatchError> {
    present.plan(own, rule, |original, version| plan_original(original, present, (rule, version), imports))
}

/// The original of a file that this tool patched. `path` is for the diff.
///
/// # Errors
/// Where it is not patched, or was edited since.
pub(crate) fn revert(path: &Path, bytes: &[u8]) -> Result<Reverted, PatchError> {
    let own = own_marker(bytes)?.ok_or(PatchError::NotPatched)?;
    Ok(Present { path, bytes }.revert(own)?)
}

/// The file's own marker: a comment of the module's own level, not part of a string or of a statement.
///
/// # Errors
/// Where something looks like a marker, and the file is not understood.
pub(crate) fn own_marker(bytes: &[u8]) -> Result<Option<Own>, PatchError> {
    if Marker::all(bytes, Comment::Hash).is_empty() {
        return Ok(None);
    }
    let source = SourceText::decode(bytes)?;
    let module = Leaked::new(parse(source.text())?);
    let markers = Marker::all(source.text().as_bytes(), Comment::Hash).into_iter();
    let own = markers
        .filter(|(at, _)| is_between_statements(source.text(), &module, TextOffset(*at)))
        .map(|(_, marker)| marker);
    Ok(Marker::own(own, bytes)?)
}

/// Whether an offset lies outside of every statement of the module's own level.
fn is_between_statements(text: &str, module: &[Stmt], offset: TextOffset) -> bool {
    let after = module.partition_point(|statement| first_offset(text, statement) <= offset);
    after.checked_sub(1).is_none_or(|last| end(&module[last]) <= offset)
}

fn plan_original(
    bytes: &[u8],
    present: Present,
    (rule, version): (&Rule, &str),
    imports: Option<&dyn Imports>,
) -> Result<Plan, PatchError> {
    let source = SourceText::decode(bytes)?;
    let Read { module, is_whole, sites, edited } = read(source.text(), imports)?;
    let reports: Vec<SiteReport> = sites.iter().map(report).collect();
    if sites.iter().all(|site| site.edits.is_empty()) {
        return Ok(Plan::unchanged(reports));
    }
    let original = Original { source: &source, module: &module, is_whole, edited: &edited, sites: &sites };
    let rewrite = rewrite::rewrite(&original, rule, version);
    let diff = || present.diff(bytes, &rewrite.bytes, &rewrite.inserted);
    let prove = || rewrite.prove(&original);
    let (proof, diff) = if bytes.len() < WORTH_A_THREAD { (prove(), diff()) } else { threads::join(diff, prove) };
    proof?;
    Ok(Plan::rewritten(reports, rewrite.bytes, diff, rewrite.original_sha256))
}

/// A module, and the places in it that create an agent or may lead to one.
pub(super) struct Read {
    /// Its statements.
    pub module: Leaked<Suite>,
    /// Whether they are all that it has.
    pub is_whole: bool,
    /// The places.
    pub sites: Vec<Site>,
    /// What is edited in the statements that are left out.
    edited: Vec<Edited>,
}

/// Reads a module and judges its calls; `imports` knows the modules around it.
///
/// # Errors
/// Where it is no Python, or has too many such places.
pub(super) fn read(text: &str, imports: Option<&dyn Imports>) -> Result<Read, PatchError> {
    // What the calls depend on is known by NIXL's own names alone.
    if let Some(read) = imports.is_none().then(|| read_relevant(text)).transpose()?.flatten() {
        return Ok(read);
    }
    let module = Leaked::new(parse(text)?);
    let sites = agent_call::find(text, &module, imports)?;
    Ok(Read { module, is_whole: true, sites, edited: Vec::new() })
}

/// The same, as far as the module's calls depend on it; None where that is nearly all of it.
fn read_relevant(text: &str) -> Result<Option<Read>, FindError> {
    // Two threads read the whole faster than one reads most of it.
    let is_worth = |it: &Relevant| it.left_out.iter().map(Range::len).sum::<usize>() > text.len() / 2;
    let relevant = relevant::of(text).filter(is_worth);
    let Some(rest) = relevant.and_then(|it| parse_rest(text, &it.left_out, &it.kept)) else { return Ok(None) };
    let Some(Found { sites, edited }) = agent_call::find_in_rest(text, &rest)? else { return Ok(None) };
    Ok(Some(Read { module: Leaked::new(rest.module), is_whole: false, sites, edited }))
}

fn report(site: &Site) -> SiteReport {
    let (shape, reason) = match &site.shape {
        Shape::Bare => (SiteShape::Bare, "no configuration, so NIXL uses its default backend".into()),
        Shape::ConfigurationWithoutBackends => {
            let reason = "a configuration without backends, so NIXL uses its default backend";
            (SiteShape::ConfigWithoutBackends, reason.into())
        }
        Shape::Configured(how) => (SiteShape::Configured, format!("chooses its own backends: {how}").into()),
        Shape::EnvironmentAware(read, how) => (SiteShape::EnvAware, environment_aware(read, how.as_deref()).into()),
        Shape::Unresolved(shape, reason) => (*shape, reason.clone().into()),
    };
    let choice = if let Shape::EnvironmentAware(read, _) = &site.shape { Some(read.clone()) } else { None };
    let action = if site.edits.is_empty() { Action::Leave } else { Action::Rewrite };
    SiteReport {
        line: site.line,
        column: site.column,
        function: site.function.clone(),
        shape,
        action,
        variable: choice.as_ref().and_then(|choice| choice.variable.clone()),
        reason,
        choice,
    }
}

/// What is known of a patch made by hand, in words.
fn environment_aware(read: &ChoiceReport, how: Option<&str>) -> String {
    let mut words = match &read.variable {
        Some(name) => format!("reads the environment variable `{name}`"),
        None => "reads an environment variable whose name is not a constant".into(),
    };
    words.push_str(if read.list { " as a list" } else { " as one name" });
    if let Some(default) = &read.default {
        words.push_str(&format!(", default `{default}`"));
    }
    if !read.allowed.is_empty() {
        words.push_str(&format!(", compared with `{}`", read.allowed.join("`, `")));
    }
    if let Some(how) = how {
        words.push_str(&format!("; {how}"));
    }
    if let Some(name) = &read.unbound {
        words.push_str(&format!("; nothing binds `{name}`, so it raises NameError"));
    }
    words
}
