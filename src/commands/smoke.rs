//! `smoke`: the transfer alone.

use anyhow::{Result, anyhow};

use super::console::Console;
use super::process::Process;
use super::transfer;
use crate::choice::rule::Rule;
use crate::cli::SmokeArgs;
use crate::environment::python::target;
use crate::exit_status::ExitStatus;
use crate::report::Report;
use crate::smoke::{series, two_machines};

/// Runs the transfer with the environment's NIXL.
pub(super) fn run(args: &SmokeArgs, process: &Process) -> Result<ExitStatus> {
    let console = Console::new(&args.output, false);
    let mut report = Report::new("smoke");
    let outcome = smoke(args, process, &console, &mut report);
    console.finish(report, outcome)
}

fn smoke(args: &SmokeArgs, process: &Process, console: &Console, report: &mut Report) -> Result<ExitStatus> {
    let options = args.transfer.options()?;
    let environment = match &args.target {
        Some(target) => target::resolve(target, "", &process.variables)?,
        None => target::default_environment("", "NIXL", &process.variables, |environment| {
            series::usable(&transfer::place(environment, process), &options).is_ok()
        })?,
    };
    let place = transfer::place(&environment, process);
    // A transfer that cannot be tried at all is an error, not a failed transfer.
    series::usable(&place, &options).map_err(|reason| anyhow!("{reason}"))?;
    let Some(end) = args.machines.end() else {
        return Ok(transfer::run(&place, &options, &Rule::default(), true, console, report));
    };
    let token_file = args.machines.token_file.as_deref();
    let add = &mut |smoke| report.add_smoke(smoke);
    let passed = two_machines::run(&place, &options, &end, token_file, console, add)?;
    Ok(if passed { ExitStatus::Success } else { ExitStatus::Findings })
}
