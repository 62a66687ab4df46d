//! What the rewrite of one file has in common in all languages: from its marker to what becomes of it.
#![forbid(unsafe_code)]

use std::path::Path;

use thiserror::Error;

use crate::choice::rule::Rule;
use crate::report::file::{Action, FileStatus, SiteReport, SiteShape};
use crate::source::edit::{Inserted, InsertedSpan};
use crate::source::marker::{self, Marker, Own};
use crate::source::offset::ByteOffset;
use crate::source::{diff, lines};

/// The version that a new marker carries.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `apply` does with a file.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What the file is, before anything is written.
    pub status: FileStatus,
    /// Its places that create an agent or choose its backends.
    pub sites: Vec<SiteReport>,
    /// Its new bytes, where it would change.
    pub patched: Option<Vec<u8>>,
    /// The change as a unified diff; empty where there is none.
    pub diff: Vec<u8>,
    /// What else a user should know, one sentence each.
    pub notes: Vec<String>,
    /// Whether the file is patched already and as this tool wrote it.
    pub intact: bool,
    /// The SHA-256 of the original; None where that is lost, because the patched file was edited.
    pub original_sha256: Option<String>,
}

impl Plan {
    /// For a file that stays as it is.
    pub(crate) fn unchanged(sites: Vec<SiteReport>) -> Self {
        let status = untouched(&sites);
        Plan { status, sites, patched: None, diff: Vec::new(), notes: Vec::new(), intact: false, original_sha256: None }
    }

    /// For a file that would change.
    pub(crate) fn rewritten(sites: Vec<SiteReport>, patched: Vec<u8>, diff: Vec<u8>, original_sha256: String) -> Self {
        let original_sha256 = Some(original_sha256);
        Plan { status: FileStatus::WouldPatch, patched: Some(patched), diff, original_sha256, ..Plan::unchanged(sites) }
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

/// A file was edited after nixl-retrofit patched it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("edited since nixl-retrofit {version} patched it: {what}; nothing was changed")]
pub(crate) struct EditedSince {
    /// The version that patched it.
    version: String,
    /// What cannot be done for that reason.
    what: &'static str,
}

impl EditedSince {
    fn new(marker: &Marker, what: &'static str) -> Self {
        EditedSince { version: marker.version.clone(), what }
    }
}

/// A file as it is, and its path for the diff.
#[derive(Clone, Copy)]
pub(crate) struct Present<'a> {
    /// Its path.
    pub path: &'a Path,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Present<'_> {
    /// Decides what `apply` does with it. `own` is its marker; `plan_original` plans the rewrite of an original, with that
    /// version in the new marker.
    ///
    /// # Errors
    /// Those of `plan_original`, or where it was edited after it was patched and would have to change again.
    pub(crate) fn plan<E: From<EditedSince>>(
        self,
        own: Option<Own>,
        rule: &Rule,
        plan_original: impl Fn(&[u8], &str) -> Result<Plan, E>,
    ) -> Result<Plan, E> {
        match own {
            None => {
                let plan = plan_original(self.bytes, VERSION)?;
                let original_sha256 = plan.original_sha256.or_else(|| Some(marker::sha256(self.bytes)));
                Ok(Plan { original_sha256, ..plan })
            }
            Some(Own { marker, original: Some(original) }) => {
                let plan = self.replan(&original, &marker, plan_original)?;
                Ok(Plan { original_sha256: Some(marker.sha256), ..plan })
            }
            Some(Own { marker, original: None }) => {
                edited(plan_original(self.bytes, VERSION)?, &marker, rule).map_err(E::from)
            }
        }
    }

    /// A file that carries a marker and is unedited: it changes only where the inserted code does. A new version of
    /// nixl-retrofit that would insert the same code leaves it.
    fn replan<E>(
        self,
        original: &[u8],
        marker: &Marker,
        plan_original: impl Fn(&[u8], &str) -> Result<Plan, E>,
    ) -> Result<Plan, E> {
        let mut plan = plan_original(original, &marker.version)?;
        if plan.patched.as_deref() == Some(self.bytes) {
            plan.status = FileStatus::AlreadyPatched;
            plan.intact = true;
            plan.patched = None;
            let rewritten = plan.sites.iter_mut().filter(|site| site.action == Action::Rewrite);
            rewritten.for_each(|site| site.action = Action::Done);
            move_to_present(&mut plan.sites, original, self.bytes, &marker.inserted);
            return Ok(plan);
        }
        if marker.version != VERSION {
            plan = plan_original(original, VERSION)?;
        }
        plan.notes.push(format!("previously patched by nixl-retrofit {} with `{}`", marker.version, marker.options));
        plan.notes.push("lines and columns refer to the original".into());
        Ok(plan)
    }

    /// The change from the present file to the original with insertions, as a unified diff.
    pub(crate) fn diff(self, original: &[u8], patched: &[u8], inserted: &[InsertedSpan<ByteOffset>]) -> Vec<u8> {
        if self.bytes == original {
            return diff::of_insertions(self.path, original, patched, inserted);
        }
        diff::unified(self.path, self.bytes, patched)
    }

    /// The original of a file that this tool patched.
    ///
    /// # Errors
    /// Where it was edited since.
    pub(crate) fn revert(self, own: Own) -> Result<Reverted, EditedSince> {
        let Own { marker, original } = own;
        let original = original.ok_or_else(|| EditedSince::new(&marker, "the original bytes cannot be restored"))?;
        let diff = diff::of_removal(self.path, self.bytes, &original, &marker.inserted);
        Ok(Reverted { original, diff })
    }
}

fn edited(mut plan: Plan, marker: &Marker, rule: &Rule) -> Result<Plan, EditedSince> {
    if plan.patched.is_some() {
        return Err(EditedSince::new(marker, "its new call cannot be patched"));
    }
    if marker.options != rule.to_string() {
        return Err(EditedSince::new(marker, "other options cannot be applied"));
    }
    plan.status = FileStatus::AlreadyPatched;
    plan.notes.push(format!("edited since nixl-retrofit {} patched it: it can no longer be reverted", marker.version));
    Ok(plan)
}

/// Makes lines of the original lines of the patched file. Columns stay: nothing is inserted before a call on its line.
fn move_to_present(sites: &mut [SiteReport], original: &[u8], patched: &[u8], spans: &[InsertedSpan<ByteOffset>]) {
    let inserted = Inserted::new(spans);
    let (old, new) = (lines::starts(original), lines::starts(patched));
    for site in sites {
        let Some(&start) = old.get(site.line - 1) else { continue };
        let start = inserted.patched(start, true);
        site.line = new.partition_point(|line| *line <= start);
    }
}

/// What a file is in which nothing is rewritten.
fn untouched(sites: &[SiteReport]) -> FileStatus {
    let of_shape = |shape| match shape {
        SiteShape::Bare | SiteShape::ConfigWithoutBackends => FileStatus::NothingToPatch,
        SiteShape::EnvAware => FileStatus::EnvAware,
        SiteShape::Configured | SiteShape::HardCoded => FileStatus::Configured,
        _ => FileStatus::Unresolved,
    };
    let any = |status: &FileStatus| sites.iter().any(|site| of_shape(site.shape) == *status);
    let worst_first = [FileStatus::Unresolved, FileStatus::EnvAware, FileStatus::Configured];
    worst_first.into_iter().find(any).unwrap_or(FileStatus::NothingToPatch)
}
