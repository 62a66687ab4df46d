//! The connection between the two supervisors, once each knows who the other one is.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::terms::{Answer, Offer};
use crate::report::{Failure, Smoke};
use crate::smoke::protocol::{self, FromWorker, Role};

/// What one supervisor tells the other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// The connecting end's first message.
    Offer(Offer),
    /// What the listening end says to that.
    Answer(Answer),
    /// This end's worker has said so.
    Worker(FromWorker),
    /// The transfer has failed at the listening end.
    Finding(Finding),
    /// What a transfer came to. The connecting end's last message of that transfer.
    Verdict(Box<Smoke>),
    /// The listening end's last message of that transfer: it has the verdict.
    Heard,
}

/// How a transfer failed at one end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// For the report.
    pub failure: Failure,
    /// Whether that end's worker has ended: then whatever the other one's complains of is the echo.
    pub died: bool,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Other {
    /// Where from, or where to, it is connected.
    pub address: SocketAddr,
    /// Its own name for its machine.
    pub host: String,
    /// The NIXL that it has.
    pub nixl_version: Option<String>,
}

/// The control connection of one pair.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// The side of the transfer that is on this machine.
    pub role: Role,
    /// Who is at the other end.
    pub other: Other,
    /// What both payloads follow from.
    pub seed: u64,
    /// Nothing more can be said.
    pub lost: bool,
}

impl Connection {
    /// Takes over a connection whose other end has proved who it is.
    ///
    /// # Errors
    /// Where the connection has gone already.
    pub fn new(stream: TcpStream, role: Role) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let other = Other { address: stream.peer_addr()?, host: String::new(), nixl_version: None };
        Ok(Connection { stream, role, other, seed: 0, lost: false })
    }

    /// Says something.
    ///
    /// # Errors
    /// Where the connection fails, or the other end does not read until then.
    pub fn send(&mut self, message: &Message, until: Instant) -> io::Result<()> {
        let sent = protocol::send(&mut Timed::new(&self.stream, until), message);
        self.lost |= sent.is_err();
        sent
    }

    /// Hears something of at most `limit` bytes.
    ///
    /// # Errors
    /// Where the connection fails or ends, the time is over, or what comes is no message.
    pub fn receive(&mut self, limit: usize, until: Instant) -> io::Result<Message> {
        receive(&mut Timed::new(&self.stream, until), limit)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"))
    }

    /// A second handle, for a thread that listens while this one speaks.
    ///
    /// # Errors
    /// Where the process has no more file descriptors.
    pub fn handle(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Ends it; a thread that listens hears that at once.
    pub fn close(&mut self) {
        self.lost = true;
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The other end, for a sentence.
    pub fn describe(&self) -> String {
        describe(&self.other)
    }
}

/// Hears a message of at most `limit` bytes; None where the stream has ended. Whatever text is in it can be shown on a
/// terminal: control characters are taken out.
///
/// # Errors
/// Where the stream fails, or what comes is no message.
pub fn receive(stream: &mut impl Read, limit: usize) -> io::Result<Option<Message>> {
    let Some(mut value) = protocol::receive_within::<Value>(stream, limit)? else { return Ok(None) };
    make_printable(&mut value);
    Ok(Some(serde_json::from_value(value)?))
}

fn make_printable(value: &mut Value) {
    match value {
        Value::String(text) => text.retain(|character| !character.is_control() || character == '\n'),
        Value::Array(values) => values.iter_mut().for_each(make_printable),
        Value::Object(entries) => {
            *entries = std::mem::take(entries)
                .into_iter()
                .map(|(mut name, mut value)| {
                    name.retain(|character| !character.is_control());
                    make_printable(&mut value);
                    (name, value)
                })
                .collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `node-b (10.0.0.2:7000)`.
pub fn describe(other: &Other) -> String {
    if other.host.is_empty() { other.address.to_string() } else { format!("{} ({})", other.host, other.address) }
}

/// This machine's name, as `hostname` prints it.
pub fn own_host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A name that came from elsewhere, as far as it can be shown.
pub fn shown_host(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).take(64).collect()
}

/// A stream whose every reading and writing ends at one moment, however slowly the bytes come.
pub struct Timed<'a> {
    stream: &'a TcpStream,
    until: Instant,
}

impl<'a> Timed<'a> {
    /// Until then.
    pub fn new(stream: &'a TcpStream, until: Instant) -> Timed<'a> {
        Timed { stream, until }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer).map_err(in_time)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes).map_err(in_time)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A socket's timeout is reported as if the socket did not block.
fn in_time(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    #[test]
    fn drops_that_come_slowly_do_not_move_the_deadline() {
        let (one, mut other) = pair();
        let dripping = std::thread::spawn(move || {
            while other.write_all(&[0]).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let begin = Instant::now();
        let error = Timed::new(&one, begin + Duration::from_millis(200)).read_exact(&mut [0; 1000]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!((190..1500).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
        drop(one);
        dripping.join().unwrap();
    }

    #[test]
    fn who_does_not_read_cannot_hold_a_writer_up() {
        let (one, _other) = pair();
        let until = Instant::now() + Duration::from_millis(200);
        let error = Timed::new(&one, until).write_all(&vec![0; 64 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_message_over_the_limit_is_refused() {
        let (one, other) = pair();
        let until = Instant::now() + Duration::from_secs(5);
        let (mut one, mut other) =
            (Connection::new(one, Role::Initiator).unwrap(), Connection::new(other, Role::Target).unwrap());
        one.send(&Message::Heard, until).unwrap();
        assert!(matches!(other.receive(64, until), Ok(Message::Heard)));
        one.send(&Message::Heard, until).unwrap();
        assert!(other.receive(4, until).is_err());
    }

    #[test]
    fn names_from_elsewhere_cannot_drive_a_terminal() {
        assert_eq!(shown_host("node\x1b[2J-a\n"), "node[2J-a");
        assert_eq!(shown_host(&"x".repeat(1000)).len(), 64);
    }
}
