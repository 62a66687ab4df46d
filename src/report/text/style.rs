//! The report's styles.

use anstyle::{AnsiColor, Style};

/// All is well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Something to look at.
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// A failure.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Notes, help, and the files of a diff.
pub(super) const BOLD: Style = Style::new().bold();
/// A hunk's line numbers.
pub(super) const HUNK: Style = AnsiColor::Cyan.on_default();
/// An added line.
pub(super) const ADDED: Style = AnsiColor::Green.on_default();
/// A removed line.
pub(super) const REMOVED: Style = AnsiColor::Red.on_default();
