//! Lines on standard error.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();

/// Prints the error that ends a run. A line after the first begins with `help: `.
pub(super) fn error(error: &anyhow::Error) {
    // Where standard error cannot be written, the exit status has to do.
    let _ = writeln!(anstream::stderr(), "nixl-retrofit: {ERROR}error:{ERROR:#} {error:#}");
}

/// Prints a line of the log.
pub(super) fn log(line: &str) {
    let _ = writeln!(anstream::stderr(), "nixl-retrofit: {line}");
}

/// Prints that Ctrl-C was heard. On a terminal, progress and the echoed `^C` have the line.
pub(super) fn interrupted() {
    let start = if std::io::stderr().is_terminal() { "\n" } else { "" };
    let _ = writeln!(anstream::stderr(), "{start}nixl-retrofit: interrupted; stopping the processes that it started");
}

/// Prints clap's message about a command line.
pub(super) fn usage(error: &clap::Error) {
    let _ = write!(anstream::stderr(), "{}", error.render().ansi());
}
