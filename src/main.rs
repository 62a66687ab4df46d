//! Parses the command line and runs it: see the library.

use std::env;
use std::process::{self, ExitCode};

fn main() -> ExitCode {
    nixl_retrofit::run(env::args_os().collect(), |status| process::exit(status.code().into()))
}
