//! Findings in the text report.

use super::page::Page;
use super::style::{BAD, BOLD, WARNING};
use crate::report::finding::{Finding, Severity};

/// Shows each with its consequence and its cure.
pub(crate) fn findings<'f>(page: &mut Page, findings: impl Iterator<Item = &'f Finding>) {
    for finding in findings {
        let (style, label) = match finding.severity {
            Severity::Error => (BAD, "error"),
            Severity::Warning => (WARNING, "warning"),
            Severity::Note => (BOLD, "note"),
        };
        page.line(format_args!("{style}{label}:{style:#} {}", finding.message));
        page.line(format_args!("  {}", finding.consequence));
        for cure in &finding.cure {
            page.line(format_args!("  help: {cure}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;
    use crate::report::finding::{Finding, Severity};

    #[test]
    fn a_finding_has_its_fact_its_consequence_and_its_cure() {
        let finding = Finding {
            id: "an-identifier",
            severity: Severity::Warning,
            message: "a fact".into(),
            consequence: "what follows".into(),
            cure: vec!["do this".into()],
            path: None,
            line: None,
        };
        let text = shown(|page| super::findings(page, [&finding].into_iter()));
        assert_eq!(text, "warning: a fact\n  what follows\n  help: do this\n");
    }
}
