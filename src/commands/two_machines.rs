//! `smoke --listen` and `smoke --connect`: one end of a transfer between two machines.
#![forbid(unsafe_code)]

use std::env;

use anyhow::{Result, anyhow, bail};

use super::console::Console;
use super::transfer;
use crate::backend::{self, Backend};
use crate::cli::{End, EnvVar, SmokeArgs};
use crate::environment::target::Environment;
use crate::exit_status::ExitStatus;
use crate::report::{Failure, Report, Smoke};
use crate::smoke::{self, Connection, Given, Listener, Plan, TOKEN_VARIABLE, Token};

/// Meets the other end, and runs what the two agree upon.
///
/// # Errors
/// Where this end could not even try: no token where one is needed, an address that cannot be had.
pub fn run(
    environment: &Environment,
    args: &SmokeArgs,
    end: &End,
    console: &Console,
    report: &mut Report,
) -> Result<ExitStatus> {
    if matches!(end, End::Listen(_)) && !args.transfer.peer_backend.is_empty() {
        bail!("--peer-backend is the connecting end's to say; the listening end names its own agent's with --backend");
    }
    let (token, warning) = Token::find(args.machines.token_file.as_deref(), env::var_os(TOKEN_VARIABLE))?;
    if let Some(warning) = warning {
        console.log(&format!("warning: {warning}"));
    }
    let nixl = transfer::usable(environment, &args.transfer).map_err(|reason| anyhow!("{reason}"))?;
    let backends = transfer::backends(&args.transfer, EnvVar::default().as_str(), Backend::Ucx, &Backend::ALL);
    let trials = transfer::trials(&backends, &args.transfer.peer_backend).into_iter();
    let plans: Vec<Plan> = trials.map(|trial| transfer::plan(environment, &nixl, &args.transfer, trial)).collect();
    let met = meet(end, token.as_ref(), args, console)?;
    console.progress("");
    let agreed = met.and_then(|mut connection| {
        let plans = agree(end, &mut connection, plans, args)?;
        Ok((connection, plans))
    });
    let (mut connection, plans) = match agreed {
        Ok(agreed) => agreed,
        Err(failure) => {
            let named = matches!(end, End::Connect(_)) || !args.transfer.backend.is_empty();
            report.add_smoke(not_met(named.then_some(&backends[..]), failure));
            return Ok(ExitStatus::Findings);
        }
    };
    Ok(transfer::try_all(plans, report, |plan| one(plan, &mut connection, console)))
}

fn meet(end: &End, token: Option<&Token>, args: &SmokeArgs, console: &Console) -> Result<Result<Connection, Failure>> {
    let limit = args.transfer.timeout.0;
    match end {
        End::Listen(address) => {
            let listener = Listener::bind(address, token, limit)?;
            console.log(&format!("listening on {}", listener.address()));
            console.progress("smoke: waiting for the other end");
            Ok(listener.wait(token, limit, &mut |line| console.log(line)))
        }
        End::Connect(address) if address.port() == 0 => {
            bail!("--connect {address}: name the port that the other end listens on")
        }
        End::Connect(address) => {
            console.progress(&format!("smoke: connecting to {address}"));
            smoke::connect(address, token, limit, &mut |line| console.log(line))
        }
    }
}

fn agree(end: &End, connection: &mut Connection, plans: Vec<Plan>, args: &SmokeArgs) -> Result<Vec<Plan>, Failure> {
    match (end, plans.first()) {
        (End::Listen(_), Some(template)) => {
            let given = Given {
                backends: backend::distinct(&args.transfer.backend),
                size: args.transfer.size.map(|size| size.0),
                iterations: args.transfer.iterations,
            };
            smoke::accept(connection, template, &given)
        }
        _ => smoke::offer(connection, plans),
    }
}

fn one(plan: &Plan, connection: &mut Connection, console: &Console) -> Smoke {
    if connection.lost {
        let failure = Failure {
            stage: "handshake".into(),
            message: "the other end was lost in the transfer before this one".into(),
            advice: "See what became of that one.".into(),
        };
        return not_met(Some(&plan.pair.initiator), failure);
    }
    let title = plan.pair.title();
    let smoke = smoke::run_between(plan, connection, &mut |stage| console.step(&format!("smoke {title}: {stage}")));
    console.progress("");
    smoke
}

/// A transfer that has failed before it began.
fn not_met(backends: Option<&[Backend]>, failure: Failure) -> Smoke {
    let mut smoke = Smoke::nothing_observed(&backend::list(backends.unwrap_or_default()));
    smoke.backend = smoke.backend.filter(|names| !names.is_empty());
    smoke.failure = Some(failure);
    smoke
}
