//! `revert`: the original bytes again.
#![forbid(unsafe_code)]

use std::path::Path;

use anyhow::Result;

use super::console::Console;
use super::patching;
use crate::cli::RevertArgs;
use crate::environment::install::{self, StagedChange};
use crate::environment::target::{self, Environment};
use crate::exit_status::ExitStatus;
use crate::python::patch;
use crate::report::Report;
use crate::report::file::{FileReport, FileStatus};
use crate::source::diff;

/// Restores what `apply` changed.
pub fn run(args: &RevertArgs) -> Result<ExitStatus> {
    let mut report = Report::new("revert");
    let stdin = patching::is_standard_input(&args.targets);
    let console = Console::new(&args.output, matches!(stdin, Ok(true)));
    let outcome = stdin.and_then(|stdin| if stdin { standard_input(&console) } else { revert(args, &mut report) });
    console.finish(report, outcome)
}

fn standard_input(console: &Console) -> Result<ExitStatus> {
    let content = patching::read_standard_input()?;
    let original = patch::revert(&content).map_err(|error| patching::located(Path::new("<stdin>"), &error))?;
    console.source(&original)?;
    Ok(ExitStatus::Success)
}

fn revert(args: &RevertArgs, report: &mut Report) -> Result<ExitStatus> {
    let mut staged: Vec<(StagedChange, FileReport)> = Vec::new();
    for environment in patching::environments(&args.targets, "")? {
        staged.push(stage(&environment)?);
    }
    for (change, mut file) in staged {
        file.details.extend(change.commit()?);
        report.files.push(file);
    }
    Ok(ExitStatus::Success)
}

fn stage(environment: &Environment) -> Result<(StagedChange, FileReport)> {
    let module = target::require_module(environment)?;
    let content = patching::read(&module.path)?;
    let original = patch::revert(&content).map_err(|error| patching::located(&module.path, &error))?;
    let change = install::stage(&module, &content, &original)?;
    let mut file = patching::file_report(&module, FileStatus::Reverted, environment);
    file.diff = diff::unified(&patching::shown_path(&module.path), &content, &original);
    Ok((change, file))
}
