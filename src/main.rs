//! Parses the command line and runs it: see the library.

use std::process::{self, ExitCode};

use clap::Parser;

fn main() -> ExitCode {
    nixl_retrofit::run(nixl_retrofit::Cli::parse(), |status| process::exit(status.code().into()))
}
