//! HOST:PORT, as a user writes it, and its resolution.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::mpsc;
use std::time::Instant;

/// `10.0.0.1:7000`, `node-a:7000`, `[2001:db8::1]:7000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The port; a listener with port 0 gets one from the system.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All its addresses, in the resolver's order. The resolver has no deadline (getaddrinfo(3)), so a thread calls it, and
    /// is left behind if it takes too long.
    ///
    /// # Errors
    /// If the resolver does not know the name, cannot be reached, or does not answer until then.
    pub fn resolve(&self, until: Instant) -> io::Result<Vec<SocketAddr>> {
        let (sender, answer) = mpsc::channel();
        let asked = self.clone();
        let ask = move || asked.host_and_port().to_socket_addrs().map(Iterator::collect);
        std::thread::Builder::new().name("smoke-resolver".into()).spawn(move || sender.send(ask()))?;
        let left = until.saturating_duration_since(Instant::now());
        let no_answer = || io::Error::new(io::ErrorKind::TimedOut, "the resolver does not answer");
        answer.recv_timeout(left).unwrap_or_else(|_| Err(no_answer()))
    }

    fn host_and_port(&self) -> (&str, u16) {
        (self.host.as_str(), self.port)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint = "expected HOST:PORT, for example `10.0.0.1:7000`, `node-a:7000` or `[2001:db8::1]:7000`";
        let (host, port) = text.rsplit_once(':').ok_or(hint)?;
        let port = port.parse().map_err(|_| hint)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        if host.is_empty() {
            return Err(format!("{hint}; to listen on all interfaces, write `0.0.0.0:{port}` or `[::]:{port}`"));
        }
        if host.contains(':') && bracketed.is_none() {
            return Err(format!("{hint}; an IPv6 address needs brackets"));
        }
        Ok(Address { host: host.into(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = self.host.contains(':');
        if bracketed { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// Whether only processes of this machine can be at the other end.
pub(crate) fn is_loopback(address: &SocketAddr) -> bool {
    let ip: IpAddr = address.ip().to_canonical();
    ip.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in ["10.0.0.1:7000", "node-a.example:1", "[::1]:65535", "localhost:0"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for wrong in ["", "7000", ":7000", "10.0.0.1", "10.0.0.1:", "a:65536", "a:-1", "::1:7000", "[]:1", "a:http"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
        assert!(":7000".parse::<Address>().unwrap_err().contains("0.0.0.0:7000"));
        assert!("::1:7000".parse::<Address>().unwrap_err().contains("brackets"));
    }

    #[test]
    fn loopback_is_recognized_in_every_spelling() {
        for loopback in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(is_loopback(&loopback.parse().unwrap()), "{loopback}");
        }
        for other in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1", "[fe80::1]:1"] {
            assert!(!is_loopback(&other.parse().unwrap()), "{other}");
        }
    }
}
