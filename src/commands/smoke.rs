//! `smoke`: the transfer alone.

use anyhow::Result;

use super::console::Console;
use super::process::Process;
use super::transfer;
use crate::advice::media_loader;
use crate::choice::rule::Rule;
use crate::cli::SmokeArgs;
use crate::environment::python::target::{self, Environment, Execution};
use crate::exit_status::ExitStatus;
use crate::report::Report;
use crate::smoke::meeting::token::TOKEN_VARIABLE;
use crate::smoke::series::{self, Series};
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
    let backends = series::backends(&options, &Rule::default(), &process.variables);
    let plan = |environment: &Environment| Series::plan(&transfer::place(environment, process), &options, &backends);
    let execution = if process.no_exec { Execution::Never } else { Execution::Start("") };
    // A transfer that cannot be tried at all is an error, not a failed transfer.
    let (environment, series) = match &args.target {
        Some(target) => {
            let environment = target::resolve(target, execution, &process.variables)?;
            let series = plan(&environment)?;
            (environment, series)
        }
        None => target::default_environment(execution, "NIXL", &process.variables, |found| plan(found).ok())?,
    };
    let finding = media_loader::finding(&environment.folders(), &Rule::default(), &process.variables);
    finding.into_iter().for_each(|finding| report.add_finding(finding));
    let Some(end) = args.machines.end() else {
        return Ok(transfer::run(&series, true, console, report));
    };
    let token = two_machines::TokenSource {
        file: args.machines.token_file.as_deref(),
        variable: process.variables.get(TOKEN_VARIABLE),
    };
    let add = &mut |smoke| report.add_smoke(smoke);
    let passed = two_machines::run(series, &options, &end, token, console, add)?;
    Ok(if passed { ExitStatus::Success } else { ExitStatus::Findings })
}
