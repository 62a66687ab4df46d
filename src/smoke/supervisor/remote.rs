//! The other machine's worker, behind the other machine's supervisor.
#![forbid(unsafe_code)]

use std::io;
use std::net::TcpStream;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::child::Event;
use crate::smoke::engine::schedule::run_promptly;
use crate::smoke::meeting::connection::{self, Connection, Message, Timed};
use crate::smoke::protocol::{self, FRAME_LIMIT, FromWorker, Role};

/// How long after the deadline the other end may take to say, or to hear, what the transfer came to: it ends its worker
/// first, and collects its last words.
pub const GRACE: Duration = Duration::from_secs(2);

/// The way to the other supervisor, for one transfer.
pub struct Remote {
    /// Who is there, for a sentence.
    pub name: String,
    /// When something was last heard from there.
    pub heard: Instant,
    stream: TcpStream,
    until: Instant,
}

impl Remote {
    /// Begins to listen to it, in a thread that ends with the transfer's last message or with the connection.
    pub fn start(connection: &Connection, deadline: Instant, events: Sender<Event>) -> io::Result<Remote> {
        let until = deadline + GRACE;
        let (ear, role) = (connection.handle()?, connection.role.other());
        let thread = std::thread::Builder::new().name("smoke-control".into());
        thread.spawn(move || {
            run_promptly();
            listen(&ear, role, until, &events);
        })?;
        Ok(Remote { name: connection.describe(), heard: Instant::now(), stream: connection.handle()?, until })
    }

    /// Says something.
    pub fn say(&mut self, message: &Message) -> io::Result<()> {
        protocol::send(&mut Timed::new(&self.stream, self.until), message)
    }
}

/// Turns what comes into events. What is out of turn ends it: each end says only what is its own to say.
fn listen(stream: &TcpStream, role: Role, until: Instant, events: &Sender<Event>) {
    loop {
        let received = connection::receive(&mut Timed::new(stream, until), FRAME_LIMIT);
        let event = match received {
            Ok(Some(Message::Worker(message))) if is_passed_on(&message) => Event::Said(role, message),
            Ok(Some(Message::Finding(finding))) if role == Role::Target => Event::Found(role, finding),
            Ok(Some(Message::Verdict(smoke))) if role == Role::Initiator => Event::Decided(smoke),
            Ok(Some(Message::Heard)) if role == Role::Target => Event::Heard,
            Ok(Some(_)) => Event::Closed(role, Some("said something out of turn".into())),
            Ok(None) => Event::Closed(role, None),
            // What a process leaves that was ended with something unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Event::Closed(role, None),
            Err(error) => Event::Closed(role, Some(format!("can no longer be heard ({error})"))),
        };
        let is_last = matches!(event, Event::Decided(_) | Event::Heard | Event::Closed(..));
        if events.send(event).is_err() || is_last {
            return;
        }
    }
}

/// What a supervisor passes on of its worker's words: how far it has come, and what is for the other worker.
pub fn is_passed_on(message: &FromWorker) -> bool {
    matches!(message, FromWorker::Stage(_) | FromWorker::Peer(_) | FromWorker::Done(_))
}
