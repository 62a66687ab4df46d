//! The two ends of a transfer, where they do not fit.

use crate::report::finding::{Finding, Severity};

/// The first version whose agents cannot talk to older ones (measured: 1.0.1 and 1.3.x against 1.5.0 fail).
const CHANGED: (u32, u32) = (1, 5);

/// The finding for two versions of NIXL: an error where they were seen to fail, a warning where nobody has tried.
pub(crate) fn versions(here: &str, there: &str) -> Option<Finding> {
    if here == there {
        return None;
    }
    let is_new = |version: &str| minor(version).map(|minor| minor >= CHANGED);
    let fails = matches!((is_new(here), is_new(there)), (Some(one), Some(other)) if one != other);
    let consequence = if fails {
        "agents of NIXL before 1.5 and from 1.5 on do not understand each other: the transfer fails"
    } else {
        "nobody here has tried the two together"
    };
    Some(Finding {
        id: "nixl-versions-differ",
        severity: if fails { Severity::Error } else { Severity::Warning },
        message: format!("NIXL {here} on this end and NIXL {there} on the other"),
        consequence: consequence.into(),
        cure: vec!["install the same version on both ends".into()],
        path: None,
        line: None,
    })
}

fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// The finding for two ends of which no backend can work on both.
pub(crate) fn nothing_in_common() -> Finding {
    Finding {
        id: "no-common-backend",
        severity: Severity::Error,
        message: "no backend can work on both ends".into(),
        consequence: "the ends cannot transfer".into(),
        cure: vec!["mend what keeps a backend from working, on the end where it cannot".into()],
        path: None,
        line: None,
    }
}

/// The finding for two ends whose variables choose nothing in common.
pub(crate) fn other_choice(here: &[String], there: &[String]) -> Finding {
    let (here, there) = (here.join(","), there.join(","));
    Finding {
        id: "ends-choose-differently",
        severity: Severity::Error,
        message: format!("`NIXL_BACKEND` chooses {here} on this end and {there} on the other"),
        consequence: "the agents find no backend in common".into(),
        cure: vec![format!("set `NIXL_BACKEND={here}` on both ends")],
        path: None,
        line: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_were_seen_to_fail_are_an_error() {
        assert_eq!(versions("1.5.0", "1.5.0"), None);
        for (here, there, severity) in [
            ("1.0.1", "1.5.0", Severity::Error),
            ("1.5.1", "1.3.2", Severity::Error),
            ("1.5.0", "1.5.1", Severity::Warning),
            ("1.0.1", "1.3.2", Severity::Warning),
            ("odd", "1.5.0", Severity::Warning),
        ] {
            assert_eq!(versions(here, there).unwrap().severity, severity, "{here} {there}");
        }
    }
}
