//! What supervisor and worker say to each other.

use serde::{Deserialize, Serialize};

use super::blob::Blob;
use super::cause::Surrender;
use crate::report::fabric::Fabrics;
use crate::report::stage::Stage;
use crate::smoke::plan::engine::EngineKind;
use crate::smoke::plan::fault::Fault;
use crate::smoke::plan::memory::Memory;
use crate::smoke::plan::role::Role;

/// What a worker is told to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
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
pub(crate) struct TaskBackend {
    /// NIXL's name of it.
    pub name: String,
    /// Where its plugin should be, for the diagnosis when NIXL cannot use it.
    pub plugin: Option<Blob>,
}

/// What one worker tells the other; the supervisor passes it on unread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PeerMessage {
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
pub(crate) enum ToWorker {
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
pub(crate) enum FromWorker {
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
pub(crate) struct Stated {
    /// The file that was loaded.
    pub library: String,
    /// Its version.
    pub version: String,
    /// What will carry the bytes, where calls can tell.
    pub carrier: Option<Carrier>,
}

/// What an initiator has measured and a target has checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurements {
    /// Bytes compared at this side, all right.
    pub compared: u64,
    /// The backend that NIXL chose for the initiator's transfers.
    pub chosen: Option<String>,
    /// Median of the small writes, post to completion, in microseconds.
    pub latency_us: Option<f64>,
    /// From the first large write's post until the target had been notified of the last, in seconds.
    pub write_seconds: Option<f64>,
}

/// What a native engine's library says will carry the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Carrier {
    /// The fabrics; `None` where calls do not settle it.
    pub fabric: Option<Fabrics>,
    /// The transports, in the library's words.
    pub transports: Vec<String>,
}

/// A GPU whose memory is used, as its driver states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gpu {
    /// Its name.
    pub name: String,
    /// The CUDA version that the driver supports, `13.0` for example.
    pub cuda: String,
    /// The file that the driver's library was loaded from.
    pub driver: String,
}
