//! What is wrong, what follows from it, and what cures it.

use std::path::PathBuf;

use serde::Serialize;

use super::file::path_or_null;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What kind it is of.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The fact.
    pub message: String,
    /// What follows from it.
    pub consequence: String,
    /// What to do, one thing an element.
    pub cure: Vec<String>,
    /// The file that it is about.
    #[serde(serialize_with = "path_or_null")]
    pub path: Option<PathBuf>,
    /// Its line, from 1.
    pub line: Option<usize>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Severity {
    /// It fails: the failure that it causes is told in its words.
    Error,
    /// What was asked for does not happen here.
    Warning,
    /// Worth to know; nothing is wrong.
    Note,
}
