//! `check`: show what `apply` would change.

use anyhow::Result;

use super::console::Console;
use super::process::Process;
use crate::cli::CheckArgs;
use crate::exit_status::ExitStatus;
use crate::patching::{self, Purpose};
use crate::report::Report;

/// Shows the diff and writes nothing.
pub(super) fn run(args: &CheckArgs, process: &Process) -> Result<ExitStatus> {
    let mut report = Report::new("check");
    let outcome = check(args, process, &mut report);
    Console::new(&process.output, false).finish(report, outcome)
}

fn check(args: &CheckArgs, process: &Process, report: &mut Report) -> Result<ExitStatus> {
    let rule = args.patch.rule()?;
    if patching::is_standard_input(&args.targets, args.files.selection())? {
        report.files.push(patching::plan_text(&patching::read_standard_input()?, &rule)?.0);
    } else {
        let planned = patching::plan(
            process.targets(&args.targets, args.files.selection()),
            &rule,
            Purpose::Look,
            &mut report.files,
        )?;
        report.files.extend(planned.reports());
    }
    Ok(if args.expect.is_met(report) { ExitStatus::Success } else { ExitStatus::Findings })
}
