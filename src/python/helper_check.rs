//! The inserted helper, run in the target's interpreter for every kind of value that the variable can have.

use thiserror::Error;

use super::helper;
use crate::choice::backend;
use crate::choice::rule::Rule;

/// What the program prints for a value that the helper rejects.
const REJECTED: &str = "ValueError";

/// The values that are tried; None is an unset variable.
const VALUES: [Option<&str>; 14] = [
    None,
    Some(""),
    Some("UCX"),
    Some("LIBFABRIC"),
    Some("libfabric"),
    Some("LIBFABRIC,UCX"),
    Some(" UCX , UCX"),
    Some("BOGUS"),
    Some("BOGUS,LIBFABRIC"),
    Some("\tLIBFABRIC\r\n\u{b}\u{c}"),
    // Python's `upper` makes ASCII letters of some others, and its `strip` and Rust's `trim` remove different blanks.
    Some("l\u{131}bfabric"),
    Some("\u{a0}LIBFABRIC"),
    Some("LIBFABRIC\u{3000}"),
    Some("\u{1c}LIBFABRIC"),
];

/// The helper does not do what its rule says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("for {setting} the inserted helper returns {found}; expected {expected}")]
pub(crate) struct WrongHelper {
    /// The variable and its value.
    setting: String,
    found: String,
    expected: String,
}

/// A Python program that prints what the helper returns for each value, one a line.
pub(crate) fn program(rule: &Rule) -> String {
    let function = helper::backends_function("backends", rule);
    let variable = rule.variable.as_str();
    let values = VALUES.map(|value| value.map_or("None".to_string(), bytes_literal));
    format!(
        r#"{function}
import logging, os
logging.disable(logging.CRITICAL)
for value in ({values},):
    os.environb.pop(b"{variable}", None)
    if value is not None:
        os.environb[b"{variable}"] = value
    try:
        print(",".join(backends()))
    except ValueError:
        print("{REJECTED}")
"#,
        values = values.join(", ")
    )
}

/// Bytes, because not every locale's encoding has every letter of the values.
fn bytes_literal(value: &str) -> String {
    format!("b\"{}\"", value.as_bytes().escape_ascii())
}

/// Compares the program's output with what `rule` chooses.
///
/// # Errors
/// The first value for which the helper returned something else.
pub(crate) fn compare(output: &str, rule: &Rule) -> Result<(), WrongHelper> {
    let mut lines = output.lines();
    for value in VALUES {
        let expected = expected(value, rule);
        let found = lines.next().unwrap_or("nothing");
        if found != expected {
            let variable = &rule.variable;
            let setting =
                value.map_or(format!("unset `{variable}`"), |value| format!("`{variable}={}`", value.escape_debug()));
            return Err(WrongHelper { setting, found: found.into(), expected });
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
    if rule.rejects(&choice) { REJECTED.into() } else { backend::list(&choice.backends) }
}
