//! The report as a SARIF log, which code scanning reads.

mod model;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use model::{
    ArtifactLocation, Driver, Invocation, Location, Log, Message, Notification, PhysicalLocation, Region, ResultEntry,
    Rule, Run, Tool,
};

use super::Report;
use super::annotation::{self, Annotation};
use super::finding::Severity;

/// The log's schema, where it is published.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The log, with a newline at its end.
///
/// # Errors
/// None in practice: every key is a string.
pub(crate) fn render(report: &Report) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(&log(report))? + "\n")
}

fn log(report: &Report) -> Log<'_> {
    let annotations = annotation::of(report);
    let mut ids: Vec<&str> = annotations.iter().map(|annotation| annotation.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let results = annotations.iter().map(|annotation| result(annotation, &ids)).collect();
    let rules = ids.iter().map(|id| Rule { id, short_description: Message { text: id.replace('-', " ") } }).collect();
    let error = annotation::error(report);
    let invocation = Invocation {
        execution_successful: error.is_none(),
        exit_code: report.exit_status,
        tool_execution_notifications: error.iter().map(notification).collect(),
    };
    Log {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [Run {
            tool: Tool { driver: Driver { name: report.tool, version: report.version, rules } },
            invocations: [invocation],
            results,
            column_kind: "unicodeCodePoints",
        }],
    }
}

fn result<'r>(annotation: &Annotation<'r>, ids: &[&str]) -> ResultEntry<'r> {
    ResultEntry {
        rule_id: annotation.id,
        rule_index: ids.binary_search(&annotation.id).unwrap_or_default(),
        level: level(annotation),
        message: message(annotation),
        locations: locations(annotation),
    }
}

fn notification(annotation: &Annotation) -> Notification {
    Notification { level: level(annotation), message: message(annotation), locations: locations(annotation) }
}

fn level(annotation: &Annotation) -> &'static str {
    match annotation.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn message(annotation: &Annotation) -> Message {
    Message { text: annotation.message.clone() }
}

fn locations(annotation: &Annotation) -> Vec<Location> {
    let region = annotation.line.map(|start_line| Region { start_line, start_column: annotation.column });
    let location = |path| Location {
        physical_location: PhysicalLocation { artifact_location: ArtifactLocation { uri: uri(path) }, region },
    };
    annotation.path.map(location).into_iter().collect()
}

/// A file's URI: absolute for an absolute path, else a relative reference (RFC 3986).
fn uri(path: &Path) -> String {
    let mut uri = if path.is_absolute() { "file://".to_string() } else { String::new() };
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::file::{Action, FileReport, FileStatus, SiteReport, SiteShape};

    #[test]
    fn a_log() {
        let mut report = Report { version: "VERSION", exit_status: 1, ..Report::new("check") };
        report.files.push(FileReport {
            sites: vec![SiteReport {
                line: 23,
                column: 22,
                function: None,
                shape: SiteShape::Bare,
                action: Action::Rewrite,
                variable: None,
                reason: "no configuration".into(),
                choice: None,
            }],
            ..FileReport::new(Path::new("/opt/a b/é.py"), FileStatus::WouldPatch)
        });
        report.error = Some("an error".into());
        insta::assert_snapshot!(render(&report).unwrap());
    }

    #[test]
    fn a_path_becomes_a_uri() {
        assert_eq!(uri(Path::new("/a b/c%d:e.py")), "file:///a%20b/c%25d%3Ae.py");
        assert_eq!(uri(Path::new("a:b/\n.py")), "a%3Ab/%0A.py");
    }
}
