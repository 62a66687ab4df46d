//! `check`: show what `apply` would change.

use anyhow::Result;

use super::console::Console;
use super::process::Process;
use crate::cli::CheckArgs;
use crate::exit_status::ExitStatus;
use crate::patching::{self, Purpose, Selection};
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
        let content = patching::read_standard_input()?;
        report.files.push(patching::plan_text(&content, &rule, args.patch.known_only)?.0);
    } else {
        let selection = Selection { known_only: args.patch.known_only, ..args.files.selection() };
        let planned =
            patching::plan(process.targets(&args.targets, selection), &rule, Purpose::Look, &mut report.files)?;
        report.files.extend(planned.reports());
    }
    Ok(if args.expect.is_met(report) { ExitStatus::Success } else { ExitStatus::Findings })
}
