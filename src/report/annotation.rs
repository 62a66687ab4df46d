//! What a report says about places in files, for the formats that annotate them.

use std::path::Path;

use super::Report;
use super::file::{Action, FileReport, FileStatus};
use super::finding::{Finding, Severity};
use super::smoke::{Smoke, SmokeStatus};
use super::text::title::title;
use crate::shown::Shown;

/// One thing to say, and the place that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Annotation<'r> {
    /// What kind it is of: a file's status, a finding's identifier, or what a transfer came to.
    pub id: &'r str,
    /// How bad it is.
    pub severity: Severity,
    /// What is said; several lines may be.
    pub message: String,
    /// The file.
    pub path: Option<&'r Path>,
    /// From 1.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
}

impl<'r> Annotation<'r> {
    fn new(id: &'r str, severity: Severity, message: String) -> Self {
        Annotation { id, severity, message, path: None, line: None, column: None }
    }
}

/// All of them, without the error that ended the run.
pub(super) fn of(report: &Report) -> Vec<Annotation<'_>> {
    let files = report.files.iter().flat_map(|file| of_file(file, report.exit_status));
    let smokes = report.smokes.iter().flat_map(of_smoke);
    files.chain(report.findings.iter().map(of_finding)).chain(smokes).collect()
}

/// The error that ended the run.
pub(super) fn error(report: &Report) -> Option<Annotation<'_>> {
    let error = report.error.as_ref()?;
    let mut annotation = Annotation::new("error", Severity::Error, error.clone());
    let failed = report
        .files
        .iter()
        .find(|file| file.status == FileStatus::Failed && error.starts_with(&file.path.shown().to_string()));
    if let Some(file) = failed {
        annotation.path = Some(&file.path);
        (annotation.line, annotation.column) = position(error, &file.path);
    }
    Some(annotation)
}

/// The line and column of a message that begins with `PATH:LINE:COLUMN`.
fn position(message: &str, path: &Path) -> (Option<usize>, Option<usize>) {
    let rest = message.strip_prefix(&path.shown().to_string()).unwrap_or_default();
    let mut numbers = rest.split(':').skip(1).map(|number| number.parse().ok());
    let line = numbers.next().flatten();
    (line, line.and_then(|_| numbers.next().flatten()))
}

fn of_file(file: &FileReport, exit_status: u8) -> Vec<Annotation<'_>> {
    let severity = match file.status {
        // `check` ends with 0 where this is what was expected.
        FileStatus::WouldPatch if exit_status == 0 => Severity::Note,
        FileStatus::WouldPatch | FileStatus::Unfinished => Severity::Error,
        FileStatus::Unresolved => Severity::Warning,
        FileStatus::Patched | FileStatus::Reverted | FileStatus::AlreadyPatched => Severity::Note,
        // A failed file's words are the error of the run.
        FileStatus::EnvAware | FileStatus::Configured | FileStatus::NothingToPatch | FileStatus::Failed => {
            return Vec::new();
        }
    };
    let about =
        |message| Annotation { path: Some(&file.path), ..Annotation::new(file.status.name(), severity, message) };
    let concerned = |action| (file.status == FileStatus::Unresolved) == (action == Action::Leave);
    let sites = file.sites.iter().filter(|site| concerned(site.action)).map(|site| Annotation {
        line: Some(site.line),
        column: Some(site.column),
        ..about(format!("{}: {}", words(file.status), site.reason))
    });
    let mut all: Vec<_> = sites.collect();
    if all.is_empty() || file.status == FileStatus::Unfinished {
        let message = std::iter::once(words(file.status).to_string()).chain(file.notes.iter().cloned());
        all = vec![about(message.collect::<Vec<_>>().join("\n"))];
    }
    let warnings = file.notes.iter().filter_map(|note| note.strip_prefix("warning: "));
    all.extend(warnings.map(|warning| Annotation { severity: Severity::Warning, ..about(warning.into()) }));
    all
}

fn words(status: FileStatus) -> &'static str {
    match status {
        FileStatus::WouldPatch => "`nixl-retrofit apply` would rewrite this call",
        FileStatus::Patched => "rewrote this call",
        FileStatus::AlreadyPatched => "this call is patched already",
        FileStatus::Reverted => "restored the original bytes",
        FileStatus::Unfinished => "a run was stopped before it finished",
        FileStatus::Unresolved => "this call cannot be judged",
        FileStatus::EnvAware | FileStatus::Configured | FileStatus::NothingToPatch | FileStatus::Failed => {
            status.name()
        }
    }
}

fn of_finding(finding: &Finding) -> Annotation<'_> {
    let helps = finding.cure.iter().map(|cure| format!("help: {cure}"));
    let first = [&finding.message, &finding.consequence].into_iter().filter(|text| !text.is_empty()).cloned();
    let message: Vec<String> = first.chain(helps).collect();
    Annotation {
        path: finding.path.as_deref(),
        line: finding.line,
        ..Annotation::new(finding.id, finding.severity, message.join("\n"))
    }
}

fn of_smoke(smoke: &Smoke) -> Vec<Annotation<'_>> {
    let title = title(smoke);
    let outcome = match (smoke.status, &smoke.failure) {
        (SmokeStatus::Passed, _) => {
            let fabric = smoke.fabric.as_ref().map(|fabric| format!(" over {fabric}")).unwrap_or_default();
            Annotation::new("smoke-passed", Severity::Note, format!("smoke passed: {title}{fabric}"))
        }
        (SmokeStatus::Skipped, _) => {
            let reason = smoke.reason.as_deref().unwrap_or("not asked for");
            Annotation::new("smoke-skipped", Severity::Note, format!("smoke skipped: {title}: {reason}"))
        }
        (SmokeStatus::Failed, Some(failure)) => {
            let activity = failure.stage.activity();
            let message =
                format!("smoke failed: {title} failed while {activity}\n{}\nhelp: {}", failure.message, failure.advice);
            Annotation::new("smoke-failed", Severity::Error, message)
        }
        (SmokeStatus::Failed, None) => {
            Annotation::new("smoke-failed", Severity::Error, format!("smoke failed: {title}"))
        }
    };
    let warnings = smoke.warnings.iter();
    let warnings = warnings.map(|it| Annotation::new("smoke-warning", Severity::Warning, format!("{title}: {it}")));
    std::iter::once(outcome).chain(warnings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::file::{SiteReport, SiteShape};

    fn file(status: FileStatus, actions: &[Action]) -> FileReport {
        let site = |(number, action): (usize, &Action)| SiteReport {
            line: 10 + number,
            column: 5,
            function: None,
            shape: SiteShape::Bare,
            action: *action,
            variable: None,
            reason: "the reason".into(),
            choice: None,
        };
        FileReport {
            sites: actions.iter().enumerate().map(site).collect(),
            ..FileReport::new(Path::new("a b.py"), status)
        }
    }

    fn lines(report: &Report) -> Vec<(&str, Severity, Option<usize>)> {
        of(report).iter().map(|it| (it.id, it.severity, it.line)).collect()
    }

    #[test]
    fn a_file_is_annotated_where_it_changes() {
        let mut report = Report { exit_status: 1, ..Report::new("check") };
        report.files = vec![file(FileStatus::WouldPatch, &[Action::Rewrite, Action::Leave, Action::Rewrite])];
        let at = |severity| vec![("would-patch", severity, Some(10)), ("would-patch", severity, Some(12))];
        assert_eq!(lines(&report), at(Severity::Error));
        report.exit_status = 0;
        assert_eq!(lines(&report), at(Severity::Note));
        report.files = vec![file(FileStatus::Unresolved, &[Action::Leave])];
        assert_eq!(lines(&report), [("unresolved", Severity::Warning, Some(10))]);
        report.files = vec![file(FileStatus::EnvAware, &[Action::Leave])];
        assert_eq!(lines(&report), []);
        report.files =
            vec![FileReport { notes: vec!["warning: other default".into()], ..file(FileStatus::Reverted, &[]) }];
        assert_eq!(lines(&report), [("reverted", Severity::Note, None), ("reverted", Severity::Warning, None)]);
    }

    #[test]
    fn an_error_is_at_its_line() {
        let mut report = Report::new("check");
        report.error = Some("a b.py:3:7: the source is not understood".into());
        assert_eq!(error(&report).unwrap().path, None);
        report.files = vec![file(FileStatus::Failed, &[])];
        let found = error(&report).unwrap();
        assert_eq!((found.path, found.line, found.column), (Some(Path::new("a b.py")), Some(3), Some(7)));
        report.error = Some("a b.py: cannot be read".into());
        assert_eq!((error(&report).unwrap().line, of(&report).len()), (None, 0));
    }
}
