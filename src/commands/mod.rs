//! The subcommands, one a file: each wires the rooms of the house together. Only here is anything printed.
#![forbid(unsafe_code)]

mod apply;
mod audit;
mod check;
mod color;
mod completions;
mod console;
mod doctor;
mod early_look;
mod load_library;
mod man;
mod message;
mod process;
mod revert;
mod smoke;
mod summary;
mod transfer;
mod usage;

use std::convert::Infallible;
use std::ffi::OsString;
use std::thread;

use anyhow::{Context, Result};

use crate::cli::{Cli, Command};
use crate::environment::program::group;
use crate::environment::variables::Variables;
use crate::exit_status::ExitStatus;
use crate::smoke::{janitor, worker};
use crate::threads;
use process::Process;

/// Runs the program with these arguments, its name first; returns its exit status, unless it ends the process with `exit`.
pub(crate) fn run(arguments: Vec<OsString>, exit: fn(ExitStatus) -> Infallible) -> ExitStatus {
    match Cli::parsed(&arguments) {
        Ok(cli) => run_parsed(cli, exit),
        Err(error) => conclude(usage::conclude(&error, &arguments, &Variables::of_process())),
    }
}

fn run_parsed(cli: Cli, exit: fn(ExitStatus) -> Infallible) -> ExitStatus {
    let process = Process::current(cli.no_exec, cli.output);
    color::set(process.output.color, &process.variables);
    group::answer_interrupts(message::interrupted);
    let outcome = match cli.command {
        Command::Apply(args) => with_large_stack(move || apply::run(&args, &process), exit),
        Command::Check(args) => with_large_stack(move || check::run(&args, &process), exit),
        Command::Revert(args) => with_large_stack(move || revert::run(&args, &process), exit),
        Command::Audit(args) => with_large_stack(move || audit::run(&args, &process), exit),
        Command::Doctor(args) => with_large_stack(move || doctor::run(&args, &process), exit),
        Command::Smoke(args) => smoke::run(&args, &process),
        Command::Completions { shell } => completions::run(shell),
        Command::Man { command } => man::run(command.as_deref(), &process),
        Command::LoadLibrary { mark, library } => load_library::run(&mark, &library),
        Command::SmokeWorker => {
            worker::run(&|name| process.variables.get(name).is_some()).map(|never| match never {}).map_err(Into::into)
        }
        Command::SmokeJanitor => janitor::process::run().map(|()| ExitStatus::Success).map_err(Into::into),
    };
    conclude(outcome)
}

fn conclude(outcome: Result<ExitStatus>) -> ExitStatus {
    outcome.unwrap_or_else(|error| {
        message::error(&error);
        ExitStatus::Error
    })
}

/// Runs what parses sources on a thread with room for deep trees. That thread ends the process: freeing the trees piece
/// by piece takes a few per cent of `check` (measured).
fn with_large_stack(
    work: impl FnOnce() -> Result<ExitStatus> + Send + 'static,
    exit: fn(ExitStatus) -> Infallible,
) -> Result<ExitStatus> {
    let work = move || -> Infallible {
        threads::grow_heap(threads::HEAP_BYTES);
        exit(conclude(work()))
    };
    let thread =
        thread::Builder::new().stack_size(threads::STACK_BYTES).spawn(work).context("cannot start a thread")?;
    // It returns only by a panic, which has printed its own message, in a build that unwinds.
    thread.join().map_or(Ok(ExitStatus::Error), |never| match never {})
}
