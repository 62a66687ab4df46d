//! Looking for the listening end, which may start later.

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
use crate::smoke::plan::deadline::spoken;
use crate::smoke::plan::role::Role;

/// The pause between attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// One address may take so long to answer, where there are several.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How long the listening end may take to prove who it is: it may have others to look at.
const PATIENCE: Duration = Duration::from_secs(15);

/// Connects to the one end that has the token; `log` hears why that takes longer, when it does.
///
/// A failure in the inner result is one of the transfer: nobody there, or not the right one.
///
/// # Errors
/// Where the address is one of another machine and there is no token.
pub(crate) fn connect(
    address: &Address,
    token: Option<&Token>,
    limit: Duration,
    log: &mut dyn FnMut(&str),
) -> Result<Result<Connection, Failure>> {
    let until = Instant::now() + limit;
    let mut waiting = false;
    loop {
        let trouble = match address.resolve(until) {
            Ok(addresses) if token.is_none() && !addresses.iter().all(is_loopback) => bail!(
                "--connect {address} is another machine, and there is no token: name the same file with --token-file at both \
                 ends, or put the token into the environment variable {TOKEN_VARIABLE}"
            ),
            Ok(addresses) => match try_all(&addresses, until) {
                Ok(stream) => return Ok(greet(stream, address, token, until)),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if until.saturating_duration_since(Instant::now()) <= PAUSE {
            return Ok(Err(nobody(address, limit, &trouble)));
        }
        if !std::mem::replace(&mut waiting, true) {
            log(&format!("waiting for {address}: {trouble}"));
        }
        std::thread::sleep(PAUSE);
    }
}

fn try_all(addresses: &[SocketAddr], until: Instant) -> io::Result<TcpStream> {
    let mut trouble = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let left = until.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(1), ATTEMPT);
        match TcpStream::connect_timeout(address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => trouble = error,
        }
    }
    Err(trouble)
}

fn greet(stream: TcpStream, address: &Address, token: Option<&Token>, until: Instant) -> Result<Connection, Failure> {
    let until = until.min(Instant::now() + PATIENCE);
    let met = handshake::connecting(&mut Timed::new(&stream, until), token);
    met.and_then(|program| Ok(Connection::new(stream, Role::Initiator, program)?)).map_err(|refusal| {
        failure(format!("the one that listens at {address} is not the other end: {refusal}"), refusal.advice())
    })
}

fn nobody(address: &Address, limit: Duration, trouble: &io::Error) -> Failure {
    failure(
        format!("no connection to {address} within {}: {trouble}", spoken(limit)),
        "Start the other end with --listen, see that host and port are the same at both ends and that no firewall or \
         security group is between the two, and allow more with --timeout.",
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
    fn who_listens_later_is_found() {
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
    fn nobody_there_is_a_failure_at_the_deadline() {
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
        assert!(failure.message.contains("said too little"), "{failure:?}");
    }

    #[test]
    fn other_machines_need_a_token() {
        let error = attempt("192.0.2.1:7", 500).unwrap_err().to_string();
        assert!(error.contains("--token-file"), "{error}");
    }
}
