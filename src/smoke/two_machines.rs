//! One end of the transfers between two machines: finds its peer, agrees with it, and runs what they agree on.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, bail};

use super::meeting::address::{Address, is_loopback};
use super::meeting::connect::connect;
use super::meeting::connection::{Connection, own_host};
use super::meeting::listen::Listener;
use super::meeting::message::Rejection;
use super::meeting::terms::{self, Given};
use super::meeting::token::Token;
use super::plan::Plan;
use super::plan::options::TransferOptions;
use super::series::{self, Series};
use super::transfer;
use crate::choice::backend::{self, Backend};
use crate::report::smoke::{Failure, Smoke};
use crate::report::stage::Stage;

/// Which end of a transfer between two machines this is, and where they meet.
#[derive(Clone, Debug)]
pub enum End {
    /// The target, which waits at this address.
    Listen(Address),
    /// The initiator, which connects to this address.
    Connect(Address),
}

/// Where the shared secret is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenSource<'a> {
    /// The file that the user named; it counts before the variable.
    pub file: Option<&'a Path>,
    /// The value of `NIXL_RETROFIT_TOKEN`.
    pub variable: Option<&'a OsStr>,
}

/// Where a run tells its user what it does.
pub(crate) trait Observer {
    /// What it does now.
    fn stage(&self, line: &str);
    /// What the user has to know now.
    fn log(&self, line: &str);
    /// The last stage is over.
    fn done(&self);
}

/// Finds the peer, and runs the transfers that both ends agree on; `report` takes each result. Returns whether none
/// failed.
///
/// # Errors
/// If this end cannot even try: no token where one is needed, or an address that it cannot use.
pub(crate) fn run(
    series: Series,
    options: &TransferOptions,
    end: &End,
    token: TokenSource<'_>,
    observer: &dyn Observer,
    report: &mut dyn FnMut(Smoke),
) -> Result<bool> {
    let peer = find_peer(options, end, token, observer)?;
    let agreed = peer.and_then(|mut connection| {
        let plans = agree(end, &mut connection, series.plans, options)?;
        Ok((connection, plans))
    });
    match agreed {
        Ok((mut connection, plans)) => {
            Ok(series::try_all(&plans, |plan| transfer(plan, &mut connection, observer), report))
        }
        Err(failure) => {
            // A listening end without `--backend` takes what the connecting one offers: it has no backends to report.
            let named = matches!(end, End::Connect(_)) || !options.backends.is_empty();
            report(not_begun(if named { &series.backends } else { &[] }, failure));
            Ok(false)
        }
    }
}

/// Finds the peer only to tell it why this end makes no transfer. Without that it would wait for its deadline.
///
/// # Errors
/// As of [`run`].
pub(crate) fn decline(
    reason: &Failure,
    options: &TransferOptions,
    end: &End,
    token: TokenSource<'_>,
    observer: &dyn Observer,
) -> Result<()> {
    observer.log(&format!("no transfer is possible here, and the peer will be told: {}", reason.message));
    let rejection = Rejection {
        reason: format!("no transfer is possible on {}: {}", own_host(), reason.message),
        advice: format!("on that machine: {}", reason.advice),
    };
    let untold = match find_peer(options, end, token, observer)? {
        Ok(mut connection) => {
            terms::decline(&mut connection, rejection, options.timeout).err().map(|error| error.to_string())
        }
        Err(failure) => Some(failure.message),
    };
    if let Some(untold) = untold {
        observer.log(&format!("warning: the peer was not told: {untold}"));
    }
    Ok(())
}

fn find_peer(
    options: &TransferOptions,
    end: &End,
    token: TokenSource<'_>,
    observer: &dyn Observer,
) -> Result<Result<Connection, Failure>> {
    if matches!(end, End::Listen(_)) && !options.peer_backends.is_empty() {
        bail!("the connecting end chooses `--peer-backend`\nhelp: name this end's backends with `--backend`");
    }
    let (token, warning) = Token::find(token.file, token.variable.map(Into::into), options.timeout)?;
    if let Some(warning) = warning {
        observer.log(&format!("warning: {warning}"));
    }
    let peer = meet(end, token.as_ref(), options, observer)?;
    observer.done();
    Ok(peer)
}

fn meet(
    end: &End,
    token: Option<&Token>,
    options: &TransferOptions,
    observer: &dyn Observer,
) -> Result<Result<Connection, Failure>> {
    let limit = options.timeout;
    match end {
        End::Listen(address) => {
            let listener = Listener::bind(address, token, limit)?;
            warn_of_weak(token, listener.address(), observer);
            observer.log(&format!("listening on {}", listener.address()));
            observer.stage("smoke: waiting for the peer");
            Ok(listener.wait(token, limit, &mut |line| observer.log(line)))
        }
        End::Connect(address) if address.port() == 0 => {
            bail!("`--connect {address}` names no port\nhelp: name the port on which the other end listens")
        }
        End::Connect(address) => {
            observer.stage(&format!("smoke: connecting to {address}"));
            let met = connect(address, token, limit, &mut |line| observer.log(line))?;
            if let Ok(connection) = &met {
                warn_of_weak(token, connection.peer.address, observer);
            }
            Ok(met)
        }
    }
}

/// Warns of a token that can be guessed where other machines may try.
fn warn_of_weak(token: Option<&Token>, address: SocketAddr, observer: &dyn Observer) {
    let weakness = token.filter(|_| !is_loopback(&address)).and_then(Token::weakness);
    if let Some(weakness) = weakness {
        observer.log(&format!("warning: {weakness}"));
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

fn transfer(plan: &Plan, connection: &mut Connection, observer: &dyn Observer) -> Smoke {
    if connection.lost {
        let failure = Failure {
            stage: Stage::Handshake,
            message: "the peer was lost during the transfer before this one".into(),
            advice: "see why that one failed".into(),
        };
        return not_begun(&plan.pair.initiator, failure);
    }
    let title = plan.pair.title();
    let smoke =
        transfer::run_between(plan, connection, &mut |stage| observer.stage(&format!("smoke {title}: {stage}")));
    observer.done();
    smoke
}

/// A transfer that failed before it began.
fn not_begun(backends: &[Backend], failure: Failure) -> Smoke {
    let mut smoke = Smoke::nothing_observed(&backend::list(backends));
    smoke.backend = smoke.backend.filter(|names| !names.is_empty());
    smoke.failure = Some(failure);
    smoke
}
