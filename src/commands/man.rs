//! `man`: print a manual page.

use std::io::{self, Write};

use anyhow::{Result, anyhow};
use clap::CommandFactory;

use super::console::Console;
use super::process::Process;
use crate::cli::Cli;
use crate::exit_status::ExitStatus;
use crate::report::Report;

/// Prints the page of the program, or of one of its subcommands.
pub(super) fn run(command: Option<&str>, process: &Process) -> Result<ExitStatus> {
    let page = match command {
        None => Ok(Cli::command()),
        Some(name) => subcommand(name),
    };
    match page {
        Ok(command) => print(command),
        Err(error) => Console::new(&process.output, false).finish(Report::new("man"), Err(error)),
    }
}

/// The subcommand with the options that it shares with all others.
fn subcommand(name: &str) -> Result<clap::Command> {
    let mut program = Cli::command();
    program.build();
    let found = program.get_subcommands().find(|command| command.get_name() == name && !command.is_hide_set());
    let found = found.ok_or_else(|| {
        anyhow!("no subcommand is called `{name}`\nhelp: the subcommands are {}", Cli::COMMANDS.join(", "))
    })?;
    Ok(found.clone())
}

fn print(command: clap::Command) -> Result<ExitStatus> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    io::stdout().write_all(&page)?;
    Ok(ExitStatus::Success)
}
