//! Deadlines in words.

use std::time::Duration;

/// A deadline as a user would write it: `20 s`, `500 ms`.
pub(crate) fn text(limit: Duration) -> String {
    let milliseconds = limit.as_millis();
    if milliseconds.is_multiple_of(1000) { format!("{} s", milliseconds / 1000) } else { format!("{milliseconds} ms") }
}
