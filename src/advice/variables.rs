//! What variables of the environment demand or are meant to be, and NIXL's configuration file.

use crate::environment::demands::Demand;
use crate::environment::nixl_config::{self, BadConfiguration};
use crate::report::finding::{Finding, Severity};

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
    let path = bad.path.display();
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
