//! `smoke`: the transfer alone.
#![forbid(unsafe_code)]

use anyhow::{Result, anyhow};

use super::console::Console;
use super::{transfer, two_machines};
use crate::backend::Backend;
use crate::cli::{EnvVar, SmokeArgs, TransferArgs};
use crate::environment::target::{self, Environment};
use crate::exit_status::ExitStatus;
use crate::report::Report;

/// Runs the transfer with the environment's NIXL.
pub fn run(args: &SmokeArgs) -> Result<ExitStatus> {
    let console = Console::new(&args.output, false);
    let mut report = Report::new("smoke");
    let outcome = smoke(args, &console, &mut report);
    console.finish(report, outcome)
}

fn smoke(args: &SmokeArgs, console: &Console, report: &mut Report) -> Result<ExitStatus> {
    transfer::validate(&args.transfer)?;
    let options = &args.transfer;
    let environment = match &args.target {
        Some(target) => target::resolve(target, "")?,
        None => target::default_environment("", "NIXL", |environment| transfer::usable(environment, options).is_ok())?,
    };
    can_run(&environment, options)?;
    if let Some(end) = args.machines.end() {
        return two_machines::run(&environment, args, &end, console, report);
    }
    let backends = transfer::backends(&args.transfer, EnvVar::default().as_str(), Backend::Ucx, &Backend::ALL);
    Ok(transfer::run(&environment, &args.transfer, &backends, true, console, report))
}

/// A transfer that cannot be tried at all is no failed one.
fn can_run(environment: &Environment, args: &TransferArgs) -> Result<()> {
    transfer::usable(environment, args).map(drop).map_err(|reason| anyhow!("{reason}"))
}
