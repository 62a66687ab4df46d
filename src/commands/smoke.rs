//! `smoke`: the transfer alone.

use anyhow::{Result, anyhow};

use super::console::Console;
use super::process::Process;
use super::{transfer, two_machines};
use crate::choice::rule::Rule;
use crate::cli::SmokeArgs;
use crate::environment::python::target;
use crate::exit_status::ExitStatus;
use crate::report::Report;
use crate::smoke::series;

/// Runs the transfer with the environment's NIXL.
pub(super) fn run(args: &SmokeArgs, process: &Process) -> Result<ExitStatus> {
    let console = Console::new(&args.output, &process.variables, false);
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
    // A transfer that cannot be tried at all is no failed one.
    series::usable(&place, &options).map_err(|reason| anyhow!("{reason}"))?;
    if let Some(end) = args.machines.end() {
        return two_machines::run(&place, &options, &args.machines, &end, console, report);
    }
    Ok(transfer::run(&place, &options, &Rule::default(), true, console, report))
}
