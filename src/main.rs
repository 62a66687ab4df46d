//! The program: see the library.

#![expect(clippy::exit, reason = "the program ends here, and nowhere else")]

use std::process::{self, ExitCode};

use clap::Parser;

fn main() -> ExitCode {
    nixl_retrofit::run(nixl_retrofit::Cli::parse(), |status| process::exit(status.code().into()))
}
