//! `apply`: rewrite, show the diff, write, then run the smoke transfer.

use std::path::Path;

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
use crate::patching::{self, Purpose, Selection};
use crate::report::Report;
use crate::report::file::{FileReport, FileStatus};
use crate::smoke::series::{self, Series};
use crate::smoke::subject::Subject;

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
    let (mut file, patched) = patching::plan_text(&content, &rule, args.patch.known_only)?;
    if patched.is_some() {
        file.status = FileStatus::Patched;
    }
    console.source(&patched.unwrap_or(content))?;
    report.files.push(file);
    Ok(ExitStatus::Success)
}

/// Says what the compiled side, which stays as it is, means for the variable.
fn describe_compiled(environment: &Environment, rule: &Rule, report: &mut Report) {
    if let (Some(library), Some(file)) = (compiled::find(&environment.folders()), report.files.first_mut()) {
        file.details.push(media_loader::describe(&library, rule));
    }
}

fn apply(args: &ApplyArgs, process: &Process, console: &Console, report: &mut Report) -> Result<ExitStatus> {
    if args.smoke == SmokeWhen::Require && patching::are_rust(&args.targets) {
        bail!("Rust sources alone are no environment to make a transfer in\nhelp: drop `--smoke require`");
    }
    let rule = args.patch.rule()?;
    let selection = Selection { known_only: args.patch.known_only, ..args.files.selection() };
    let planned = patching::plan(process.targets(&args.targets, selection), &rule, Purpose::Change, &mut report.files)?;
    let options = args.transfer.options()?;
    let environments = patching::commit(planned, &mut report.files)?;
    let required = args.smoke == SmokeWhen::Require;
    let has_the_rule = |file: &&FileReport| matches!(file.status, FileStatus::Patched | FileStatus::AlreadyPatched);
    let patched = |path: &Path| {
        let mut files = report.files.iter().filter(has_the_rule);
        files.find(|file| file.path == path).map(|_| rule.clone())
    };
    let subject = |environment| Subject::of(environment, &options.backends, &process.variables, required, &patched);
    let subjects: Vec<Subject> = environments.iter().map(subject).collect();
    for (environment, subject) in environments.iter().zip(&subjects) {
        transfer::add_findings(environment, subject, process, report);
        if process.output.verbose > 0 {
            describe_compiled(environment, &subject.rule, report);
        }
    }
    if args.smoke == SmokeWhen::Off {
        return Ok(ExitStatus::Success);
    }
    console.show_files(report)?;
    if environments.is_empty() {
        let backends = series::backends(&options, &rule, &process.variables);
        report.add_smoke(series::skipped(&backends, "Rust sources: nothing is built here"));
    }
    let runs = environments.iter().zip(&subjects).map(|(environment, subject)| {
        if let Some(refused) = subject.refused() {
            report.add_smoke(refused);
            return ExitStatus::Findings;
        }
        match Series::plan(&transfer::place(environment, process), &options, &subject.backends) {
            Ok(series) => transfer::run(&series, subject, required, console, report),
            Err(reason) => {
                report.add_smoke(series::not_made(&subject.backends, reason, required));
                if required { ExitStatus::Findings } else { ExitStatus::Success }
            }
        }
    });
    Ok(runs.max().unwrap_or(ExitStatus::Success))
}
