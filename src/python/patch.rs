//! One file: what it is now, and what it would become.

use std::fmt;
use std::mem::ManuallyDrop;
use std::path::Path;

use super::agent_call::{self, Shape, Site};
use super::encoding::{DecodeError, SourceText};
use super::rewrite::{self, Original};
use super::syntax::{SyntaxError, parse};
use super::verify::Mismatch;
use crate::choice::rule::Rule;
use crate::report::file::{Action, FileStatus, SiteReport, SiteShape};
use crate::source::diff;
use crate::source::marker::Marker;
use crate::threads::beside;

/// This program's version, for the marker.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is to be done with a file.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What the file is, before anything is written.
    pub status: FileStatus,
    /// Its calls.
    pub sites: Vec<SiteReport>,
    /// Its new bytes, where it would change.
    pub patched: Option<Vec<u8>>,
    /// The change as a unified diff; empty where there is none.
    pub diff: Vec<u8>,
    /// What a user should know besides.
    pub notes: Vec<String>,
}

/// Why a file cannot be dealt with.
#[derive(Debug)]
pub(crate) enum PatchError {
    /// Its bytes are no Python source.
    Decode(DecodeError),
    /// Its text is no Python.
    Syntax(SyntaxError),
    /// It was patched by this tool, and edited afterwards.
    EditedSince {
        /// The version that patched it.
        version: String,
        /// What cannot be done for that reason.
        what: &'static str,
    },
    /// It is not patched by this tool.
    NotPatched,
    /// The rewrite is wrong: a fault of this program.
    Rewrite(Mismatch),
}

impl fmt::Display for PatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatchError::Decode(error) => error.fmt(f),
            PatchError::Syntax(error) => {
                writeln!(f, "{}:{}: {}\n    {}", error.line, error.column, error.message, error.text.trim_end())?;
                f.write_str("Where Python itself accepts the file, its syntax is newer than this program's parser; please report it")
            }
            PatchError::EditedSince { version, what } => write!(
                f,
                "nixl-retrofit {version} patched this file and it was edited since, so {what}; nothing was changed. \
                 Install the distribution again to get its original, then apply again"
            ),
            PatchError::NotPatched => {
                f.write_str("this file carries no marker of nixl-retrofit: there is nothing to revert")
            }
            PatchError::Rewrite(mismatch) => {
                write!(
                    f,
                    "{mismatch}; nothing was changed. This is a fault of nixl-retrofit: please report it with the file"
                )
            }
        }
    }
}

impl std::error::Error for PatchError {}

/// A file as it is, and its path for a diff.
#[derive(Clone, Copy)]
struct Present<'a> {
    path: &'a Path,
    bytes: &'a [u8],
}

/// Decides what `apply` does with a file's bytes. `path` is for the diff.
///
/// # Errors
/// Where the file is not understood, or was edited after it was patched and would have to change again.
pub(crate) fn plan(path: &Path, bytes: &[u8], rule: &Rule) -> Result<Plan, PatchError> {
    let present = Present { path, bytes };
    let Some(marker) = Marker::find(bytes) else { return plan_original(bytes, present, rule, VERSION) };
    match marker.original(bytes) {
        Some(original) => replan(present, &original, &marker, rule),
        None => plan_edited(present, &marker, rule),
    }
}

/// The original bytes of a file that this tool patched.
///
/// # Errors
/// Where it is not patched, or was edited since.
pub(crate) fn revert(bytes: &[u8]) -> Result<Vec<u8>, PatchError> {
    let marker = Marker::find(bytes).ok_or(PatchError::NotPatched)?;
    let edited =
        PatchError::EditedSince { version: marker.version.clone(), what: "the original bytes cannot be restored" };
    marker.original(bytes).ok_or(edited)
}

fn plan_original(bytes: &[u8], present: Present, rule: &Rule, version: &str) -> Result<Plan, PatchError> {
    let source = SourceText::decode(bytes).map_err(PatchError::Decode)?;
    // Taking a tree apart takes a tenth of the time that building it took, and the program ends soon.
    let module = ManuallyDrop::new(parse(source.text()).map_err(PatchError::Syntax)?);
    let sites = agent_call::find(source.text(), &module);
    let reports = sites.iter().map(report).collect();
    if sites.iter().all(|site| site.edits.is_empty()) {
        return Ok(Plan {
            status: untouched(&sites),
            sites: reports,
            patched: None,
            diff: Vec::new(),
            notes: Vec::new(),
        });
    }
    let original = Original { source: &source, module: &module, sites: &sites };
    let rewrite = rewrite::rewrite(&original, rule, version).map_err(PatchError::Rewrite)?;
    let diff = || diff::unified(present.path, present.bytes, &rewrite.bytes);
    let (proof, diff) = beside(diff, || rewrite.prove(&original));
    proof.map_err(PatchError::Rewrite)?;
    Ok(Plan { status: FileStatus::WouldPatch, sites: reports, patched: Some(rewrite.bytes), diff, notes: Vec::new() })
}

/// A file that this tool patched: it changes only when an option does. Another version of the tool that would insert
/// the same code is no reason.
fn replan(present: Present, original: &[u8], marker: &Marker, rule: &Rule) -> Result<Plan, PatchError> {
    let mut plan = plan_original(original, present, rule, &marker.version)?;
    if plan.patched.as_deref() == Some(present.bytes) {
        plan.status = FileStatus::AlreadyPatched;
        plan.patched = None;
        plan.sites.iter_mut().filter(|site| site.action == Action::Rewrite).for_each(|site| site.action = Action::Done);
        return Ok(plan);
    }
    let mut plan = plan_original(original, present, rule, VERSION)?;
    plan.notes.push(format!("patched before by nixl-retrofit {} with: {}", marker.version, marker.options));
    plan.notes.push("lines and columns are those of the original".into());
    Ok(plan)
}

fn plan_edited(present: Present, marker: &Marker, rule: &Rule) -> Result<Plan, PatchError> {
    let mut plan = plan_original(present.bytes, present, rule, VERSION)?;
    let edited = |what| PatchError::EditedSince { version: marker.version.clone(), what };
    if plan.patched.is_some() {
        return Err(edited("the call that it now has cannot be patched"));
    }
    if marker.options != rule.to_string() {
        return Err(edited("other options cannot be applied"));
    }
    plan.status = FileStatus::AlreadyPatched;
    plan.notes.push(format!("edited since nixl-retrofit {} patched it; it can no longer be reverted", marker.version));
    Ok(plan)
}

fn untouched(sites: &[Site]) -> FileStatus {
    let any = |wanted: fn(&Shape) -> bool| sites.iter().any(|site| wanted(&site.shape));
    if any(|shape| matches!(shape, Shape::EnvironmentAware(_))) {
        return FileStatus::EnvAware;
    }
    if any(|shape| matches!(shape, Shape::Configured(_))) {
        return FileStatus::Configured;
    }
    FileStatus::NothingToPatch
}

fn report(site: &Site) -> SiteReport {
    let (shape, variable, reason) = match &site.shape {
        Shape::Bare => (SiteShape::Bare, None, "no configuration: NIXL's default backend".to_string()),
        Shape::ConfigurationWithoutBackends => {
            (SiteShape::ConfigWithoutBackends, None, "a configuration without backends: NIXL's default backend".into())
        }
        Shape::Configured(how) => (SiteShape::Configured, None, format!("the caller chooses: {how}")),
        Shape::EnvironmentAware(read) => {
            let variable = read.variable.as_deref().unwrap_or("whose name is no constant");
            (SiteShape::EnvAware, read.variable.clone(), format!("reads the environment variable {variable}"))
        }
        Shape::Unclear(reason) => (SiteShape::Unclear, None, reason.clone()),
    };
    let action = if site.edits.is_empty() { Action::Leave } else { Action::Rewrite };
    SiteReport {
        line: site.line,
        column: site.column,
        function: site.function.clone(),
        shape,
        action,
        variable,
        reason,
    }
}
