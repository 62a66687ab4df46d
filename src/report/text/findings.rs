//! Findings in the text report.

use super::page::Page;
use super::style::WARNING;
use crate::report::finding::Finding;

/// Shows each with its consequence and its cure.
pub(crate) fn findings(page: &mut Page, findings: &[Finding]) {
    for finding in findings {
        page.line(format_args!("{WARNING}warning:{WARNING:#} {}", finding.message));
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
        let text = shown(|page| super::findings(page, &[finding]));
        assert_eq!(text, "warning: a fact\n  what follows\n  help: do this\n");
    }
}
