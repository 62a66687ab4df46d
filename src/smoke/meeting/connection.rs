//! The authenticated connection between the two supervisors.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use super::message::{self, Message};
use super::timed::Timed;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::frame;

/// The machine at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its address and port of this connection.
    pub address: SocketAddr,
    /// The version of its nixl-retrofit.
    pub program: String,
    /// Its own name for its machine.
    pub host: String,
    /// Its NIXL's version.
    pub nixl_version: Option<String>,
    /// Its kernel's boot ID.
    pub kernel: Option<String>,
}

/// The control connection of one pair.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// The side of the transfer that is on this machine.
    pub role: Role,
    /// The machine at the other end.
    pub peer: Peer,
    /// Whether the connection failed or was closed.
    pub lost: bool,
}

impl Connection {
    /// Takes over a stream whose peer, a nixl-retrofit of version `program`, is authenticated.
    ///
    /// # Errors
    /// If the connection is closed already.
    pub(crate) fn new(stream: TcpStream, role: Role, program: String) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let peer =
            Peer { address: stream.peer_addr()?, program, host: String::new(), nixl_version: None, kernel: None };
        Ok(Connection { stream, role, peer, lost: false })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If the connection fails, or the peer does not read until then.
    pub(crate) fn send(&mut self, message: &Message, until: Instant) -> io::Result<()> {
        let sent = frame::send(&mut Timed::new(&self.stream, until), message);
        self.lost |= sent.is_err();
        sent
    }

    /// Receives a message of at most `limit` bytes.
    ///
    /// # Errors
    /// If the connection fails or ends, the time is over, or (`InvalidData`) the message cannot be read.
    pub(crate) fn receive(&mut self, limit: usize, until: Instant) -> io::Result<Message> {
        message::receive(&mut Timed::new(&self.stream, until), limit)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"))
    }

    /// A second handle, for a thread that receives while this one sends.
    ///
    /// # Errors
    /// If the process has no more file descriptors.
    pub(crate) fn handle(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Closes it, which ends a receiving thread at once.
    pub(crate) fn close(&mut self) {
        self.lost = true;
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The peer, for a sentence: `node-b (10.0.0.2:7000)`.
    pub(crate) fn describe(&self) -> String {
        let Peer { host, address, .. } = &self.peer;
        if host.is_empty() { address.to_string() } else { format!("{host} ({address})") }
    }
}

/// This machine's name, as `hostname` prints it.
pub(crate) fn own_host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The ID that the kernel gave itself when it booted (random(4)): the same in all containers and network namespaces of one
/// machine.
pub(crate) fn own_kernel() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_string()).filter(|id| !id.is_empty())
}

/// A name that the peer sent: its printable characters, 64 at most.
pub(crate) fn printable(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::meeting::timed::tests::pair;
    use std::time::Duration;

    #[test]
    fn a_message_over_the_limit_is_refused() {
        let (one, other) = pair();
        let until = Instant::now() + Duration::from_secs(5);
        let (mut one, mut other) = (
            Connection::new(one, Role::Initiator, String::new()).unwrap(),
            Connection::new(other, Role::Target, String::new()).unwrap(),
        );
        one.send(&Message::VerdictReceived, until).unwrap();
        assert!(matches!(other.receive(64, until), Ok(Message::VerdictReceived)));
        one.send(&Message::VerdictReceived, until).unwrap();
        assert!(other.receive(4, until).is_err());
    }

    #[test]
    fn a_peers_name_cannot_drive_a_terminal() {
        assert_eq!(printable("node\x1b[2J-a\n"), "node[2J-a");
        assert_eq!(printable(&"x".repeat(1000)).len(), 64);
    }
}
