//! The other machine's worker, behind the other machine's supervisor.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::ear::Ear;
use super::event::Event;
use crate::smoke::meeting::connection::Connection;
use crate::smoke::meeting::message::{self, Message};
use crate::smoke::meeting::timed::Timed;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::frame::{self, FRAME_LIMIT};
use crate::smoke::wire::worker::FromWorker;

/// How long after the deadline the other end may take to say, or to hear, what the transfer came to: it ends its worker
/// first, and collects its last words.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// The way to the other supervisor, for one transfer.
pub(crate) struct Remote {
    /// Who is there, for a sentence.
    pub name: String,
    /// When something was last heard from there.
    pub heard: Instant,
    stream: TcpStream,
    until: Instant,
}

impl Remote {
    /// Begins to listen to it, in a thread that ends with the transfer's last message or with the connection.
    pub(crate) fn start(connection: &Connection, deadline: Instant, ear: Ear) -> io::Result<Remote> {
        let until = deadline + GRACE;
        let (stream, role, program) = (connection.handle()?, connection.role.other(), connection.other.program.clone());
        let thread = std::thread::Builder::new().name("smoke-control".into());
        thread.spawn(move || {
            (ear.promptly)();
            listen(&stream, role, until, &program, &ear);
        })?;
        Ok(Remote { name: connection.describe(), heard: Instant::now(), stream: connection.handle()?, until })
    }

    /// Says something.
    pub(crate) fn say(&mut self, message: &Message) -> io::Result<()> {
        frame::send(&mut Timed::new(&self.stream, self.until), message)
    }
}

/// Turns what comes into events. What is out of turn ends it: each end says only what is its own to say.
fn listen(stream: &TcpStream, role: Role, until: Instant, program: &str, ear: &Ear) {
    loop {
        let received = message::receive(&mut Timed::new(stream, until), FRAME_LIMIT);
        let event = match received {
            Ok(Some(Message::Worker(message))) if is_passed_on(&message) => Event::Said(role, message),
            Ok(Some(Message::Finding(finding))) if role == Role::Target => Event::Found(role, finding),
            Ok(Some(Message::Verdict(verdict))) if role == Role::Initiator => Event::Decided(verdict),
            Ok(Some(Message::Heard)) if role == Role::Target => Event::Heard,
            Ok(Some(_)) => Event::Closed(role, Some("said something out of turn".into())),
            Ok(None) => Event::Closed(role, None),
            // What a process leaves that was ended with something unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Event::Closed(role, None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Event::Closed(role, Some(message::unreadable(program, &error)))
            }
            Err(error) => Event::Closed(role, Some(format!("can no longer be heard ({error})"))),
        };
        let is_last = matches!(event, Event::Decided(_) | Event::Heard | Event::Closed(..));
        if ear.events.send(event).is_err() || is_last {
            return;
        }
    }
}

/// What a supervisor passes on of its worker's words: how far it has come, and what is for the other worker.
pub(crate) fn is_passed_on(message: &FromWorker) -> bool {
    matches!(message, FromWorker::Stage(_) | FromWorker::Peer(_) | FromWorker::Done(_))
}
