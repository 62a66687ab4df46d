//! Lines on standard error.

use anstyle::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();

/// Prints the error that ends a run. A line after the first begins with `help: `.
pub(super) fn error(error: &anyhow::Error) {
    anstream::eprintln!("nixl-retrofit: {ERROR}error:{ERROR:#} {error:#}");
}

/// Prints a line of the log.
pub(super) fn log(line: &str) {
    anstream::eprintln!("nixl-retrofit: {line}");
}
