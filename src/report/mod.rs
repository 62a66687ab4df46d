//! What happened, as data; one renderer a format. Nothing here prints or exits.
#![forbid(unsafe_code)]

pub(crate) mod annotation;
pub(crate) mod audit;
pub(crate) mod doctor;
pub(crate) mod fabric;
pub(crate) mod file;
pub(crate) mod finding;
pub(crate) mod github;
pub(crate) mod json;
pub(crate) mod markdown;
pub(crate) mod sarif;
pub(crate) mod smoke;
pub(crate) mod stage;
pub(crate) mod text;

use serde::Serialize;

use audit::Audit;
use doctor::Doctor;
use file::{FileReport, FileStatus};
use finding::Finding;
use smoke::{Smoke, SmokeStatus};

/// The document that a run produces (`--output-format json` prints it as it is).
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Report {
    /// Version of this document's keys.
    pub schema: u32,
    /// Always `nixl-retrofit`.
    pub tool: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// The subcommand that ran; null where the command line names none.
    pub command: Option<&'static str>,
    /// The exit status that the program ends with.
    pub exit_status: u8,
    /// The files that were looked at.
    pub files: Vec<FileReport>,
    /// The last transfer that ran, or null.
    pub smoke: Option<Smoke>,
    /// All transfers, in the order they ran.
    pub smokes: Vec<Smoke>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What an audit found, or null.
    pub audit: Option<Audit>,
    /// What a doctor saw, or null.
    pub doctor: Option<Doctor>,
    /// Why nothing was done (exit status 2), or null.
    pub error: Option<String>,
}

/// Version of the document's keys.
const SCHEMA: u32 = 1;

impl Report {
    /// A report without files or transfers.
    pub(crate) fn new(command: impl Into<Option<&'static str>>) -> Self {
        Report {
            schema: SCHEMA,
            tool: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            command: command.into(),
            exit_status: 0,
            files: Vec::new(),
            smoke: None,
            smokes: Vec::new(),
            findings: Vec::new(),
            audit: None,
            doctor: None,
            error: None,
        }
    }

    /// Whether a file would change, or an unfinished change was found.
    pub(crate) fn has_changes(&self) -> bool {
        self.files.iter().any(|file| !file.diff.is_empty() || file.status == FileStatus::Unfinished)
    }

    /// Whether a file was changed.
    pub(crate) fn changed_files(&self) -> bool {
        let changed = [FileStatus::Patched, FileStatus::Reverted, FileStatus::Unfinished];
        self.files.iter().any(|file| file.mended || changed.contains(&file.status))
    }

    /// Adds a finding, once.
    pub(crate) fn add_finding(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Adds a transfer and its findings; the last one that ran is `smoke`.
    pub(crate) fn add_smoke(&mut self, mut smoke: Smoke) {
        smoke.findings.drain(..).for_each(|finding| self.add_finding(finding));
        if smoke.status != SmokeStatus::Skipped || self.smoke.is_none() {
            self.smoke = Some(smoke.clone());
        }
        self.smokes.push(smoke);
    }
}
