//! The inserted helper, run on its own in the target's interpreter, for every kind of value that the variable can have.

use super::helper;
use crate::choice::backend;
use crate::choice::rule::{OnUnknown, Rule};

/// The values that are tried; None is an unset variable.
const VALUES: [Option<&str>; 9] = [
    None,
    Some(""),
    Some("UCX"),
    Some("LIBFABRIC"),
    Some("libfabric"),
    Some("LIBFABRIC,UCX"),
    Some(" UCX , UCX"),
    Some("BOGUS"),
    Some("BOGUS,LIBFABRIC"),
];

/// A Python program that prints what the helper returns for each value, one a line.
pub(crate) fn program(rule: &Rule) -> String {
    let function = helper::backends_function("backends", rule);
    let variable = rule.variable.as_str();
    let values: Vec<String> =
        VALUES.iter().map(|value| value.map_or("None".to_string(), |value| format!("\"{value}\""))).collect();
    format!(
        r#"{function}
import logging, os
logging.disable(logging.CRITICAL)
for value in ({values},):
    os.environ.pop("{variable}", None)
    if value is not None:
        os.environ["{variable}"] = value
    try:
        print(",".join(backends()))
    except ValueError:
        print("ValueError")
"#,
        values = values.join(", ")
    )
}

/// Compares what the program printed with what the contract says.
///
/// # Errors
/// The first value for which the helper returned something else, in words.
pub(crate) fn compare(output: &str, rule: &Rule) -> Result<(), String> {
    let lines: Vec<&str> = output.lines().collect();
    for (number, value) in VALUES.iter().enumerate() {
        let expected = expected(*value, rule);
        let found = lines.get(number).copied().unwrap_or("nothing");
        if found != expected {
            let value = value.map_or("unset".to_string(), |value| format!("«{value}»"));
            return Err(format!(
                "for {} {value} the inserted helper returns {found}, and not {expected}",
                rule.variable.as_str()
            ));
        }
    }
    Ok(())
}

/// How many values are tried.
pub(crate) fn count() -> usize {
    VALUES.len()
}

fn expected(value: Option<&str>, rule: &Rule) -> String {
    let choice = rule.choose(value);
    if rule.on_unknown == OnUnknown::Error && !choice.unknown.is_empty() {
        return "ValueError".into();
    }
    backend::list(&choice.backends)
}
