//! `smoke --listen` and `smoke --connect`: one end of a transfer between two machines.

use anyhow::{Result, anyhow, bail};

use super::console::Console;
use super::transfer;
use crate::choice::backend::{self, Backend};
use crate::choice::rule::Rule;
use crate::cli::{End, MachinesArgs};
use crate::exit_status::ExitStatus;
use crate::report::Report;
use crate::report::smoke::{Failure, Smoke};
use crate::report::stage::Stage;
use crate::smoke::meeting::connect::connect;
use crate::smoke::meeting::connection::Connection;
use crate::smoke::meeting::listen::Listener;
use crate::smoke::meeting::terms::{self, Given};
use crate::smoke::meeting::token::{TOKEN_VARIABLE, Token};
use crate::smoke::plan::Plan;
use crate::smoke::plan::options::TransferOptions;
use crate::smoke::series::{self, Place, Series};
use crate::smoke::transfer as smoke_transfer;

/// Meets the other end, and runs what the two agree upon.
///
/// # Errors
/// Where this end could not even try: no token where one is needed, an address that cannot be had.
pub(super) fn run(
    place: &Place,
    options: &TransferOptions,
    machines: &MachinesArgs,
    end: &End,
    console: &Console,
    report: &mut Report,
) -> Result<ExitStatus> {
    if matches!(end, End::Listen(_)) && !options.peer_backends.is_empty() {
        bail!("--peer-backend is the connecting end's to say; the listening end names its own agent's with --backend");
    }
    let variable = place.variables.get(TOKEN_VARIABLE).map(Into::into);
    let (token, warning) = Token::find(machines.token_file.as_deref(), variable)?;
    if let Some(warning) = warning {
        console.log(&format!("warning: {warning}"));
    }
    let backends = transfer::backends(options, &Rule::default(), &place.variables);
    let series = Series::plan(place, options, &backends).map_err(|reason| anyhow!("{reason}"))?;
    let met = meet(end, token.as_ref(), options, console)?;
    console.progress("");
    let agreed = met.and_then(|mut connection| {
        let plans = agree(end, &mut connection, series.plans, options)?;
        Ok((connection, plans))
    });
    let (mut connection, plans) = match agreed {
        Ok(agreed) => agreed,
        Err(failure) => {
            let named = matches!(end, End::Connect(_)) || !options.backends.is_empty();
            report.add_smoke(not_met(named.then_some(&backends[..]), failure));
            return Ok(ExitStatus::Findings);
        }
    };
    let make = |plan: &Plan| one(plan, &mut connection, console);
    let passed = series::try_all(&plans, make, &mut |smoke| report.add_smoke(smoke));
    Ok(if passed { ExitStatus::Success } else { ExitStatus::Findings })
}

fn meet(
    end: &End,
    token: Option<&Token>,
    options: &TransferOptions,
    console: &Console,
) -> Result<Result<Connection, Failure>> {
    let limit = options.timeout;
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
            connect(address, token, limit, &mut |line| console.log(line))
        }
    }
}

fn agree(
    end: &End,
    connection: &mut Connection,
    plans: Vec<Plan>,
    options: &TransferOptions,
) -> Result<Vec<Plan>, Failure> {
    match (end, plans.first()) {
        (End::Listen(_), Some(template)) => {
            let given = Given {
                backends: backend::distinct(&options.backends),
                size: options.size,
                iterations: options.iterations,
                engine: options.engine,
            };
            terms::accept(connection, template, &given)
        }
        _ => terms::offer(connection, plans),
    }
}

fn one(plan: &Plan, connection: &mut Connection, console: &Console) -> Smoke {
    if connection.lost {
        let failure = Failure {
            stage: Stage::Handshake,
            message: "the other end was lost in the transfer before this one".into(),
            advice: "See what became of that one.".into(),
        };
        return not_met(Some(&plan.pair.initiator), failure);
    }
    let title = plan.pair.title();
    let smoke =
        smoke_transfer::run_between(plan, connection, &mut |stage| console.step(&format!("smoke {title}: {stage}")));
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
