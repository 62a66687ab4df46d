//! This environment against the other end of the wire, by the other end's own report.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::advice::ends;
use crate::report::doctor::{Comparison, ComponentKind, Doctor, Outcome};
use crate::report::finding::Finding;
use crate::shown::Shown;

/// What is needed of the other end's report.
#[derive(Debug)]
pub(crate) struct OtherEnd {
    nixl: Option<String>,
    able: Vec<String>,
    choice: Vec<String>,
}

/// Reads a report.
///
/// # Errors
/// When it is no report of `doctor --output-format json`.
pub(crate) fn read(path: &Path) -> Result<OtherEnd> {
    let help = "help: write it with `nixl-retrofit doctor --output-format json > REPORT.json` on the other end";
    let bytes = fs::read(path).with_context(|| format!("{}: cannot be read", path.shown()))?;
    let report: Value = serde_json::from_slice(&bytes)
        .map_err(|error| anyhow!("{}: is no JSON document: {error}\n{help}", path.shown()))?;
    parse(&report).ok_or_else(|| anyhow!("{}: is no report of `doctor`\n{help}", path.shown()))
}

fn parse(report: &Value) -> Option<OtherEnd> {
    let doctor = report.get("doctor")?;
    let components = doctor.get("components")?.as_array()?;
    let nixl = components.iter().find(|component| component["kind"] == "nixl");
    let verdicts = doctor.get("verdicts")?.as_array()?.iter();
    let able = verdicts.filter(|verdict| verdict["outcome"] != "cannot").filter_map(|it| it["backend"].as_str());
    let mut able: Vec<String> = able.map(String::from).collect();
    able.dedup();
    let choice = doctor.get("choice")?.as_array()?.iter().filter_map(Value::as_str).map(String::from).collect();
    let version = nixl.and_then(|nixl| nixl["version"].as_str()).map(String::from);
    Some(OtherEnd { nixl: version, able, choice })
}

/// Compares.
pub(crate) fn compare(doctor: &Doctor, other: &OtherEnd) -> (Comparison, Vec<Finding>) {
    let nixl = doctor.components.iter().find(|component| component.kind == ComponentKind::Nixl);
    let mut able: Vec<&str> = doctor
        .verdicts
        .iter()
        .filter(|verdict| verdict.outcome != Outcome::Cannot)
        .map(|verdict| verdict.backend)
        .collect();
    able.dedup();
    let common: Vec<String> = other.able.iter().filter(|name| able.contains(&name.as_str())).cloned().collect();
    let comparison = Comparison {
        nixl: nixl.and_then(|nixl| nixl.version.clone()),
        other_nixl: other.nixl.clone(),
        common,
        choice: doctor.choice.clone(),
        other_choice: other.choice.clone(),
    };
    let mut findings = Vec::new();
    if let (Some(here), Some(there)) = (&comparison.nixl, &comparison.other_nixl) {
        findings.extend(ends::versions(here, there));
    }
    if comparison.common.is_empty() {
        findings.push(ends::nothing_in_common());
    }
    if !comparison.choice.iter().any(|name| comparison.other_choice.contains(name)) {
        findings.push(ends::other_choice(&comparison.choice, &comparison.other_choice));
    }
    (comparison, findings)
}
