//! The messages between supervisor and worker.

use serde::{Deserialize, Serialize};

use super::blob::Blob;
use super::cause::Surrender;
use crate::report::fabric::Fabrics;
use crate::report::stage::Stage;
use crate::smoke::plan::engine::EngineKind;
use crate::smoke::plan::fault::Fault;
use crate::smoke::plan::memory::Memory;
use crate::smoke::plan::role::Role;

/// What a worker does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Which side it is.
    pub role: Role,
    /// What moves the bytes.
    pub engine: EngineKind,
    /// The path of its library, or a name for the dynamic loader.
    pub library: Blob,
    /// The backends of its agent, in this order.
    pub backends: Vec<TaskBackend>,
    /// The memory that holds the payload.
    pub memory: Memory,
    /// Payload in each direction, in bytes.
    pub size: u64,
    /// Maximum number of large messages in each direction.
    pub iterations: u32,
    /// The payload of both sides follows from it.
    pub seed: u64,
    /// A fault to inject.
    pub fault: Option<Fault>,
}

/// A backend to create.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskBackend {
    /// NIXL's name for it.
    pub name: String,
    /// The expected file of its plugin, for the diagnosis where NIXL cannot create the backend.
    pub plugin: Option<Blob>,
}

/// From one worker to the other; the supervisor relays it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PeerMessage {
    /// How to reach this side and its memory.
    Introduction {
        /// The engine's metadata.
        metadata: Blob,
        /// Address of the region's first byte, in the worker's own address space.
        address: u64,
    },
    /// The peer's metadata is loaded: transfers may begin.
    Ready,
    /// The target has received and compared the first message.
    Connected,
    /// The target has the notifications of all large writes.
    Delivered,
    /// The target has compared all large writes, they are correct, and it now holds the bytes to be read.
    Compared,
    /// The target has the notifications of all reads; and the initiator's answer, that nothing is in flight.
    Finished,
}

impl PeerMessage {
    /// Its name on the wire.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            PeerMessage::Introduction { .. } => "introduction",
            PeerMessage::Ready => "ready",
            PeerMessage::Connected => "connected",
            PeerMessage::Delivered => "delivered",
            PeerMessage::Compared => "compared",
            PeerMessage::Finished => "finished",
        }
    }
}

/// The exit status of a worker that has lost its supervisor or its control channel; EX_PROTOCOL of sysexits.h.
pub(crate) const CHANNEL_LOST: i32 = 76;

/// From supervisor to worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ToWorker {
    /// The first message, once.
    Begin {
        /// Goes into every message of the worker.
        key: u64,
        /// What the worker does.
        work: Work,
    },
    /// From the other worker.
    Peer(PeerMessage),
    /// The last message: the supervisor has everything that it needs.
    End,
}

/// What a worker process is started for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// One side of a transfer.
    Transfer(Task),
    /// Load this plugin, and no more.
    Try(Blob),
}

/// A worker's message on the control channel.
///
/// A library that writes on descriptors that are not its own does not know the key, so nothing that it writes is believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Keyed {
    /// The key that the worker's first message carried.
    pub key: u64,
    /// The message.
    pub message: FromWorker,
}

/// From worker to supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FromWorker {
    /// A stage begins.
    Stage(Stage),
    /// How far the present stage has come with the payload.
    Progress(Share),
    /// What the library states about itself.
    Stated(Stated),
    /// The GPU whose memory holds the payload.
    Gpu(Gpu),
    /// Why the dynamic loader refused the plugin; None where it loaded. The last message of a worker without a transfer.
    Tried(Option<String>),
    /// For the other worker.
    Peer(PeerMessage),
    /// Everything on this side is correct. The last message.
    Done(Measurements),
    /// The worker has failed. The last message.
    Failed(Surrender),
}

/// A part of the payload, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// What is done.
    pub done: u64,
    /// All of it.
    pub of: u64,
}

impl Share {
    /// Rounded down; more than all of it is all of it.
    pub(crate) fn percent(self) -> u64 {
        let percent = u128::from(self.done) * 100 / u128::from(self.of.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX).min(100)
    }
}

/// What an engine's libraries state about themselves in answer to calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stated {
    /// The file that a native engine's library was loaded from.
    pub library: String,
    /// Its version.
    pub version: String,
    /// What will carry the bytes, where a call tells.
    pub carrier: Option<Carrier>,
    /// Below NIXL, the files of NIXL itself, UCX and libfabric.
    pub loaded: Vec<Loaded>,
}

/// A library that is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loaded {
    /// Its file.
    pub path: String,
    /// Its version, where it states one.
    pub version: Option<String>,
}

/// What a worker has measured and compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurements {
    /// Bytes compared on this side, all correct.
    pub compared: u64,
    /// The backend that NIXL has chosen for the initiator's transfers.
    pub chosen: Option<String>,
    /// Median latency of the small writes, from post to local completion, in microseconds.
    pub latency_us: Option<f64>,
    /// From the post of the first large write until the target has the notification of the last, in seconds.
    pub write_seconds: Option<f64>,
}

/// What will carry the bytes, as a native engine's library states it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Carrier {
    /// The fabrics; `None` where no call tells.
    pub fabric: Option<Fabrics>,
    /// The transports, under the library's names.
    pub transports: Vec<String>,
}

/// The GPU whose memory holds the payload, as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gpu {
    /// Its name.
    pub name: String,
    /// The CUDA version that the driver supports, such as `13.0`.
    pub cuda: String,
    /// The file that the driver's library was loaded from.
    pub driver: String,
}
