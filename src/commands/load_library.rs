//! The hidden subcommand that loads one library for `doctor`.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;

use crate::exit_status::ExitStatus;
use crate::smoke::engine::load_check;
use crate::smoke::launch::load_command::{self, Answer};
use crate::smoke::worker;

/// Loads it and prints the answer after the mark.
pub(super) fn run(mark: &str, library: &Path) -> Result<ExitStatus> {
    worker::contain();
    let answer = match load_check::load(library) {
        Ok(loaded) => Answer::Loaded { version: loaded.version, providers: loaded.providers },
        Err(words) => Answer::Refused(words),
    };
    let mut stdout = io::stdout();
    stdout.write_all(load_command::line(mark, &answer).as_bytes())?;
    stdout.flush()?;
    Ok(ExitStatus::Success)
}
