//! The connection between the two supervisors, once each knows who the other one is.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use super::message::{self, Message};
use super::timed::Timed;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::frame;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Other {
    /// Where from, or where to, it is connected.
    pub address: SocketAddr,
    /// The version of its nixl-retrofit.
    pub program: String,
    /// Its own name for its machine.
    pub host: String,
    /// The NIXL that it has.
    pub nixl_version: Option<String>,
}

/// The control connection of one pair.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// The side of the transfer that is on this machine.
    pub role: Role,
    /// Who is at the other end.
    pub other: Other,
    /// Nothing more can be said.
    pub lost: bool,
}

impl Connection {
    /// Takes over a connection whose other end, a nixl-retrofit of version `program`, has proved who it is.
    ///
    /// # Errors
    /// Where the connection has gone already.
    pub(crate) fn new(stream: TcpStream, role: Role, program: String) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let other = Other { address: stream.peer_addr()?, program, host: String::new(), nixl_version: None };
        Ok(Connection { stream, role, other, lost: false })
    }

    /// Says something.
    ///
    /// # Errors
    /// Where the connection fails, or the other end does not read until then.
    pub(crate) fn send(&mut self, message: &Message, until: Instant) -> io::Result<()> {
        let sent = frame::send(&mut Timed::new(&self.stream, until), message);
        self.lost |= sent.is_err();
        sent
    }

    /// Hears something of at most `limit` bytes.
    ///
    /// # Errors
    /// Where the connection fails or ends, the time is over, or what comes is no message.
    pub(crate) fn receive(&mut self, limit: usize, until: Instant) -> io::Result<Message> {
        message::receive(&mut Timed::new(&self.stream, until), limit)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"))
    }

    /// A second handle, for a thread that listens while this one speaks.
    ///
    /// # Errors
    /// Where the process has no more file descriptors.
    pub(crate) fn handle(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Ends it; a thread that listens hears that at once.
    pub(crate) fn close(&mut self) {
        self.lost = true;
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The other end, for a sentence.
    pub(crate) fn describe(&self) -> String {
        describe(&self.other)
    }
}

/// `node-b (10.0.0.2:7000)`.
pub(crate) fn describe(other: &Other) -> String {
    if other.host.is_empty() { other.address.to_string() } else { format!("{} ({})", other.host, other.address) }
}

/// This machine's name, as `hostname` prints it.
pub(crate) fn own_host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A name that came from elsewhere, as far as it can be shown.
pub(crate) fn shown_host(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Duration;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    #[test]
    fn a_message_over_the_limit_is_refused() {
        let (one, other) = pair();
        let until = Instant::now() + Duration::from_secs(5);
        let (mut one, mut other) = (
            Connection::new(one, Role::Initiator, String::new()).unwrap(),
            Connection::new(other, Role::Target, String::new()).unwrap(),
        );
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
