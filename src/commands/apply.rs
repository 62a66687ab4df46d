//! `apply`: rewrite, show the diff, write, then run the smoke transfer.

use anyhow::{Result, bail};

use super::console::Console;
use super::process::Process;
use super::transfer;
use crate::advice::media_loader;
use crate::choice::rule::Rule;
use crate::cli::{ApplyArgs, SmokeWhen};
use crate::environment::media_loader as compiled;
use crate::environment::python::target::Environment;
use crate::exit_status::ExitStatus;
use crate::patching::{self, Purpose};
use crate::report::Report;
use crate::report::file::FileStatus;
use crate::smoke::series::{self, Series};

/// Patches the targets, then proves them.
pub(super) fn run(args: &ApplyArgs, process: &Process) -> Result<ExitStatus> {
    let mut report = Report::new("apply");
    let stdin = patching::is_standard_input(&args.targets, args.files.selection());
    let console = Console::new(&process.output, matches!(stdin, Ok(true)));
    let outcome = stdin.and_then(|stdin| {
        if stdin { standard_input(args, &console, &mut report) } else { apply(args, process, &console, &mut report) }
    });
    console.finish(report, outcome)
}

fn standard_input(args: &ApplyArgs, console: &Console, report: &mut Report) -> Result<ExitStatus> {
    console.sources_alone()?;
    if args.smoke == SmokeWhen::Require {
        bail!("with `-`, there is no environment to make a transfer in\nhelp: drop `--smoke require`");
    }
    let rule = args.patch.rule()?;
    let content = patching::read_standard_input()?;
    let (mut file, patched) = patching::plan_text(&content, &rule)?;
    if patched.is_some() {
        file.status = FileStatus::Patched;
    }
    console.source(&patched.unwrap_or(content))?;
    report.files.push(file);
    Ok(ExitStatus::Success)
}

/// Says what the compiled side, which stays as it is, means for the variable.
fn advise(environment: &Environment, rule: &Rule, process: &Process, report: &mut Report) {
    let folders = environment.folders();
    media_loader::finding(&folders, rule, &process.variables)
        .into_iter()
        .for_each(|finding| report.add_finding(finding));
    if process.output.verbose == 0 {
        return;
    }
    if let (Some(library), Some(file)) = (compiled::find(&folders), report.files.first_mut()) {
        file.details.push(media_loader::describe(&library, rule));
    }
}

fn apply(args: &ApplyArgs, process: &Process, console: &Console, report: &mut Report) -> Result<ExitStatus> {
    if args.smoke == SmokeWhen::Require && patching::are_rust(&args.targets) {
        bail!("Rust sources alone are no environment to make a transfer in\nhelp: drop `--smoke require`");
    }
    let rule = args.patch.rule()?;
    let planned = patching::plan(
        process.targets(&args.targets, args.files.selection()),
        &rule,
        Purpose::Change,
        &mut report.files,
    )?;
    let options = args.transfer.options()?;
    let environments = patching::commit(planned, &mut report.files)?;
    for environment in &environments {
        advise(environment, &rule, process, report);
    }
    if args.smoke == SmokeWhen::Off {
        return Ok(ExitStatus::Success);
    }
    console.show_files(report)?;
    let required = args.smoke == SmokeWhen::Require;
    let backends = series::backends(&options, &rule, &process.variables);
    if environments.is_empty() {
        report.add_smoke(series::skipped(&backends, "Rust sources: nothing is built here"));
    }
    let runs = environments.iter().map(|environment| {
        match Series::plan(&transfer::place(environment, process), &options, &backends) {
            Ok(series) => transfer::run(&series, required, console, report),
            Err(reason) => {
                report.add_smoke(series::not_made(&backends, reason, required));
                if required { ExitStatus::Findings } else { ExitStatus::Success }
            }
        }
    });
    Ok(runs.max().unwrap_or(ExitStatus::Success))
}
