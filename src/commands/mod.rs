//! The subcommands, one a file: each wires the rooms of the house together. Only here and in `main` is anything
//! printed, and does the program end.
#![forbid(unsafe_code)]

mod apply;
mod check;
mod completions;
mod console;
mod patching;
mod revert;
mod smoke;
mod transfer;
mod two_machines;

use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};

use crate::cli::{Cli, Command};
use crate::exit_status::ExitStatus;
use crate::python::syntax;

/// Runs the program; returns its exit status.
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Apply(args) => with_large_stack(move || apply::run(&args)),
        Command::Check(args) => with_large_stack(move || check::run(&args)),
        Command::Revert(args) => revert::run(&args),
        Command::Smoke(args) => smoke::run(&args),
        Command::Completions { shell } => completions::run(shell),
        Command::SmokeWorker => return crate::smoke::worker_main(),
    };
    let status = outcome.unwrap_or_else(|error| {
        eprintln!("nixl-retrofit: error: {error:#}");
        ExitStatus::Error
    });
    status.into()
}

/// Runs what reads Python source on a thread with room for deep trees.
fn with_large_stack(work: impl FnOnce() -> Result<ExitStatus> + Send + 'static) -> Result<ExitStatus> {
    let work = || {
        syntax::grow_heap();
        work()
    };
    let thread =
        thread::Builder::new().stack_size(syntax::STACK_BYTES).spawn(work).context("no thread can be started")?;
    // A panic has printed its own message.
    thread.join().unwrap_or(Ok(ExitStatus::Error))
}
