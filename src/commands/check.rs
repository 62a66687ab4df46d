//! `check`: the dry run.
#![forbid(unsafe_code)]

use std::path::Path;

use anyhow::Result;

use super::console::Console;
use super::patching;
use crate::cli::CheckArgs;
use crate::exit_status::ExitStatus;
use crate::python::patch;
use crate::report::Report;
use crate::report::file::FileReport;

/// Shows what `apply` would change; writes nothing.
pub fn run(args: &CheckArgs) -> Result<ExitStatus> {
    let mut report = Report::new("check");
    let outcome = check(args, &mut report);
    Console::new(&args.output, false).finish(report, outcome)
}

fn check(args: &CheckArgs, report: &mut Report) -> Result<ExitStatus> {
    args.patch.validate()?;
    if patching::is_standard_input(&args.targets)? {
        report.files.push(standard_input(args)?);
    } else {
        let planned = patching::plan(&args.targets, &args.patch, report)?;
        report.files.extend(planned.into_iter().map(|planned| planned.report));
    }
    let changes = report.files.iter().any(|file| !file.diff.is_empty());
    Ok(if changes { ExitStatus::Findings } else { ExitStatus::Success })
}

fn standard_input(args: &CheckArgs) -> Result<FileReport> {
    let content = patching::read_standard_input()?;
    let path = Path::new("<stdin>");
    let plan = patch::plan(path, &content, &args.patch).map_err(|error| patching::located(path, &error))?;
    Ok(FileReport { sites: plan.sites, notes: plan.notes, diff: plan.diff, ..FileReport::new(path, plan.status) })
}
