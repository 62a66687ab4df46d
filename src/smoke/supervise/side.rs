//! One side of a transfer, as the supervisor sees it: a worker of its own, or the peer's.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use super::child::Child;
use super::remote::Remote;
use super::turn::Turn;
use crate::report::stage::Stage;
use crate::smoke::meeting::message::Message;
use crate::smoke::observe::complaint::Complaint;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::worker::{FromWorker, Measurements, PeerMessage};

/// A side, and how far it has come.
pub(crate) struct Side {
    /// Which one it is.
    pub role: Role,
    /// The last stage it entered.
    pub stage: Stage,
    /// Its results, once everything was correct.
    pub done: Option<Measurements>,
    turn: Turn,
    worker: Worker,
}

enum Worker {
    Local(Child),
    Remote(Remote),
}

impl Side {
    /// A worker on this machine.
    pub(crate) fn local(role: Role, child: Child) -> Side {
        Side { role, stage: Stage::Load, done: None, turn: Turn::default(), worker: Worker::Local(child) }
    }

    /// The peer's worker.
    pub(crate) fn peer(role: Role, remote: Remote) -> Side {
        Side { role, stage: Stage::Load, done: None, turn: Turn::default(), worker: Worker::Remote(remote) }
    }

    /// Whether its worker is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.worker, Worker::Local(_))
    }

    /// The peer, if this is the peer's worker.
    pub(crate) fn remote(&mut self) -> Option<&mut Remote> {
        match &mut self.worker {
            Worker::Local(_) => None,
            Worker::Remote(remote) => Some(remote),
        }
    }

    /// Forwards a message of the other worker.
    ///
    /// # Errors
    /// If the worker or the peer is gone.
    pub(crate) fn forward(&mut self, message: PeerMessage) -> io::Result<()> {
        match &mut self.worker {
            Worker::Local(child) => child.forward(message),
            Worker::Remote(remote) => remote.send(&Message::Worker(FromWorker::Peer(message))),
        }
    }

    /// Whether its worker may send this message now.
    pub(crate) fn takes(&mut self, message: &FromWorker) -> bool {
        self.turn.takes(self.role, message)
    }

    /// Has a worker on this machine that is done end by itself, and kills any other.
    pub(crate) fn end(&mut self) {
        let is_done = self.done.is_some();
        match &mut self.worker {
            Worker::Local(child) if is_done => child.release(),
            Worker::Local(child) => child.kill(),
            Worker::Remote(_) => {}
        }
    }

    /// Its process's exit status, if it ends by itself within that time; `None` for the peer's, which cannot be seen from here.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        match &mut self.worker {
            Worker::Local(child) => child.wait(limit),
            Worker::Remote(_) => None,
        }
    }

    /// Kills its process, if it is on this machine.
    pub(crate) fn kill(&mut self) {
        if let Worker::Local(child) = &mut self.worker {
            child.kill();
        }
    }

    /// Reaps the ended process.
    pub(crate) fn reap(&mut self) {
        if let Worker::Local(child) = &mut self.worker {
            child.reap();
        }
    }

    /// Waits, up to `limit`, for the rest of its output.
    pub(crate) fn collect_output(&mut self, limit: Duration) {
        if let Worker::Local(child) = &mut self.worker {
            child.collect_output(limit);
        }
    }

    /// The lines it printed about transports.
    pub(crate) fn statements(&self) -> String {
        match &self.worker {
            Worker::Local(child) => child.statements(),
            Worker::Remote(_) => String::new(),
        }
    }

    /// What UCX was asked for there and does not have, if its worker is on this machine.
    pub(crate) fn complaints(&self) -> Vec<Complaint> {
        match &self.worker {
            Worker::Local(child) => child.complaints(),
            Worker::Remote(_) => Vec::new(),
        }
    }

    /// The last lines it printed that are worth quoting.
    pub(crate) fn last_words(&self) -> Vec<String> {
        match &self.worker {
            Worker::Local(child) => child.last_words(),
            Worker::Remote(_) => Vec::new(),
        }
    }
}
