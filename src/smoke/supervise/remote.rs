//! The peer's worker, behind the peer's supervisor.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::event::{Event, EventSender};
use crate::smoke::ending::PeerLoss;
use crate::smoke::meeting::connection::Connection;
use crate::smoke::meeting::message::{self, Message};
use crate::smoke::meeting::timed::Timed;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::frame::{self, FRAME_LIMIT};
use crate::smoke::wire::worker::FromWorker;

/// How long after the deadline the peer may take to send or receive the verdict: it first ends its worker and collects the
/// worker's output.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// The connection to the peer's supervisor, for one transfer.
pub(crate) struct Remote {
    /// The peer, for a sentence.
    pub name: String,
    /// When its last message came.
    pub last_heard: Instant,
    stream: TcpStream,
    until: Instant,
}

impl Remote {
    /// Starts a receiving thread, which ends with the transfer's last message or with the connection.
    ///
    /// # Errors
    /// If no thread can be started, or the process has no more file descriptors.
    pub(crate) fn start(connection: &Connection, deadline: Instant, sender: EventSender) -> io::Result<Remote> {
        let receiver = Receiver {
            stream: connection.handle()?,
            role: connection.role.other(),
            until: deadline + GRACE,
            name: connection.describe(),
            program: connection.peer.program.clone(),
        };
        let (name, until) = (receiver.name.clone(), receiver.until);
        let thread = std::thread::Builder::new().name("smoke-control".into());
        thread.spawn(move || {
            (sender.promptly)();
            receiver.run(&sender);
        })?;
        Ok(Remote { name, last_heard: Instant::now(), stream: connection.handle()?, until })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If the connection fails, or the peer does not read in time.
    pub(crate) fn send(&mut self, message: &Message) -> io::Result<()> {
        frame::send(&mut Timed::new(&self.stream, self.until), message)
    }
}

/// What the receiving thread needs.
struct Receiver {
    stream: TcpStream,
    /// The role of the peer's worker.
    role: Role,
    until: Instant,
    name: String,
    program: String,
}

impl Receiver {
    fn run(&self, sender: &EventSender) {
        loop {
            let event = self.next();
            let is_last = matches!(event, Event::Verdict(_) | Event::VerdictReceived | Event::PeerLost(..));
            if sender.events.send(event).is_err() || is_last {
                return;
            }
        }
    }

    /// The next message, if it is the peer's to send; each side sends only what is its own.
    fn next(&self) -> Event {
        let role = self.role;
        match message::receive(&mut Timed::new(&self.stream, self.until), FRAME_LIMIT) {
            Ok(Some(Message::Worker(message))) if is_forwarded(&message) => Event::Worker(role, message),
            Ok(Some(Message::TargetFailed(failure))) if role == Role::Target => Event::TargetFailed(role, failure),
            Ok(Some(Message::Verdict(verdict))) if role == Role::Initiator => Event::Verdict(verdict),
            Ok(Some(Message::VerdictReceived)) if role == Role::Target => Event::VerdictReceived,
            Ok(Some(_)) => Event::PeerLost(role, out_of_turn(&self.name)),
            Ok(None) => self.disconnected("closed the control connection without a reason"),
            // The kernel resets the connection of a process that ends with unread data (RFC 1122, 4.2.2.13).
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                self.disconnected("closed the control connection without a reason")
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let what = format!("{} {}", self.name, message::unreadable(&self.program, &error));
                Event::PeerLost(role, PeerLoss::Unreadable(what))
            }
            Err(error) => self.disconnected(&format!("does not answer any more ({error})")),
        }
    }

    fn disconnected(&self, what: &str) -> Event {
        Event::PeerLost(self.role, PeerLoss::Disconnected(format!("{} {what}", self.name)))
    }
}

/// The loss of a peer, by that name, that breaks the protocol.
pub(crate) fn out_of_turn(name: &str) -> PeerLoss {
    PeerLoss::Unreadable(format!("{name} sent a message out of turn"))
}

/// Whether a supervisor forwards this message of its worker: stages, results, and what is for the other worker.
pub(crate) fn is_forwarded(message: &FromWorker) -> bool {
    matches!(message, FromWorker::Stage(_) | FromWorker::Peer(_) | FromWorker::Done(_))
}
