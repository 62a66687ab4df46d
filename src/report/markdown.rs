//! The report as Markdown, for the summary of a job.

use super::Report;
use super::annotation::{self, Annotation};
use super::file::FileReport;
use super::finding::Severity;
use crate::shown::Shown;

/// How much of the diffs is shown: GitHub drops a summary of more than 1 MiB.
const MAX_DIFF_BYTES: usize = 256 << 10;

/// A section with a heading of its own.
pub(crate) fn render(report: &Report) -> String {
    let command = report.command.map(|command| format!(" {command}")).unwrap_or_default();
    let mut page = format!("### nixl-retrofit{command}: exit status {}\n\n", report.exit_status);
    if !report.files.is_empty() {
        page.push_str("| file | distribution | status |\n| --- | --- | --- |\n");
        report.files.iter().for_each(|file| page.push_str(&row(file)));
        page.push('\n');
    }
    for annotation in annotation::of(report).iter().chain(&annotation::error(report)) {
        page.push_str(&item(annotation));
    }
    diffs(&mut page, &report.files);
    page
}

fn row(file: &FileReport) -> String {
    let names = [&file.distribution, &file.distribution_version].into_iter().flatten();
    let owner = names.map(String::as_str).collect::<Vec<_>>().join(" ");
    format!("| {} | {} | {} |\n", code(&file.path.shown().to_string()), text(&owner), file.status.name())
}

fn item(annotation: &Annotation) -> String {
    let severity = match annotation.severity {
        Severity::Error => "**error**",
        Severity::Warning => "**warning**",
        Severity::Note => "note",
    };
    let place = annotation.path.map(|path| {
        let line = annotation.line.map(|line| format!(":{line}")).unwrap_or_default();
        format!(" {}", code(&format!("{}{line}", path.shown())))
    });
    let lines: Vec<String> = annotation.message.lines().map(text).collect();
    format!("- {severity}{}: {}\n", place.unwrap_or_default(), lines.join("<br>"))
}

fn diffs(page: &mut String, files: &[FileReport]) {
    let diff: String = files.iter().map(|file| String::from_utf8_lossy(&file.diff)).collect();
    if diff.is_empty() {
        return;
    }
    let end = (0..=diff.len().min(MAX_DIFF_BYTES)).rev().find(|&at| diff.is_char_boundary(at)).unwrap_or_default();
    let fence = "`".repeat(longest_run(&diff).max(2) + 1);
    let cut = if end < diff.len() { "The diff is cut.\n" } else { "" };
    page.push_str(&format!(
        "\n<details><summary>Diff</summary>\n\n{fence}diff\n{}\n{fence}\n\n{cut}</details>\n",
        &diff[..end]
    ));
}

/// The longest run of backticks: a fence or a code span needs a longer one.
fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or_default()
}

/// A code span in a table's cell.
fn code(text: &str) -> String {
    let text = text.replace('|', "\\|");
    let fence = "`".repeat(longest_run(&text) + 1);
    format!("{fence} {text} {fence}")
}

/// Text in which the characters of HTML and of tables mean themselves; backticks still mark code.
fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::report::file::FileStatus;

    #[test]
    fn a_summary() {
        let mut report = Report { exit_status: 1, ..Report::new("check") };
        report.files.push(FileReport {
            distribution: Some("ai-dynamo-runtime".into()),
            distribution_version: Some("1.6.1".into()),
            diff: b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-```\n+b\n".into(),
            ..FileReport::new(Path::new("/a|`b`\n.py"), FileStatus::WouldPatch)
        });
        report.error = Some("no <b>\nhelp: a|b".into());
        insta::assert_snapshot!(render(&report));
    }

    #[test]
    fn a_large_diff_is_cut() {
        let mut report = Report::new("check");
        let diff = "é".repeat(MAX_DIFF_BYTES).into_bytes();
        report.files.push(FileReport { diff, ..FileReport::new(Path::new("x"), FileStatus::WouldPatch) });
        let page = render(&report);
        assert!(page.len() < MAX_DIFF_BYTES + 1000 && page.contains("is cut"));
    }
}
