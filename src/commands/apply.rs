//! `apply`: rewrite, show the diff, write, then run the smoke transfer.
#![forbid(unsafe_code)]

use std::path::Path;

use anyhow::{Result, bail};

use super::console::Console;
use super::patching::{self, Planned};
use super::transfer;
use crate::cli::{ApplyArgs, OutputFormat, SmokeWhen};
use crate::environment::install::{self, StagedChange};
use crate::exit_status::ExitStatus;
use crate::python::patch;
use crate::report::Report;
use crate::report::file::{FileReport, FileStatus};

/// Patches, then proves.
pub fn run(args: &ApplyArgs) -> Result<ExitStatus> {
    let mut report = Report::new("apply");
    let stdin = patching::is_standard_input(&args.targets);
    let console = Console::new(&args.output, matches!(stdin, Ok(true)));
    let outcome = args.patch.validate().and(stdin).and_then(|stdin| {
        if stdin { standard_input(args, &console, &mut report) } else { apply(args, &console, &mut report) }
    });
    console.finish(report, outcome)
}

fn standard_input(args: &ApplyArgs, console: &Console, report: &mut Report) -> Result<ExitStatus> {
    if args.output.output_format == OutputFormat::Json {
        bail!("with - standard output carries the rewritten source; leave --output-format json away, or use check -");
    }
    if args.smoke == SmokeWhen::Require {
        bail!("with - there is no environment to make a transfer in; leave --smoke require away");
    }
    let content = patching::read_standard_input()?;
    let path = Path::new("<stdin>");
    let plan = patch::plan(path, &content, &args.patch).map_err(|error| patching::located(path, &error))?;
    console.source(plan.patched.as_deref().unwrap_or(&content))?;
    let status = if plan.patched.is_some() { FileStatus::Patched } else { plan.status };
    report.files.push(FileReport {
        sites: plan.sites,
        notes: plan.notes,
        diff: plan.diff,
        ..FileReport::new(path, status)
    });
    Ok(ExitStatus::Success)
}

fn apply(args: &ApplyArgs, console: &Console, report: &mut Report) -> Result<ExitStatus> {
    let planned = patching::plan(&args.targets, &args.patch, report)?;
    transfer::validate(&args.transfer)?;
    // Everything lies ready beside what it replaces before the first file changes.
    let staged = planned.iter().map(stage).collect::<Result<Vec<StagedChange>>>()?;
    let mut environments = Vec::new();
    for (change, planned) in staged.into_iter().zip(planned) {
        let mut file = planned.report;
        file.details.extend(change.commit()?);
        if file.status == FileStatus::WouldPatch {
            file.status = FileStatus::Patched;
        }
        report.files.push(file);
        environments.push(planned.environment);
    }
    if args.smoke == SmokeWhen::Off {
        return Ok(ExitStatus::Success);
    }
    console.show_files(report)?;
    let mut status = ExitStatus::Success;
    for environment in environments {
        let variable = args.patch.env_var.as_str();
        let backends = transfer::backends(&args.transfer, variable, args.patch.default_backend, &args.patch.allow);
        let required = args.smoke == SmokeWhen::Require;
        status = status.max(transfer::run(&environment, &args.transfer, &backends, required, console, report));
    }
    Ok(status)
}

fn stage(planned: &Planned) -> Result<StagedChange> {
    match (&planned.changed, planned.report.status) {
        (Some(changed), _) => install::stage(&planned.module, &planned.content, changed),
        (None, FileStatus::AlreadyPatched) => install::stage_upkeep(&planned.module, &planned.content),
        (None, _) => Ok(StagedChange::nothing()),
    }
}
