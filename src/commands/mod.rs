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

use std::convert::Infallible;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};

use crate::cli::{Cli, Command};
use crate::exit_status::ExitStatus;
use crate::python::syntax;

/// Runs the program; returns its exit status, where it does not end it.
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Apply(args) => with_large_stack(move || apply::run(&args)),
        Command::Check(args) => with_large_stack(move || check::run(&args)),
        Command::Revert(args) => revert::run(&args),
        Command::Smoke(args) => smoke::run(&args),
        Command::Completions { shell } => completions::run(shell),
        Command::SmokeWorker => return crate::smoke::worker_main(),
    };
    conclude(outcome).into()
}

fn conclude(outcome: Result<ExitStatus>) -> ExitStatus {
    outcome.unwrap_or_else(|error| {
        eprintln!("nixl-retrofit: error: {error:#}");
        ExitStatus::Error
    })
}

/// Runs what reads Python source on a thread with room for deep trees, which ends the program: giving that much memory back
/// piece by piece would take longer (a few per cent of `check`, measured).
fn with_large_stack(work: impl FnOnce() -> Result<ExitStatus> + Send + 'static) -> Result<ExitStatus> {
    let work = || -> Infallible {
        syntax::grow_heap();
        std::process::exit(conclude(work()).code().into())
    };
    let thread =
        thread::Builder::new().stack_size(syntax::STACK_BYTES).spawn(work).context("no thread can be started")?;
    // It only ends without ending the program by a panic, which has printed its own message.
    thread.join().map_or(Ok(ExitStatus::Error), |never| match never {})
}
