//! What `check` is asked: whether files are patched, or whether the patch applies.

use clap::ValueEnum;

use crate::report::Report;
use crate::report::file::{FileReport, FileStatus};
use crate::report::finding::{Finding, Severity};
use crate::shown::Shown;

/// What the files are expected to be. An unfinished change never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Expectation {
    /// No file would change: this image is patched, or needs no patch
    Patched,
    /// A file would change, and none is patched already: the patch applies to this base
    Original,
    /// Both are fine
    Any,
}

impl Expectation {
    /// Whether the files are as expected. Adds findings where the diff alone does not say why not.
    pub(crate) fn is_met(self, report: &mut Report) -> bool {
        if report.files.iter().any(|file| file.status == FileStatus::Unfinished) {
            return false;
        }
        match self {
            Expectation::Patched => !report.has_changes(),
            Expectation::Any => true,
            Expectation::Original => {
                let findings = not_original(&report.files);
                let is_met = findings.is_empty();
                report.findings.extend(findings);
                is_met
            }
        }
    }
}

fn not_original(files: &[FileReport]) -> Vec<Finding> {
    let finding = |file: Option<&FileReport>, message: &str, cure: &str| Finding {
        id: "not-original",
        severity: Severity::Error,
        message: message.into(),
        consequence: "the files are not the original that `--expect original` asks for".into(),
        cure: vec![cure.into()],
        path: file.map(|file| file.path.clone()),
        line: None,
    };
    let patched = files.iter().filter(|file| file.status == FileStatus::AlreadyPatched);
    let mut all: Vec<Finding> = patched
        .map(|file| {
            let message = format!("`{}` is patched already", file.path.shown());
            finding(Some(file), &message, "run `nixl-retrofit revert`, or check the base image")
        })
        .collect();
    if all.is_empty() && !files.iter().any(|file| file.status == FileStatus::WouldPatch) {
        let cure = "see the files' statuses: this Dynamo may no longer need the patch";
        all.push(finding(None, "no file would be patched", cure));
    }
    all
}
