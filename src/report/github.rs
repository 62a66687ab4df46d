//! The report as GitHub's workflow commands, which annotate files.
//!
//! <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>

use super::Report;
use super::annotation::{self, Annotation};
use super::finding::Severity;

/// One command a line: `::error file=a.py,line=23,col=22,title=nixl-retrofit would-patch::the message`.
pub(crate) fn render(report: &Report) -> String {
    annotation::of(report).iter().chain(&annotation::error(report)).map(command).collect()
}

fn command(annotation: &Annotation) -> String {
    let name = match annotation.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let file = annotation.path.map(|path| format!("file={},", property(&path.to_string_lossy())));
    let line = annotation.line.map(|line| format!("line={line},"));
    let column = annotation.column.map(|column| format!("col={column},"));
    let place: String = file.into_iter().chain(line).chain(column).collect();
    let title = property(&format!("nixl-retrofit {}", annotation.id));
    format!("::{name} {place}title={title}::{}\n", data(&annotation.message))
}

/// As actions/toolkit escapes a message: a line break would end the command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As actions/toolkit escapes a property: a colon or comma would end it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::finding::Finding;

    #[test]
    fn what_would_end_a_command_is_escaped() {
        let mut report = Report::new("audit");
        report.findings.push(Finding {
            id: "ignores-settings",
            severity: Severity::Warning,
            message: "100% ::error::no\r".into(),
            consequence: String::new(),
            cure: vec!["do this".into()],
            path: Some("/a,b:c\n::error::x.py".into()),
            line: Some(7),
        });
        report.error = Some("no".into());
        assert_eq!(
            render(&report),
            "::warning file=/a%2Cb%3Ac%0A%3A%3Aerror%3A%3Ax.py,line=7,title=nixl-retrofit ignores-settings::\
             100%25 ::error::no%0D%0Ahelp: do this\n::error title=nixl-retrofit error::no\n"
        );
    }
}
