//! The messages between the two supervisors.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::verdict::Verdict;
use super::wire_failure::WireFailure;
use crate::shown::is_printable;
use crate::smoke::plan::engine::EngineKind;
use crate::smoke::plan::fabric::RequiredFabric;
use crate::smoke::plan::memory::Memory;
use crate::smoke::wire::frame;
use crate::smoke::wire::worker::FromWorker;

/// A message from one supervisor to the other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Message {
    /// The connecting side's first message.
    Offer(Offer),
    /// The listening side's reply to it.
    Answer(Answer),
    /// A message of this side's worker.
    Worker(FromWorker),
    /// The transfer failed on the listening side.
    TargetFailed(TargetFailure),
    /// The transfer's result. The connecting side's last message of a transfer.
    Verdict(Box<Verdict>),
    /// The listening side has the verdict. Its last message of a transfer.
    VerdictReceived,
}

/// What the connecting side wants to transfer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// Its own name for its machine.
    pub host: String,
    /// The version of its NIXL.
    pub nixl_version: Option<String>,
    /// Its kernel's boot ID; None from a version before it was sent, and where it cannot be read.
    #[serde(default)]
    pub kernel: Option<String>,
    /// The transfers, in this order.
    pub transfers: Vec<Offered>,
    /// Payload in each direction, in bytes.
    pub size: u64,
    /// Large messages in each direction.
    pub iterations: u32,
    /// The memory that the payload is in.
    pub memory: Memory,
    /// Both sides derive the payload from it.
    pub seed: u64,
    /// Deadline of each transfer, in milliseconds.
    pub timeout_ms: u64,
    /// What must have carried the bytes.
    pub require_fabric: RequiredFabric,
}

/// One transfer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Offered {
    /// The connecting side's backends.
    pub initiator: Vec<String>,
    /// The listening side's backends.
    pub target: Vec<String>,
    /// Whether the required fabric is enforced.
    pub principal: bool,
    /// What moves the bytes.
    pub engine: EngineKind,
}

/// The listening side's reply to an offer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// Yes, with these limits.
    Agreed(Terms),
    /// No.
    Refused(Rejection),
}

/// Why an offer is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rejection {
    /// The reason.
    pub reason: String,
    /// What to do next.
    pub advice: String,
}

/// The listening side's part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// Its own name for its machine.
    pub host: String,
    /// The version of its NIXL.
    pub nixl_version: Option<String>,
    /// Its kernel's boot ID; None from a version before it was sent, and where it cannot be read.
    #[serde(default)]
    pub kernel: Option<String>,
    /// The shorter one of both sides' deadlines, in milliseconds.
    pub timeout_ms: u64,
    /// The stricter one of both sides' requirements.
    pub require_fabric: RequiredFabric,
}

/// How a transfer failed on the listening side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TargetFailure {
    /// What went wrong.
    pub failure: WireFailure,
    /// Whether that side's worker died: then an error of the other worker is only a consequence.
    pub died: bool,
}

/// Maximum number of characters in a text that a report shows.
const MAX_TEXT: usize = 2000;
/// Maximum number of texts in a list that a report shows.
const MAX_TEXTS: usize = 64;

/// Receives a message of at most `limit` bytes; `None` if the stream has ended. Each text becomes one line without control and
/// direction characters, so that a peer can neither drive a terminal nor write lines of the report, and is bounded.
///
/// # Errors
/// If the stream fails, or (`InvalidData`) what comes is not a message.
pub(crate) fn receive(stream: &mut impl Read, limit: usize) -> io::Result<Option<Message>> {
    let Some(mut value) = frame::receive_within::<Value>(stream, limit)? else { return Ok(None) };
    // A worker's message goes to a worker, and its metadata may be long.
    let longest = if value.get("worker").is_some() { usize::MAX } else { MAX_TEXT };
    make_printable(&mut value, longest);
    Ok(Some(serde_json::from_value(value)?))
}

/// A clause, whose subject is the peer, for a message that cannot be read; `program` is the peer's version.
pub(crate) fn unreadable(program: &str, error: &io::Error) -> String {
    format!(
        "runs nixl-retrofit {program} and sent a message that nixl-retrofit {} on this side cannot read ({error})",
        env!("CARGO_PKG_VERSION")
    )
}

fn make_printable(value: &mut Value, longest: usize) {
    match value {
        Value::String(text) => *text = one_line(text, longest),
        Value::Array(values) => {
            if longest == MAX_TEXT {
                values.truncate(MAX_TEXTS);
            }
            values.iter_mut().for_each(|value| make_printable(value, longest));
        }
        Value::Object(entries) => {
            *entries = std::mem::take(entries)
                .into_iter()
                .map(|(name, mut value)| {
                    make_printable(&mut value, longest);
                    (one_line(&name, MAX_TEXT), value)
                })
                .collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The printable characters of a text, its lines joined.
fn one_line(text: &str, longest: usize) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let joined = lines.collect::<Vec<_>>().join("; ");
    joined.chars().filter(|character| is_printable(*character)).take(longest).collect()
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
    fn a_peers_text_cannot_drive_a_terminal() {
        let mut message = verdict();
        message["verdict"]["backend"] = json!("UCX\u{1b}[2J\u{202e}");
        message["verdict"]["reason"] = json!(format!("one\n  two\nsmoke passed: {}", "x".repeat(5000)));
        message["verdict"]["warnings"] = json!(vec!["w"; 1000]);
        let Ok(Some(Message::Verdict(verdict))) = read(&message) else { panic!() };
        assert_eq!(verdict.backend.as_deref(), Some("UCX[2J"));
        let reason = verdict.reason.unwrap();
        assert!(reason.starts_with("one; two; smoke passed: x") && reason.len() == MAX_TEXT, "{reason}");
        assert_eq!(verdict.warnings.len(), MAX_TEXTS);
    }
}
