//! What one supervisor tells the other.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::told::Told;
use super::verdict::Verdict;
use crate::smoke::plan::engine::EngineKind;
use crate::smoke::plan::fabric::RequiredFabric;
use crate::smoke::plan::memory::Memory;
use crate::smoke::wire::frame;
use crate::smoke::wire::worker::FromWorker;

/// What one supervisor tells the other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Message {
    /// The connecting end's first message.
    Offer(Offer),
    /// What the listening end says to that.
    Answer(Answer),
    /// This end's worker has said so.
    Worker(FromWorker),
    /// The transfer has failed at the listening end.
    Finding(Finding),
    /// What a transfer came to. The connecting end's last message of that transfer.
    Verdict(Box<Verdict>),
    /// The listening end's last message of that transfer: it has the verdict.
    Heard,
}

/// What the connecting end wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// Its own name for its machine.
    pub host: String,
    /// The version of its NIXL.
    pub nixl_version: Option<String>,
    /// One transfer each, in this order.
    pub transfers: Vec<Offered>,
    /// Payload in each direction, in bytes.
    pub size: u64,
    /// Large messages in each direction.
    pub iterations: u32,
    /// Whose memory the payload lies in.
    pub memory: Memory,
    /// Both payloads follow from it.
    pub seed: u64,
    /// Deadline of each transfer, in milliseconds.
    pub timeout_ms: u64,
    /// What must have carried the bytes.
    pub require_fabric: RequiredFabric,
}

/// One transfer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Offered {
    /// The connecting end's.
    pub initiator: Vec<String>,
    /// The listening end's.
    pub target: Vec<String>,
    /// Whether a required fabric is demanded of it.
    pub principal: bool,
    /// What moves the bytes.
    pub engine: EngineKind,
}

/// What the listening end says to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// Yes, with these limits.
    Agreed(Terms),
    /// No, and why.
    Refused(String),
}

/// The listening end's part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// Its own name for its machine.
    pub host: String,
    /// The version of its NIXL.
    pub nixl_version: Option<String>,
    /// The shorter one of both ends'.
    pub timeout_ms: u64,
    /// The stricter one of both ends'.
    pub require_fabric: RequiredFabric,
}

/// How a transfer failed at one end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// What went wrong.
    pub failure: Told,
    /// Whether that end's worker has ended: then whatever the other one's complains of is the echo.
    pub died: bool,
}

/// Hears a message of at most `limit` bytes; None where the stream has ended. Whatever text is in it can be shown on a
/// terminal: control characters are taken out.
///
/// # Errors
/// Where the stream fails, or what comes is no message.
pub(crate) fn receive(stream: &mut impl Read, limit: usize) -> io::Result<Option<Message>> {
    let Some(mut value) = frame::receive_within::<Value>(stream, limit)? else { return Ok(None) };
    make_printable(&mut value);
    Ok(Some(serde_json::from_value(value)?))
}

/// What to say of a peer whose message cannot be read; «it» is the peer. `program` is its version.
pub(crate) fn unreadable(program: &str, error: &io::Error) -> String {
    format!(
        "runs nixl-retrofit {program}, and this end, nixl-retrofit {}, cannot read its message ({error})",
        env!("CARGO_PKG_VERSION")
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn verdict() -> Value {
        serde_json::to_value(Message::Verdict(Box::new(crate::smoke::meeting::verdict::tests::verdict()))).unwrap()
    }

    fn read(message: &Value) -> io::Result<Option<Message>> {
        let mut wire = Vec::new();
        frame::send(&mut wire, message).unwrap();
        receive(&mut wire.as_slice(), frame::FRAME_LIMIT)
    }

    #[test]
    fn unknown_keys_of_a_verdict_are_ignored() {
        let mut newer = verdict();
        newer["verdict"]["added-later"] = json!([1, 2]);
        assert!(matches!(read(&newer), Ok(Some(Message::Verdict(_)))));
    }

    #[test]
    fn a_missing_key_of_a_verdict_is_an_error_that_names_it() {
        let names: Vec<String> = verdict()["verdict"].as_object().unwrap().keys().cloned().collect();
        for name in names {
            let mut older = verdict();
            older["verdict"].as_object_mut().unwrap().remove(&name);
            let error = read(&older).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name}");
            let words = unreadable("9.9.9", &error);
            assert!(words.contains("nixl-retrofit 9.9.9") && words.contains(&format!("`{name}`")), "{words}");
        }
    }

    #[test]
    fn text_cannot_drive_a_terminal() {
        let mut message = verdict();
        message["verdict"]["backend"] = json!("UCX\u{1b}[2J");
        let Ok(Some(Message::Verdict(verdict))) = read(&message) else { panic!() };
        assert_eq!(verdict.backend.as_deref(), Some("UCX[2J"));
    }
}
