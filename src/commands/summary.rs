//! The summary of a job of GitHub's.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};

use super::message;
use crate::report::{Report, markdown};
use crate::shown::Shown;

/// The variable that names the summary's file.
const VARIABLE: &str = "GITHUB_STEP_SUMMARY";

/// Adds the report to the job's summary, where there is one. A summary that cannot be written changes no exit status.
pub(super) fn append(report: &Report) {
    let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) else { return };
    let written = || -> io::Result<()> {
        OpenOptions::new().append(true).create(true).open(&path)?.write_all(markdown::render(report).as_bytes())
    };
    if let Err(error) = written() {
        message::log(&format!("warning: `{}` (${VARIABLE}) cannot be written: {error}", path.shown()));
    }
}
