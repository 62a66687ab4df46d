//! Waiting for the peer.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::address::{Address, is_loopback};
use super::connection::Connection;
use super::failure::failure;
use super::handshake::{self, Refusal};
use super::timed::Timed;
use super::token::{TOKEN_VARIABLE, Token};
use crate::report::smoke::Failure;
use crate::smoke::plan::deadline::spoken;
use crate::smoke::plan::role::Role;

/// How long one peer may take to prove who it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many peers may be doing that at a time; the others wait in the system's queue.
const MOST: usize = 64;
/// How often to look whether one has.
const TICK: Duration = Duration::from_millis(20);
/// So many refused peers are named in a report.
const NAMED: usize = 8;

/// The listening end, before its peer has come.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Begins to listen; `limit` is the resolver's.
    ///
    /// # Errors
    /// Where the address cannot be had, or others than this machine could connect and there is no token.
    pub(crate) fn bind(address: &Address, token: Option<&Token>, limit: Duration) -> Result<Listener> {
        let name = || format!("--listen {address}");
        let resolved = address.resolve(Instant::now() + limit).with_context(name)?;
        if token.is_none() && !resolved.iter().all(is_loopback) {
            bail!(
                "--listen {address} would let every machine that reaches it take part, and there is no token: put one into a \
                 file (openssl rand -hex 32) and name it with --token-file at both ends, or put it into the environment \
                 variable {TOKEN_VARIABLE}; without one, listen on 127.0.0.1"
            );
        }
        let socket = TcpListener::bind(&resolved[..]).with_context(name)?;
        socket.set_nonblocking(true).with_context(name)?;
        let address = socket.local_addr().with_context(name)?;
        Ok(Listener { socket, address })
    }

    /// Where it really listens: with the port that the system has chosen, if it was to choose one.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the one peer that has the token. The others are refused, in words to `log`, and hinder nobody.
    ///
    /// # Errors
    /// Where nobody has come in time.
    pub(crate) fn wait(
        self,
        token: Option<&Token>,
        limit: Duration,
        log: &mut dyn FnMut(&str),
    ) -> Result<Connection, Failure> {
        let until = Instant::now() + limit;
        let (sender, arrivals) = mpsc::channel();
        let mut door = Door { arrivals, refused: Refused::default(), pending: 0 };
        let taken = Arc::new(AtomicBool::new(false));
        loop {
            if let Some(connection) = door.look(log) {
                return Ok(connection);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(nobody(self.address, limit, &door.refused));
            }
            if door.pending == MOST {
                std::thread::sleep(TICK);
                continue;
            }
            self.rest(left.min(TICK));
            match self.socket.accept() {
                Ok((stream, address)) => {
                    door.pending += usize::from(examine(stream, address, token, until, &taken, &sender).is_ok());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Too many open files, for example: somebody still knocks, and cannot be let in yet.
                Err(_) => std::thread::sleep(TICK),
            }
        }
    }

    /// Until somebody knocks, but not longer than that.
    fn rest(&self, limit: Duration) {
        let mut descriptors = [PollFd::new(&self.socket, PollFlags::IN)];
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        let _ = rustix::event::poll(&mut descriptors, Some(&limit));
    }
}

/// What became of those that have connected.
struct Door {
    arrivals: Receiver<(SocketAddr, Result<Connection, Refusal>)>,
    refused: Refused,
    pending: usize,
}

/// Those that were refused: how many, and the first of them by name.
#[derive(Default)]
struct Refused {
    named: Vec<(SocketAddr, String)>,
    count: usize,
}

impl Refused {
    fn add(&mut self, address: SocketAddr, refusal: &Refusal, log: &mut dyn FnMut(&str)) {
        self.count += 1;
        if self.count <= NAMED {
            log(&format!("refused {address}: {refusal}"));
            self.named.push((address, refusal.to_string()));
        }
        if self.count == NAMED + 1 {
            log("refused another one; no more of them are named");
        }
    }
}

impl Door {
    fn look(&mut self, log: &mut dyn FnMut(&str)) -> Option<Connection> {
        while let Ok((address, result)) = self.arrivals.try_recv() {
            self.pending -= 1;
            match result {
                Ok(connection) => return Some(connection),
                Err(refusal) => self.refused.add(address, &refusal, log),
            }
        }
        None
    }
}

/// Sees who that is, in a thread of its own: one that says nothing must not keep the right one out.
fn examine(
    stream: TcpStream,
    address: SocketAddr,
    token: Option<&Token>,
    until: Instant,
    taken: &Arc<AtomicBool>,
    arrivals: &Sender<(SocketAddr, Result<Connection, Refusal>)>,
) -> io::Result<()> {
    let until = until.min(Instant::now() + PATIENCE);
    let (token, taken, arrivals) = (token.cloned(), taken.clone(), arrivals.clone());
    std::thread::Builder::new().name("smoke-handshake".into()).spawn(move || {
        let result = greet(stream, token.as_ref(), until, &taken);
        // Where nobody listens any more, the right one has come.
        let _ = arrivals.send((address, result));
    })?;
    Ok(())
}

fn greet(stream: TcpStream, token: Option<&Token>, until: Instant, taken: &AtomicBool) -> Result<Connection, Refusal> {
    stream.set_nonblocking(false)?;
    let mut claimed = false;
    let met = handshake::listening(&mut Timed::new(&stream, until), token, || {
        claimed = !taken.swap(true, Ordering::SeqCst);
        claimed
    });
    let connection = met.and_then(|program| Ok(Connection::new(stream, Role::Target, program)?));
    if claimed && connection.is_err() {
        taken.store(false, Ordering::SeqCst);
    }
    connection
}

fn nobody(address: SocketAddr, limit: Duration, refused: &Refused) -> Failure {
    let mut message = format!("nobody connected to {address} within {}", spoken(limit));
    if refused.count == 0 {
        return failure(
            message,
            "Start the other end with --connect and this address, allow more with --timeout, and see that no firewall or \
             security group is between the two.",
        );
    }
    let (count, peers) = (refused.count, if refused.count == 1 { "peer was" } else { "peers were" });
    message = message.replace("nobody connected", "nobody with the right to it connected");
    message.push_str(&format!("; {count} {peers} refused:"));
    for (address, reason) in &refused.named {
        message.push_str(&format!("\n  {address}: {reason}"));
    }
    failure(message, "Give both ends the same token and the same nixl-retrofit, or find out who else connects there.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::stage::Stage;
    use std::io::{Read, Write};

    fn token(text: &str) -> Option<Token> {
        Token::find(None, Some(text.into())).unwrap().0
    }

    fn listener(text: Option<&str>) -> Listener {
        Listener::bind(&"127.0.0.1:0".parse().unwrap(), text.and_then(token).as_ref(), PATIENCE).unwrap()
    }

    fn come(address: SocketAddr, text: &str) -> Result<(), Refusal> {
        let stream = TcpStream::connect(address).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        handshake::connecting(&mut Timed::new(&stream, until), token(text).as_ref()).map(drop)
    }

    #[test]
    fn strangers_and_silent_ones_do_not_keep_the_right_one_out() {
        let listener = listener(Some("secret"));
        let address = listener.address();
        let silent: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut stranger = TcpStream::connect(address).unwrap();
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let peer = std::thread::spawn(move || {
            // Until it is refused: who comes after the right one has is named nowhere.
            let _ = stranger.read_to_end(&mut Vec::new());
            assert!(matches!(come(address, "other"), Err(Refusal::WrongToken)));
            // The thread that has refused it says so a moment after it has hung up.
            std::thread::sleep(Duration::from_secs(1));
            come(address, "secret").unwrap();
        });
        let mut refused: Vec<String> = Vec::new();
        let begin = Instant::now();
        let met =
            listener.wait(token("secret").as_ref(), Duration::from_secs(20), &mut |line| refused.push(line.into()));
        assert!(met.is_ok() && begin.elapsed() < PATIENCE, "{met:?} {:?}", begin.elapsed());
        peer.join().unwrap();
        drop(silent);
        let refused: String = refused.concat();
        assert!(refused.contains("no nixl-retrofit") && refused.contains("wrong token"), "{refused}");
    }

    #[test]
    fn whom_nobody_let_in_is_named() {
        let listener = listener(Some("secret"));
        let address = listener.address();
        let peer = std::thread::spawn(move || come(address, "other"));
        let failure = listener.wait(token("secret").as_ref(), Duration::from_millis(500), &mut |_| {}).unwrap_err();
        assert!(peer.join().unwrap().is_err());
        assert_eq!(failure.stage, Stage::Handshake);
        for words in ["within 500 ms", "1 peer was refused", "127.0.0.1:", "wrong token"] {
            assert!(failure.message.contains(words), "{words}: {}", failure.message);
        }
    }

    #[test]
    fn without_a_token_only_this_machine_is_listened_to() {
        for open in ["0.0.0.0:0", "[::]:0"] {
            let error = Listener::bind(&open.parse().unwrap(), None, PATIENCE).err().expect("refused").to_string();
            assert!(error.contains("--token-file") && error.contains(TOKEN_VARIABLE), "{error}");
        }
        assert!(Listener::bind(&"0.0.0.0:0".parse().unwrap(), token("secret").as_ref(), PATIENCE).is_ok());
    }
}
