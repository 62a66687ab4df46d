//! Listening for the peer.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
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
use crate::smoke::plan::deadline;
use crate::smoke::plan::role::Role;

/// Limit for one peer's handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of concurrent handshakes; the oldest one gives way to a new peer.
const MAX_PENDING: usize = 256;
/// How old a handshake must be to give way: the right peer's takes two round trips.
const MIN_AGE: Duration = Duration::from_millis(250);
/// How often to check for finished handshakes.
const TICK: Duration = Duration::from_millis(20);
/// Maximum number of refused peers that are named in a report.
const MAX_NAMED: usize = 8;

/// The listening side before its peer has come.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Starts to listen; `limit` is the resolver's.
    ///
    /// # Errors
    /// If the address cannot be bound, or is not a loopback address and there is no token.
    pub(crate) fn bind(address: &Address, token: Option<&Token>, limit: Duration) -> Result<Listener> {
        let name = || format!("`--listen {address}`");
        let resolved = address.resolve(Instant::now() + limit).with_context(name)?;
        if token.is_none() && !resolved.iter().all(is_loopback) {
            bail!(
                "`--listen {address}` would let every machine that reaches it take part, and there is no token\nhelp: write one \
                 into a file (`openssl rand -hex 32`) and name it with `--token-file` on both sides, or put it into the \
                 environment variable `{TOKEN_VARIABLE}`; without a token, listen on `127.0.0.1`"
            );
        }
        let socket = TcpListener::bind(&resolved[..]).with_context(name)?;
        socket.set_nonblocking(true).with_context(name)?;
        let address = socket.local_addr().with_context(name)?;
        Ok(Listener { socket, address })
    }

    /// The bound address, with the port that the system assigned if the given one was 0.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the first peer that has the token. `log` gets the others' refusals; none of them delays the right one.
    ///
    /// # Errors
    /// If no authenticated peer has come in time.
    pub(crate) fn wait(
        self,
        token: Option<&Token>,
        limit: Duration,
        log: &mut dyn FnMut(&str),
    ) -> Result<Connection, Failure> {
        let until = Instant::now() + limit;
        let (sender, finished) = mpsc::channel();
        let mut handshakes = Handshakes::new(finished);
        let taken = Arc::new(AtomicBool::new(false));
        loop {
            if let Some(connection) = handshakes.collect(log) {
                return Ok(connection);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(no_peer(self.address, limit, &handshakes.refused));
            }
            if !handshakes.make_room() {
                std::thread::sleep(TICK);
                continue;
            }
            self.wait_readable(left.min(TICK));
            match self.socket.accept() {
                Ok((stream, address)) => {
                    if let Ok(handle) = start_handshake(stream, address, token, until, &taken, &sender) {
                        handshakes.pending.push_back(Pending { address, handle, since: Instant::now() });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // EMFILE, for example: the connection stays in the queue, and poll(2) would return at once.
                Err(_) => std::thread::sleep(TICK),
            }
        }
    }

    fn wait_readable(&self, limit: Duration) {
        let mut descriptors = [PollFd::new(&self.socket, PollFlags::IN)];
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        let _ = rustix::event::poll(&mut descriptors, Some(&limit));
    }
}

/// The handshakes of the peers that have connected.
struct Handshakes {
    finished: Receiver<(SocketAddr, Result<Connection, Refusal>)>,
    refused: Refused,
    /// Oldest first.
    pending: VecDeque<Pending>,
    /// Those that gave way.
    displaced: BTreeSet<SocketAddr>,
}

/// A handshake that is not finished.
struct Pending {
    address: SocketAddr,
    /// To end it.
    handle: TcpStream,
    since: Instant,
}

impl Handshakes {
    fn new(finished: Receiver<(SocketAddr, Result<Connection, Refusal>)>) -> Handshakes {
        Handshakes { finished, refused: Refused::default(), pending: VecDeque::new(), displaced: BTreeSet::new() }
    }

    /// Whether one more can start: where there are too many, the oldest ones end, so that silent peers keep nobody out.
    fn make_room(&mut self) -> bool {
        while self.pending.len() >= MAX_PENDING {
            let is_old = self.pending.front().is_some_and(|oldest| oldest.since.elapsed() >= MIN_AGE);
            let Some(oldest) = is_old.then(|| self.pending.pop_front()).flatten() else { return false };
            let _ = oldest.handle.shutdown(Shutdown::Both);
            self.displaced.insert(oldest.address);
        }
        true
    }

    /// Takes the finished ones; returns the connection of the authenticated peer, if one of them is.
    fn collect(&mut self, log: &mut dyn FnMut(&str)) -> Option<Connection> {
        while let Ok((address, result)) = self.finished.try_recv() {
            self.pending.retain(|pending| pending.address != address);
            let is_displaced = self.displaced.remove(&address);
            match result {
                Ok(connection) if !is_displaced => return Some(connection),
                Ok(_) => self.refused.add(address, Refusal::Crowded, log),
                Err(_) if is_displaced => self.refused.add(address, Refusal::Crowded, log),
                Err(refusal) => self.refused.add(address, refusal, log),
            }
        }
        None
    }
}

/// The refused peers: how many, and the first of them by name.
#[derive(Default)]
struct Refused {
    named: Vec<(SocketAddr, Refusal)>,
    count: usize,
}

impl Refused {
    fn add(&mut self, address: SocketAddr, refusal: Refusal, log: &mut dyn FnMut(&str)) {
        self.count += 1;
        if self.count <= MAX_NAMED {
            log(&format!("refused {address}: {refusal}"));
            self.named.push((address, refusal));
        }
        if self.count == MAX_NAMED + 1 {
            log("refused another peer; further ones are not logged");
        }
    }

    /// The advice that fits all of them.
    fn advice(&self) -> &'static str {
        let mut advice = self.named.iter().map(|(_, refusal)| refusal.advice());
        match advice.next() {
            Some(first) if advice.all(|other| other == first) => first,
            _ => {
                "give both sides the same token and the same nixl-retrofit, or find out what else connects to that address"
            }
        }
    }
}

/// Runs a handshake in a thread of its own; returns a handle to end it.
fn start_handshake(
    stream: TcpStream,
    address: SocketAddr,
    token: Option<&Token>,
    until: Instant,
    taken: &Arc<AtomicBool>,
    finished: &Sender<(SocketAddr, Result<Connection, Refusal>)>,
) -> io::Result<TcpStream> {
    let handle = stream.try_clone()?;
    let until = until.min(Instant::now() + HANDSHAKE_TIMEOUT);
    let (token, taken, finished) = (token.cloned(), taken.clone(), finished.clone());
    std::thread::Builder::new().name("smoke-handshake".into()).spawn(move || {
        let result = authenticate(stream, token.as_ref(), until, &taken);
        // The receiver is gone once the right peer has come.
        let _ = finished.send((address, result));
    })?;
    Ok(handle)
}

fn authenticate(
    stream: TcpStream,
    token: Option<&Token>,
    until: Instant,
    taken: &AtomicBool,
) -> Result<Connection, Refusal> {
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

fn no_peer(address: SocketAddr, limit: Duration, refused: &Refused) -> Failure {
    let limit = deadline::text(limit);
    if refused.count == 0 {
        return failure(
            format!("no peer connected to {address} within {limit}"),
            "start the other side with `--connect` and this address, allow more time with `--timeout`, and check that no \
             firewall or security group is in between",
        );
    }
    let (count, peers) = (refused.count, if refused.count == 1 { "peer was" } else { "peers were" });
    let mut message = format!("no authenticated peer connected to {address} within {limit}; {count} {peers} refused:");
    for (address, refusal) in &refused.named {
        message.push_str(&format!("\n  {address}: {refusal}"));
    }
    failure(message, refused.advice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::stage::Stage;
    use std::io::{Read, Write};

    fn token(text: &str) -> Option<Token> {
        Token::find(None, Some(text.into()), std::time::Duration::from_secs(5)).unwrap().0
    }

    fn listener(text: Option<&str>) -> Listener {
        Listener::bind(&"127.0.0.1:0".parse().unwrap(), text.and_then(token).as_ref(), HANDSHAKE_TIMEOUT).unwrap()
    }

    fn connect(address: SocketAddr, text: &str) -> Result<(), Refusal> {
        let stream = TcpStream::connect(address).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        handshake::connecting(&mut Timed::new(&stream, until), token(text).as_ref()).map(drop)
    }

    #[test]
    fn other_programs_and_silent_peers_do_not_keep_the_right_one_out() {
        let listener = listener(Some("secret"));
        let address = listener.address();
        let peer = std::thread::spawn(move || {
            let mut stranger = TcpStream::connect(address).unwrap();
            stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            // Until it is refused: peers that come after the right one are not named.
            let _ = stranger.read_to_end(&mut Vec::new());
            assert!(matches!(connect(address, "other"), Err(Refusal::WrongToken)));
            // The handshake's thread reports the refusal a moment after it has closed the connection.
            std::thread::sleep(Duration::from_secs(1));
            // More than there are handshakes at a time. They need somebody who accepts them: the kernel holds 128.
            let silent: Vec<TcpStream> = (0..600).map(|_| TcpStream::connect(address).unwrap()).collect();
            connect(address, "secret").unwrap();
            silent
        });
        let mut refused: Vec<String> = Vec::new();
        let begin = Instant::now();
        let met =
            listener.wait(token("secret").as_ref(), Duration::from_secs(20), &mut |line| refused.push(line.into()));
        // 600 handshakes one after the other would take 50 s.
        assert!(met.is_ok() && begin.elapsed() < Duration::from_secs(15), "{met:?} {:?}", begin.elapsed());
        drop(peer.join().unwrap());
        let refused: String = refused.concat();
        assert!(refused.contains("not nixl-retrofit") && refused.contains("wrong token"), "{refused}");
    }

    #[test]
    fn refused_peers_are_named() {
        let listener = listener(Some("secret"));
        let address = listener.address();
        let peer = std::thread::spawn(move || connect(address, "other"));
        let failure = listener.wait(token("secret").as_ref(), Duration::from_millis(500), &mut |_| {}).unwrap_err();
        assert!(peer.join().unwrap().is_err());
        assert_eq!(failure.stage, Stage::Handshake);
        for words in ["no authenticated peer", "within 500 ms", "1 peer was refused", "127.0.0.1:", "wrong token"] {
            assert!(failure.message.contains(words), "{words}: {}", failure.message);
        }
        assert_eq!(failure.advice, Refusal::WrongToken.advice());
    }

    #[test]
    fn without_a_token_only_the_loopback_is_bound() {
        for open in ["0.0.0.0:0", "[::]:0"] {
            let error =
                Listener::bind(&open.parse().unwrap(), None, HANDSHAKE_TIMEOUT).err().expect("refused").to_string();
            assert!(error.contains("--token-file") && error.contains(TOKEN_VARIABLE), "{error}");
        }
        assert!(Listener::bind(&"0.0.0.0:0".parse().unwrap(), token("secret").as_ref(), HANDSHAKE_TIMEOUT).is_ok());
    }
}
