//! One side of a transfer, as the supervisor sees it: a worker of its own, or that of another machine's supervisor.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use super::child::Child;
use super::remote::Remote;
use crate::report::stage::Stage;
use crate::smoke::meeting::message::Message;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::worker::{FromWorker, Measurements, PeerMessage};

/// A side, and how far it has come.
pub(crate) struct Side {
    /// Which one it is.
    pub role: Role,
    /// The last stage it has entered.
    pub stage: Stage,
    /// Its last message, when everything was right.
    pub done: Option<Measurements>,
    place: Place,
}

enum Place {
    Here(Child),
    There(Remote),
}

impl Side {
    /// A worker of this machine.
    pub(crate) fn here(role: Role, child: Child) -> Side {
        Side { role, stage: Stage::Load, done: None, place: Place::Here(child) }
    }

    /// The worker of another machine.
    pub(crate) fn there(role: Role, remote: Remote) -> Side {
        Side { role, stage: Stage::Load, done: None, place: Place::There(remote) }
    }

    /// Whether its worker is one of this machine.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self.place, Place::Here(_))
    }

    /// The other machine, where its worker is there.
    pub(crate) fn remote(&mut self) -> Option<&mut Remote> {
        match &mut self.place {
            Place::Here(_) => None,
            Place::There(remote) => Some(remote),
        }
    }

    /// Passes on what the other worker has said to it.
    pub(crate) fn tell(&mut self, message: PeerMessage) -> io::Result<()> {
        match &mut self.place {
            Place::Here(child) => child.tell(message),
            Place::There(remote) => remote.say(&Message::Worker(FromWorker::Peer(message))),
        }
    }

    /// Ends its worker once it has nothing more to do.
    pub(crate) fn dismiss(&mut self, measurements: Measurements) {
        self.done = Some(measurements);
        self.kill();
    }

    /// How its process ended, if it does so within that time; that of another machine is not for us to see.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        match &mut self.place {
            Place::Here(child) => child.wait(limit),
            Place::There(_) => None,
        }
    }

    /// Ends its process. The other machine's supervisor ends its own.
    pub(crate) fn kill(&mut self) {
        if let Place::Here(child) = &mut self.place {
            child.kill();
        }
    }

    /// Collects the ended process, and what it has printed.
    pub(crate) fn reap(&mut self, limit: Duration) {
        if let Place::Here(child) = &mut self.place {
            child.reap(limit);
        }
    }

    /// What it has stated about transports.
    pub(crate) fn statements(&self) -> String {
        match &self.place {
            Place::Here(child) => child.statements(),
            Place::There(_) => String::new(),
        }
    }

    /// What it has said last.
    pub(crate) fn last_words(&self) -> Vec<String> {
        match &self.place {
            Place::Here(child) => child.last_words(),
            Place::There(_) => Vec::new(),
        }
    }
}
