//! Versions that were asked for and are not the installed ones.

use crate::report::finding::{Finding, Severity};

/// The finding for a pin that does not hold.
pub(crate) fn unsatisfied(asking: &str, name: &str, specifiers: &str, version: &str) -> Finding {
    Finding {
        id: "pin-unsatisfied",
        severity: Severity::Warning,
        message: format!("{asking} asks for {name}{specifiers}, and {name} {version} is installed"),
        consequence: "this pair was not tested together; NIXL's wire format changes between versions".into(),
        cure: vec![format!("RUN pip install '{name}{specifiers}'")],
        path: None,
        line: None,
    }
}
