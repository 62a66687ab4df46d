//! Whether a file is one that Dynamo was released with.

use std::path::Path;

use anyhow::{Result, bail};

use crate::releases;
use crate::report::file::{FileReport, FileStatus};
use crate::shown::Shown;

/// Says which releases have the original.
pub(super) fn add(report: &mut FileReport, original_sha256: Option<&str>) {
    report.release = original_sha256.and_then(releases::with);
    let words = report.release.clone();
    report.details.push(words.unwrap_or_else(|| "not a released source".into()));
}

/// Checks that a file which is rewritten, now or before, was released like that.
///
/// # Errors
/// Where no release has its original.
pub(super) fn require(path: &Path, report: &FileReport) -> Result<()> {
    let is_rewritten =
        matches!(report.status, FileStatus::WouldPatch | FileStatus::AlreadyPatched | FileStatus::Unfinished);
    if !is_rewritten || report.release.is_some() {
        return Ok(());
    }
    bail!(
        "{}: not a released source, and `--known-only` was given; nothing was changed\n\
         help: read the diff of `check`, then drop `--known-only`, or install a nixl-retrofit that knows the release",
        path.shown()
    )
}
