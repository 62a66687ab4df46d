//! An environment whose Python cannot run.

use crate::environment::python::target::NotStarted;
use crate::report::finding::{Finding, Severity};
use crate::shown::Shown;

/// The finding for it; None where it was only not to be started.
pub(crate) fn finding(not_started: &NotStarted) -> Option<Finding> {
    let fact = not_started.broken.as_ref()?;
    Some(Finding {
        id: "interpreter-broken",
        severity: Severity::Error,
        message: format!("`{}` {fact}", not_started.command.shown()),
        consequence: "no program of this environment starts here; what is said about it was read from its files".into(),
        cure: vec![
            "make the environment with the image's own Python, or keep in the image the Python that it was made with"
                .into(),
        ],
        path: None,
        line: None,
    })
}
