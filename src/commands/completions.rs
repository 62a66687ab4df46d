//! `completions`: print a completion script.

use std::io::{self, Write};

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit_status::ExitStatus;

/// Prints the script.
pub(super) fn run(shell: Shell) -> Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), env!("CARGO_PKG_NAME"), &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitStatus::Success)
}
