//! The findings of an audit: each agent and each backend that ignores every setting.

use crate::report::audit::{Audit, Creates, Place, PlaceClass};
use crate::report::finding::{Finding, Severity};
use crate::shown::Shown;

/// The finding's identifier.
const IGNORES_SETTINGS: &str = "ignores-settings";
/// Distributions that `apply` rewrites without being told.
const OWN: [&str; 2] = ["ai-dynamo", "ai-dynamo-runtime"];

/// What is wrong. A configuration is part of its agent's finding.
pub(crate) fn of(audit: &Audit) -> Vec<Finding> {
    let ignores = |place: &&Place| {
        place.choice.class == PlaceClass::IgnoresSettings && place.choice.creates != Creates::Configuration
    };
    audit.places.iter().filter(ignores).map(finding).collect()
}

fn finding(place: &Place) -> Finding {
    let choice = &place.choice;
    let what = if choice.creates == Creates::Agent { "agent" } else { "backend" };
    let uses = match choice.backends.as_slice() {
        [] => "NIXL's default backend, UCX".to_string(),
        names => format!("`{}`", names.join(",")),
    };
    Finding {
        id: IGNORES_SETTINGS,
        severity: Severity::Warning,
        message: format!("this {what} ignores every setting: {}", choice.reason),
        consequence: format!(
            "it uses {uses}, whatever `NIXL_BACKEND` says; a peer with another backend cannot reach it"
        ),
        cure: vec![cure(place)],
        path: Some(place.path.clone()),
        line: Some(choice.line),
    }
}

fn cure(place: &Place) -> String {
    if place.path.extension().is_some_and(|extension| extension == "rs") {
        let also = if place.path.iter().any(|part| part == "block_manager") { " --also block-manager" } else { "" };
        return format!("run `nixl-retrofit apply{also} {}`, then compile it", place.path.shown());
    }
    if !place.choice.backends.is_empty() {
        return "give the peers this backend too, or change the file: `apply` leaves backends that a file names".into();
    }
    match &place.distribution {
        Some(name) if OWN.contains(&name.as_str()) => "run `nixl-retrofit apply`".into(),
        Some(name) => format!("run `nixl-retrofit apply --also {name}`"),
        None => format!("run `nixl-retrofit apply --also {}`", place.path.shown()),
    }
}
