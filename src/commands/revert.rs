//! `revert`: restore the original bytes.

use anyhow::Result;

use super::console::Console;
use super::process::Process;
use crate::cli::RevertArgs;
use crate::exit_status::ExitStatus;
use crate::patching;
use crate::report::Report;

/// Restores what `apply` changed.
pub(super) fn run(args: &RevertArgs, process: &Process) -> Result<ExitStatus> {
    let mut report = Report::new("revert");
    let stdin = patching::is_standard_input(&args.targets, args.files.selection());
    let console = Console::new(&process.output, matches!(stdin, Ok(true)));
    let outcome = stdin.and_then(|stdin| {
        if stdin {
            console.sources_alone()?;
            console.source(&patching::revert_text(&patching::read_standard_input()?)?)?;
        } else {
            patching::revert(process.targets(&args.targets, args.files.selection()), &mut report.files)?;
        }
        Ok(ExitStatus::Success)
    });
    console.finish(report, outcome)
}
