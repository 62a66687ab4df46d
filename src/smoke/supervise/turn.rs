//! What a worker has to say, in order.
//!
//! A message is believed only in its turn: a result counts with all stages before it, and none comes twice.

use crate::report::stage::Stage;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::worker::FromWorker;

/// A message, without its content.
enum Step {
    Stage(Stage),
    /// For the other worker, by its name on the wire.
    Peer(&'static str),
    Done,
}

use Step::{Done, Peer, Stage as Enters};

const INITIATOR: &[Step] = &[
    Enters(Stage::Load),
    Enters(Stage::Agent),
    Enters(Stage::Backend),
    Enters(Stage::Register),
    Enters(Stage::Metadata),
    Peer("introduction"),
    Peer("ready"),
    Enters(Stage::Connect),
    Enters(Stage::Transfer),
    Enters(Stage::Notify),
    Enters(Stage::Transfer),
    Enters(Stage::Notify),
    Peer("finished"),
    Enters(Stage::Compare),
    Done,
];

const TARGET: &[Step] = &[
    Enters(Stage::Load),
    Enters(Stage::Agent),
    Enters(Stage::Backend),
    Enters(Stage::Register),
    Enters(Stage::Metadata),
    Peer("introduction"),
    Peer("ready"),
    Enters(Stage::Connect),
    Peer("connected"),
    Enters(Stage::Transfer),
    Enters(Stage::Notify),
    Peer("delivered"),
    Enters(Stage::Compare),
    Peer("compared"),
    Enters(Stage::Notify),
    Peer("finished"),
    Done,
];

/// How far a worker has come in what it has to say.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    said: usize,
}

impl Turn {
    /// Takes a worker's next message; false if it is not its turn.
    pub(crate) fn takes(&mut self, role: Role, message: &FromWorker) -> bool {
        let script = match role {
            Role::Initiator => INITIATOR,
            Role::Target => TARGET,
        };
        let Some(next) = script.get(self.said) else { return false };
        let is_next = match (next, message) {
            (Enters(expected), FromWorker::Stage(stage)) => stage == expected,
            (Peer(expected), FromWorker::Peer(message)) => message.name() == *expected,
            (Done, FromWorker::Done(_)) => true,
            // What a library states, before its memory is registered.
            (Enters(stage), FromWorker::Stated(_) | FromWorker::Gpu(_)) => return *stage <= Stage::Register,
            (_, FromWorker::Failed(_) | FromWorker::Progress(_)) => return true,
            _ => false,
        };
        self.said += usize::from(is_next);
        is_next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::wire::blob::Blob;
    use crate::smoke::wire::worker::{Measurements, PeerMessage, Stated};

    fn message(step: &Step) -> FromWorker {
        let peer = [
            PeerMessage::Introduction { metadata: Blob(Vec::new()), address: 0 },
            PeerMessage::Ready,
            PeerMessage::Connected,
            PeerMessage::Delivered,
            PeerMessage::Compared,
            PeerMessage::Finished,
        ];
        match step {
            Enters(stage) => FromWorker::Stage(*stage),
            Peer(name) => FromWorker::Peer(peer.into_iter().find(|message| message.name() == *name).unwrap()),
            Done => FromWorker::Done(Measurements::default()),
        }
    }

    #[test]
    fn each_message_is_taken_in_its_turn_and_no_other() {
        for (role, script) in [(Role::Initiator, INITIATOR), (Role::Target, TARGET)] {
            let mut turn = Turn::default();
            for (index, step) in script.iter().enumerate() {
                for other in script.iter().filter(|other| message(other) != message(step)) {
                    assert!(!turn.takes(role, &message(other)), "{role} {index}");
                }
                assert!(turn.takes(role, &message(step)), "{role} {index}");
            }
            assert!(!turn.takes(role, &message(&Done)), "a second result");
        }
    }

    #[test]
    fn a_library_states_nothing_after_the_setup() {
        let stated = FromWorker::Stated(Stated::default());
        let mut turn = Turn::default();
        for step in &INITIATOR[..4] {
            assert!(turn.takes(Role::Initiator, &stated));
            assert!(turn.takes(Role::Initiator, &message(step)));
        }
        assert!(!turn.takes(Role::Initiator, &stated));
    }
}
