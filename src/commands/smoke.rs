//! `smoke`: the transfer alone.

use std::path::Path;

use anyhow::Result;

use super::console::Console;
use super::early_look;
use super::process::Process;
use super::transfer;
use crate::advice::interpreter;
use crate::cli::SmokeArgs;
use crate::environment::nixl;
use crate::environment::program::group;
use crate::environment::python::target::{self, Environment, Execution, Takes};
use crate::exit_status::ExitStatus;
use crate::report::Report;
use crate::report::smoke::SmokeStatus;
use crate::smoke::meeting::token::TOKEN_VARIABLE;
use crate::smoke::series::{Impossible, Series};
use crate::smoke::subject::Subject;
use crate::smoke::two_machines;

/// Runs the transfer with the environment's NIXL.
pub(super) fn run(args: &SmokeArgs, process: &Process) -> Result<ExitStatus> {
    let console = Console::new(&process.output, false);
    let mut report = Report::new("smoke");
    let outcome = smoke(args, process, &console, &mut report);
    console.finish(report, outcome)
}

fn smoke(args: &SmokeArgs, process: &Process, console: &Console, report: &mut Report) -> Result<ExitStatus> {
    let options = args.transfer.options()?;
    let plan = |environment: &Environment| {
        let subject = Subject::of(environment, &options.backends, &process.variables, true, &|_| None);
        let series = Series::plan(&transfer::place(environment, process), &options, &subject.backends)?;
        Ok::<_, Impossible>((subject, series))
    };
    let execution = if process.no_exec { Execution::Never } else { Execution::Start("") };
    // A transfer that cannot be tried at all is an error, not a failed transfer.
    let named = args.target.as_deref().and_then(|target| Some((target, nixl::of_target(target)?)));
    let (environment, (subject, series)) = match (&args.target, named) {
        (_, Some((target, nixl))) => {
            let subject = Subject::alone(&options, &process.variables);
            let series = Series::plan(&transfer::place_of(target, nixl, process), &options, &subject.backends)?;
            (None, (subject, series))
        }
        (Some(target), None) => {
            let (environment, planned) =
                early_look::resolve_and_look(target, &Takes::Nixl, execution, &process.variables, plan)?;
            (Some(environment), planned?)
        }
        (None, None) => {
            let look = |path: &Path| {
                early_look::resolve_and_look(path, &Takes::Sources, execution, &process.variables, |it| plan(it).ok())
            };
            let (environment, planned) = target::first_default("NIXL", &process.variables, look)?;
            (Some(environment), planned)
        }
    };
    if let Some(environment) = &environment {
        transfer::add_findings(environment, &subject, process, report);
        let broken = environment.not_started.as_ref().and_then(interpreter::finding);
        broken.into_iter().for_each(|finding| report.add_finding(finding));
    }
    let end = args.machines.end();
    let token = two_machines::TokenSource {
        file: args.machines.token_file.as_deref(),
        variable: process.variables.get(TOKEN_VARIABLE),
    };
    if let Some(refused) = subject.refused() {
        let reason = refused.failure.clone();
        report.add_smoke(refused);
        if let (Some(end), Some(reason)) = (end, reason) {
            group::while_waiting(|| two_machines::decline(&reason, &options, &end, token, console))?;
        }
        return Ok(ExitStatus::Findings);
    }
    let Some(end) = end else {
        return Ok(transfer::run(&series, &subject, true, console, report));
    };
    transfer::add_installation(&series, &subject, report);
    let mut settled = true;
    let add = &mut |smoke| {
        let smoke = subject.settle(smoke);
        settled &= smoke.status != SmokeStatus::Failed;
        report.add_smoke(smoke);
    };
    let passed = group::while_waiting(|| two_machines::run(series, &options, &end, token, console, add))?;
    Ok(if passed && settled { ExitStatus::Success } else { ExitStatus::Findings })
}
