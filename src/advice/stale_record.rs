//! A module and its row in RECORD.

use std::path::Path;

use crate::report::finding::{Finding, Severity};
use crate::shown::Shown;

/// The finding that a RECORD has another hash for a module; `is_ours` tells whether this program wrote the module.
pub(crate) fn finding(module: &Path, record: &Path, is_ours: bool) -> Finding {
    let cure = if is_ours {
        "nixl-retrofit doctor --fix record-out-of-date    # updates the row; `--undo` takes it back".into()
    } else {
        format!(
            "install the distribution again, or keep what was done to `{}`: this program did not write it",
            module.shown()
        )
    };
    Finding {
        id: "record-out-of-date",
        severity: if is_ours { Severity::Warning } else { Severity::Note },
        message: format!("`{}` has another hash for `{}`", record.shown(), module.shown()),
        consequence: "tools that check an installation against RECORD call the module damaged".into(),
        cure: vec![cure],
        path: Some(module.to_path_buf()),
        line: None,
    }
}
