//! Makes an installed NVIDIA Dynamo honour `NIXL_BACKEND`, and proves with a real transfer that the backend works.
//!
//! This library is the program `nixl-retrofit`, for its own binary, benchmarks and fuzz targets. It is no API: any of it
//! may change with any release.

mod advice;
mod audit;
mod choice;
mod cli;
mod commands;
mod doctor;
mod environment;
mod exit_status;
#[cfg(any(test, nixl_retrofit_fuzzing))]
pub mod fuzzing;
mod patching;
mod python;
mod releases;
mod report;
mod rewriting;
mod rust;
mod shown;
mod smoke;
mod source;
mod threads;

use std::convert::Infallible;
use std::ffi::OsString;
use std::process::ExitCode;

pub use cli::Cli;
pub use exit_status::ExitStatus;

/// Runs a command line, the program's name first.
///
/// `exit` has to end the process. Commands that parse Python call it from the thread that did the work, which saves the
/// time to free that thread's memory.
pub fn run(arguments: Vec<OsString>, exit: fn(ExitStatus) -> Infallible) -> ExitCode {
    commands::run(arguments, exit).into()
}
