//! What variables of the environment demand or are meant to be, and NIXL's configuration file.

use crate::environment::demands::Demand;
use crate::environment::nixl_config::{self, BadConfiguration};
use crate::report::finding::{Finding, Severity};
use crate::shown::Shown;

/// What to do about variables that demand hardware which is not here.
pub(crate) fn demanded_hardware(demands: &[Demand]) -> Option<String> {
    if demands.is_empty() {
        return None;
    }
    let unset: Vec<String> = demands.iter().map(|demand| format!("-u {}", demand.variable)).collect();
    let told: Vec<String> = demands
        .iter()
        .map(|Demand { variable, value, hardware }| format!("`{variable}={value}` demands {hardware}"))
        .collect();
    Some(format!(
        "in a container build, run `env {} nixl-retrofit ...`, and run the same check with the variable on the instance: {}, \
         which this machine does not show and no build has",
        unset.join(" "),
        told.join(", ")
    ))
}

/// What to do about a configuration file for which NIXL creates no agent.
pub(crate) fn bad_configuration(bad: &BadConfiguration) -> String {
    let path = bad.path.shown();
    let variable = nixl_config::VARIABLE;
    let (named, cure) = if bad.is_named {
        (format!(", which `{variable}` names,"), format!("correct `{path}`, or unset `{variable}`"))
    } else {
        (
            String::new(),
            format!("make `{path}` a readable TOML file, or set `HOME` to a folder that this user may read"),
        )
    };
    format!("{cure}: NIXL's configuration file `{path}`{named} {}, and NIXL creates no agent then", bad.fault)
}

/// The finding for a configuration file for which NIXL creates no agent.
pub(crate) fn configuration(bad: &BadConfiguration) -> Finding {
    let path = bad.path.shown();
    let cure = if bad.is_named {
        format!("correct `{path}`, or unset `{}`", nixl_config::VARIABLE)
    } else {
        format!("make `{path}` a readable TOML file, or set `HOME` to a folder that this user may read")
    };
    Finding {
        id: "nixl-configuration-unreadable",
        severity: Severity::Error,
        message: format!("NIXL's configuration file `{path}` {}", bad.fault),
        consequence: "NIXL creates no agent, and its C API says no more than -2".into(),
        cure: vec![cure],
        path: Some(bad.path.clone()),
        line: None,
    }
}

/// The finding for a variable that demands hardware which is not here: right on the instance, and a failure of every check in
/// a build.
pub(crate) fn demand(demand: &Demand, severity: Severity) -> Finding {
    let Demand { variable, value, hardware } = demand;
    Finding {
        id: "variable-demands-hardware",
        severity,
        message: format!("`{variable}={value}` demands {hardware}, which this machine does not show"),
        consequence: "every transfer fails here; no container build has this hardware".into(),
        cure: vec![format!("env -u {variable} nixl-retrofit ...    # in a build; with the variable on the instance")],
        path: None,
        line: None,
    }
}

/// A variable that is probably meant to be another one.
pub(crate) fn misspelt(name: &str, meant: &str) -> Finding {
    Finding {
        id: "variable-misspelt",
        severity: Severity::Warning,
        message: format!("`{name}` is set, and nothing reads a variable of that name"),
        consequence: "its value has no effect".into(),
        cure: vec![format!("set `{meant}`, if that is meant")],
        path: None,
        line: None,
    }
}
