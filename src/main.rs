//! Makes an installed NVIDIA Dynamo honour `NIXL_BACKEND`, and proves with a real transfer that the backend works.

mod backend;
mod cli;
mod commands;
mod environment;
mod exit_status;
mod python;
mod report;
mod smoke;
mod source;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    commands::run(cli::Cli::parse())
}
