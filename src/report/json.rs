//! The report as one JSON document.

use super::Report;

/// The document, with a newline at its end.
///
/// # Errors
/// None in practice: every key is a string.
pub(crate) fn render(report: &Report) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}
