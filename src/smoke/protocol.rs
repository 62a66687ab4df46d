//! What supervisor and worker say to each other, and how it is framed.
//!
//! A frame is its length in four bytes, least significant first, and a JSON document. The same frames can travel over
//! any stream; nothing here knows that it is a socket pair.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fault::Fault;
use super::gpu::GpuTrouble;
use super::memory::Memory;
use crate::report::Gpu;

/// A frame longer than this is refused before any of it is kept. NIXL's metadata takes a few kilobytes a rail.
pub const FRAME_LIMIT: usize = 16 << 20;

/// The two sides of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Writes into the target and reads from it.
    Initiator,
    /// Offers its memory, waits for notifications, compares.
    Target,
}

impl Role {
    /// Both, in the order in which they are started.
    pub const ALL: [Role; 2] = [Role::Initiator, Role::Target];

    /// The name of its agent.
    pub fn name(self) -> &'static str {
        match self {
            Role::Initiator => "initiator",
            Role::Target => "target",
        }
    }

    /// The one at the other end.
    pub fn other(self) -> Role {
        match self {
            Role::Initiator => Role::Target,
            Role::Target => Role::Initiator,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a worker is, in the order in which it gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Loading the engine's library.
    Load,
    /// Creating the agent, which looks for NIXL's plugins, UCX's transports or libfabric's providers.
    Agent,
    /// Creating the backend.
    Backend,
    /// Registering memory.
    Register,
    /// Exchanging metadata.
    Metadata,
    /// The first message, which makes the connection.
    Connect,
    /// Posting transfers and waiting for their completion.
    Transfer,
    /// Waiting for notifications.
    Notify,
    /// Comparing what has arrived.
    Compare,
}

impl Stage {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Load => "load",
            Stage::Agent => "agent",
            Stage::Backend => "backend",
            Stage::Register => "register",
            Stage::Metadata => "metadata",
            Stage::Connect => "connect",
            Stage::Transfer => "transfer",
            Stage::Notify => "notify",
            Stage::Compare => "compare",
        }
    }

    /// What a worker is doing there, in words.
    pub fn activity(self) -> &'static str {
        match self {
            Stage::Load => "loading the library",
            Stage::Agent => "creating the agent",
            Stage::Backend => "creating the backend",
            Stage::Register => "registering memory",
            Stage::Metadata => "exchanging metadata",
            Stage::Connect => "connecting",
            Stage::Transfer => "transferring",
            Stage::Notify => "waiting for notifications",
            Stage::Compare => "comparing",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bytes that need not be text: metadata, paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Blob {
    /// The path that these bytes are.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(std::ffi::OsString::from_vec(self.0.clone()))
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Blob).map_err(serde::de::Error::custom)
    }
}

/// The library that moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// The installed NIXL, through its C API.
    Nixl,
    /// UCX itself.
    Ucp,
    /// libfabric itself.
    Libfabric,
}

/// What a worker is told to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Which side it is.
    pub role: Role,
    /// What moves the bytes.
    pub engine: EngineKind,
    /// The path of its library, or a name that the dynamic loader looks for.
    pub library: Blob,
    /// The backends of its agent, in this order.
    pub backends: Vec<TaskBackend>,
    /// Whose memory the payload lies in.
    pub memory: Memory,
    /// Payload in each direction, in bytes.
    pub size: u64,
    /// Large messages in each direction.
    pub iterations: u32,
    /// Both sides' payload follows from it.
    pub seed: u64,
    /// A fault to commit.
    pub fault: Option<Fault>,
}

/// A backend to be created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskBackend {
    /// NIXL's name of it.
    pub name: String,
    /// Where its plugin should be, for the diagnosis when NIXL cannot use it.
    pub plugin: Option<Blob>,
}

/// What one worker tells the other; the supervisor passes it on unread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerMessage {
    /// Who I am and where my memory is.
    Introduction {
        /// The engine's metadata.
        metadata: Blob,
        /// Address of the region's first byte, in the worker's own address space.
        address: u64,
    },
    /// The other side's metadata is loaded: transfers may begin.
    Ready,
    /// The target has received and compared the first message.
    Connected,
    /// The target was notified of all large writes.
    Delivered,
    /// The target has compared them all, and they are right.
    Compared,
    /// The target was notified of all reads; and the initiator's answer, that it has nothing more under way.
    Finished,
}

/// Supervisor to worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToWorker {
    /// The first message, once.
    Task(Task),
    /// The first and only message for a worker that makes no transfer: load this plugin.
    Try(Blob),
    /// From the other worker.
    Peer(PeerMessage),
}

/// Worker to supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromWorker {
    /// A stage begins.
    Stage(Stage),
    /// What the library has stated about itself.
    Stated(Stated),
    /// The GPU whose memory is used.
    Gpu(Gpu),
    /// Why the dynamic loader refused the plugin, if it did. The last message of a worker that tries one.
    Tried(Option<String>),
    /// For the other worker.
    Peer(PeerMessage),
    /// Everything on this side was right. The last message.
    Done(Measurements),
    /// It ends here. The last message.
    Failed(Surrender),
}

/// What a native engine's library states about itself and what it uses, in answer to calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stated {
    /// The file that was loaded.
    pub library: String,
    /// Its version.
    pub version: String,
    /// What will carry the bytes, where calls can tell: the fabric and the transports.
    pub carrier: Option<(Option<String>, Vec<String>)>,
}

/// What an initiator has measured and a target has checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    /// Bytes compared at this side, all right.
    pub compared: u64,
    /// The backend that NIXL chose for the initiator's transfers.
    pub chosen: Option<String>,
    /// Median of the small writes, post to completion, in microseconds.
    pub latency_us: Option<f64>,
    /// From the first large write's post until the target had been notified of the last, in seconds.
    pub write_seconds: Option<f64>,
}

/// Why a worker gave up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Surrender {
    /// Where.
    pub stage: Stage,
    /// What happened.
    pub cause: Cause,
}

/// What happened, as far as the worker can tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The dynamic loader refused a library; its own words.
    Loader(String),
    /// The library has no such function.
    MissingFunction(String),
    /// A function of the C API returned an error.
    Call {
        /// Its name.
        function: String,
        /// nixl_capi_status_t.
        status: i32,
    },
    /// A function of UCX or libfabric returned an error.
    Library {
        /// Its name.
        function: String,
        /// What it returned.
        status: i64,
        /// What that means, in the library's own words.
        words: String,
    },
    /// libfabric offers none of the providers that NIXL takes.
    NoProvider {
        /// Those, in NIXL's order.
        wanted: Vec<String>,
        /// What it offers instead.
        offered: Vec<String>,
    },
    /// NIXL offers no such backend, or could not create it.
    Backend {
        /// Its name.
        name: String,
        /// The failed function's name.
        function: String,
        /// nixl_capi_status_t.
        status: i32,
        /// The plugins that NIXL lists.
        offered: Vec<String>,
        /// What the dynamic loader says about the plugin's file, tried on its own; None when it loads or is not there.
        loader: Option<String>,
    },
    /// Bytes arrived, and they are wrong.
    Mismatch {
        /// `WRITE` or `READ`.
        operation: String,
        /// Message number, from one.
        message: usize,
        /// First wrong byte, from the payload's start.
        offset: u64,
        /// What should be there.
        expected: u8,
        /// What is there.
        found: u8,
        /// How many bytes of the message are wrong.
        wrong: u64,
        /// How many of those were never written.
        untouched: u64,
        /// The message's length.
        length: u64,
    },
    /// No memory for a payload of that many bytes.
    Memory(u64),
    /// The GPU's memory cannot be used.
    Gpu(GpuTrouble),
    /// The supervisor or the other worker said something out of turn.
    Protocol(String),
}

/// Writes one frame.
pub fn send<T: Serialize>(stream: &mut impl Write, message: &T) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > FRAME_LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes is too long")));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    stream.write_all(&frame)?;
    stream.flush()
}

/// Reads one frame; None when the stream ends between frames.
pub fn receive<T: for<'de> Deserialize<'de>>(stream: &mut impl Read) -> io::Result<Option<T>> {
    receive_within(stream, FRAME_LIMIT)
}

/// The same for a frame of at most `limit` bytes.
pub fn receive_within<T: for<'de> Deserialize<'de>>(stream: &mut impl Read, limit: usize) -> io::Result<Option<T>> {
    let mut header = [0; 4];
    let mut filled = 0;
    while filled < header.len() {
        match stream.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_le_bytes(header) as usize;
    if length > limit {
        let text = format!("a frame of {length} bytes was announced, more than {limit}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut body = Vec::new();
    stream.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(serde_json::from_slice(&body)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn introduction() -> FromWorker {
        FromWorker::Peer(PeerMessage::Introduction { metadata: Blob(vec![0, 255, 10]), address: u64::MAX })
    }

    #[test]
    fn frames_come_back_as_they_were() {
        let mut wire = Vec::new();
        send(&mut wire, &introduction()).unwrap();
        send(&mut wire, &FromWorker::Stage(Stage::Compare)).unwrap();
        let mut wire = wire.as_slice();
        assert_eq!(receive::<FromWorker>(&mut wire).unwrap(), Some(introduction()));
        assert_eq!(receive::<FromWorker>(&mut wire).unwrap(), Some(FromWorker::Stage(Stage::Compare)));
        assert_eq!(receive::<FromWorker>(&mut wire).unwrap(), None);
    }

    #[test]
    fn a_stream_that_ends_inside_a_frame_is_an_error() {
        let mut wire = Vec::new();
        send(&mut wire, &introduction()).unwrap();
        for length in 1..wire.len() {
            assert!(receive::<FromWorker>(&mut &wire[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_unread() {
        let mut wire = ((FRAME_LIMIT + 1) as u32).to_le_bytes().to_vec();
        wire.extend([b' '; 64]);
        let mut wire = wire.as_slice();
        assert!(receive::<FromWorker>(&mut wire).is_err());
        assert_eq!(wire.len(), 64);
        assert!(send(&mut Vec::new(), &Blob(vec![0; FRAME_LIMIT])).is_err());
    }

    #[test]
    fn what_is_not_a_message_is_an_error() {
        let mut wire = 2u32.to_le_bytes().to_vec();
        wire.extend(b"{}");
        assert!(receive::<FromWorker>(&mut wire.as_slice()).is_err());
    }
}
