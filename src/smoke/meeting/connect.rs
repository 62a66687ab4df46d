//! Connecting to the listening side, which may start later.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::address::{Address, is_loopback};
use super::connection::Connection;
use super::failure::failure;
use super::handshake;
use super::timed::Timed;
use super::token::{TOKEN_VARIABLE, Token};
use crate::report::smoke::Failure;
use crate::smoke::plan::deadline;
use crate::smoke::plan::role::Role;

/// The pause between attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// Limit for one address, so that one that does not answer leaves time for the others.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit for the handshake: the listening side may be busy with other peers.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// Connects to the listening side, which must have the token; `log` gets the reason for the first retry.
///
/// A failure in the inner result is one of the transfer: no listener, or not an authenticated one.
///
/// # Errors
/// If the address is not a loopback address and there is no token.
pub(crate) fn connect(
    address: &Address,
    token: Option<&Token>,
    limit: Duration,
    log: &mut dyn FnMut(&str),
) -> Result<Result<Connection, Failure>> {
    let until = Instant::now() + limit;
    let mut waiting = false;
    loop {
        let error = match address.resolve(until) {
            Ok(addresses) if token.is_none() && !addresses.iter().all(is_loopback) => bail!(
                "`--connect {address}` leads to another machine, and there is no token\nhelp: name the same file with \
                 `--token-file` on both sides, or put the token into the environment variable `{TOKEN_VARIABLE}`"
            ),
            Ok(addresses) => match try_all(&addresses, until) {
                Ok(stream) => return Ok(authenticate(stream, address, token, until)),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if until.saturating_duration_since(Instant::now()) <= PAUSE {
            return Ok(Err(no_listener(address, limit, &error)));
        }
        if !std::mem::replace(&mut waiting, true) {
            log(&format!("waiting for {address}: {error}"));
        }
        std::thread::sleep(PAUSE);
    }
}

fn try_all(addresses: &[SocketAddr], until: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let left = until.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(1), ATTEMPT_TIMEOUT);
        match TcpStream::connect_timeout(address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn authenticate(
    stream: TcpStream,
    address: &Address,
    token: Option<&Token>,
    until: Instant,
) -> Result<Connection, Failure> {
    let until = until.min(Instant::now() + HANDSHAKE_TIMEOUT);
    let met = handshake::connecting(&mut Timed::new(&stream, until), token);
    met.and_then(|program| Ok(Connection::new(stream, Role::Initiator, program)?))
        .map_err(|refusal| failure(format!("handshake with {address} failed: {refusal}"), refusal.advice()))
}

fn no_listener(address: &Address, limit: Duration, error: &io::Error) -> Failure {
    failure(
        format!("no connection to {address} within {}: {error}", deadline::text(limit)),
        "start the other side with `--listen`, check that host and port are the same on both sides and that no firewall or \
         security group is in between, and allow more time with `--timeout`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn attempt(address: &str, milliseconds: u64) -> Result<Result<Connection, Failure>> {
        connect(&address.parse().unwrap(), None, Duration::from_millis(milliseconds), &mut |_| {})
    }

    #[test]
    fn a_listener_that_starts_later_is_found() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            let (stream, _) = TcpListener::bind(free).unwrap().accept().unwrap();
            let until = Instant::now() + Duration::from_secs(5);
            handshake::listening(&mut Timed::new(&stream, until), None, || true).unwrap();
        });
        let mut lines = Vec::new();
        let address = free.to_string().parse().unwrap();
        let met = connect(&address, None, Duration::from_secs(20), &mut |line| lines.push(line.to_string())).unwrap();
        assert!(met.is_ok(), "{met:?}");
        assert_eq!(lines.len(), 1, "{lines:?}");
        late.join().unwrap();
    }

    #[test]
    fn no_listener_is_a_failure_at_the_deadline() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let begin = Instant::now();
        let failure = attempt(&free.to_string(), 600).unwrap().unwrap_err();
        assert!(failure.message.contains("within 600 ms") && failure.message.contains("refused"), "{failure:?}");
        assert!(begin.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn a_listener_that_never_answers_is_a_failure_at_the_deadline() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let failure = attempt(&silent.local_addr().unwrap().to_string(), 500).unwrap().unwrap_err();
        assert!(failure.message.contains("it did not complete the handshake in time"), "{failure:?}");
    }

    #[test]
    fn other_machines_need_a_token() {
        let error = attempt("192.0.2.1:7", 500).unwrap_err().to_string();
        assert!(error.contains("--token-file"), "{error}");
    }
}
