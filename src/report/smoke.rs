//! What a smoke transfer came to.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::fabric::Fabrics;
use super::file::{path_as_text, path_or_null};
use super::finding::Finding;
use super::stage::Stage;

/// What a transfer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum SmokeStatus {
    /// The target's bytes were compared after the target was notified, and were right.
    Passed,
    /// Anything else that was tried.
    Failed,
    /// Not tried; `reason` says why.
    Skipped,
}

/// Which code moved the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum SmokeEngine {
    /// The installed NIXL, through its C API.
    Nixl,
    /// UCX or libfabric themselves.
    Native,
}

/// The library that the native engine has used, as it states itself.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NativeLibrary {
    /// The file that was loaded.
    pub path: String,
    /// Its version.
    pub version: String,
}

/// A library that was loaded below NIXL.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LoadedLibrary {
    /// Its file.
    pub path: String,
    /// Its version, where it states one.
    pub version: Option<String>,
}

/// Whether the plugin of a NIXL without a C API can be loaded: what the native engine cannot tell.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PluginCheck {
    /// The plugin's file.
    #[serde(serialize_with = "path_as_text")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub path: PathBuf,
    /// Whether the dynamic loader accepts it.
    pub loads: bool,
    /// The result in a sentence, with the loader's words where it does not.
    pub message: String,
}

/// A GPU whose memory was used, as its driver states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Gpu {
    /// Its name.
    pub name: String,
    /// The CUDA version that the driver supports, `13.0` for example.
    pub cuda: String,
    /// The file that the driver's library was loaded from.
    pub driver: String,
}

/// The other end of a transfer between two machines.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PeerReport {
    /// The address and the port at its end of the control connection.
    pub address: String,
    /// Its machine's own name.
    pub host: String,
    /// Its NIXL's version.
    pub nixl_version: Option<String>,
}

/// One smoke transfer. A field is null when it was not observed.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Smoke {
    /// Passed, failed or skipped.
    pub status: SmokeStatus,
    /// Why it was skipped.
    pub reason: Option<String>,
    /// The code that moved the bytes.
    pub engine: Option<SmokeEngine>,
    /// NIXL's name of the backend, `UCX` for example; of several in one agent, in their order: `LIBFABRIC,UCX`.
    pub backend: Option<String>,
    /// The target's backends, where its agent has others than the initiator's; else null.
    pub peer_backend: Option<String>,
    /// The backend that NIXL chose among those of the agents, or null where there was no NIXL or it did not get so far.
    pub chosen_backend: Option<String>,
    /// What carried the bytes, as the running library states it: efa, ib, tcp, shm, …
    pub fabric: Option<Fabrics>,
    /// The transports in the running library's own words, `tcp/eth0` for example.
    pub transports: Vec<String>,
    /// Whose memory the bytes were moved from and to: `dram`, or `vram:N` for the GPU with that number.
    pub memory: Option<String>,
    /// That GPU as its driver states it, or null.
    pub gpu: Option<Gpu>,
    /// Payload bytes that were moved and compared, both directions together.
    pub bytes: u64,
    /// Whether every byte was compared at its destination, after the notification, and was right.
    pub verified: bool,
    /// Median time of one small WRITE, post to completion at the initiator, in microseconds.
    pub latency_us: Option<f64>,
    /// Large WRITEs, in Gbit/s (10^9 bits a second).
    pub bandwidth_gbit_s: Option<f64>,
    /// The whole transfer, workers' start and end included, in milliseconds.
    pub duration_ms: f64,
    /// The part of it until both agents were connected: NIXL's own set-up, in milliseconds.
    pub setup_ms: Option<f64>,
    /// The installed NIXL's version, from its distribution.
    pub nixl_version: Option<String>,
    /// The C API library that was loaded.
    #[serde(serialize_with = "path_or_null")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub nixl_library: Option<PathBuf>,
    /// Where NIXL looked for its plugins.
    #[serde(serialize_with = "path_or_null")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub plugin_dir: Option<PathBuf>,
    /// The files of NIXL, UCX and libfabric that NIXL's process had loaded.
    pub loaded: Vec<LoadedLibrary>,
    /// The library of the native engine, or null.
    pub native_library: Option<NativeLibrary>,
    /// Whether the plugin of a NIXL without a C API would have loaded, or null.
    pub plugin: Option<PluginCheck>,
    /// What this program added to or withheld from the workers' environment: `NAME=value`, `-NAME`.
    pub environment: Vec<String>,
    /// Libraries of which only a stand-in could be given to the workers: `libcuda.so.1`.
    pub stand_ins: Vec<String>,
    /// Between two machines: `initiator` (the end that connects) or `target`, whichever ran here.
    pub role: Option<String>,
    /// The other end, between two machines.
    pub peer: Option<PeerReport>,
    /// What a user should know although it passed.
    pub warnings: Vec<String>,
    /// What this machine's files and libraries show to be wrong; the document has them once, for all transfers.
    #[serde(skip)]
    pub findings: Vec<Finding>,
    /// What went wrong, or null.
    pub failure: Option<Failure>,
}

impl Smoke {
    /// A transfer that was not made.
    pub(crate) fn skipped(backend: &str, reason: String) -> Self {
        Smoke { status: SmokeStatus::Skipped, reason: Some(reason), ..Smoke::nothing_observed(backend) }
    }

    /// A transfer of which nothing is known yet: it has failed until something better is seen.
    pub(crate) fn nothing_observed(backend: &str) -> Self {
        Smoke {
            status: SmokeStatus::Failed,
            reason: None,
            engine: None,
            backend: Some(backend.into()),
            peer_backend: None,
            chosen_backend: None,
            fabric: None,
            transports: Vec::new(),
            memory: None,
            gpu: None,
            bytes: 0,
            verified: false,
            latency_us: None,
            bandwidth_gbit_s: None,
            duration_ms: 0.0,
            setup_ms: None,
            nixl_version: None,
            nixl_library: None,
            plugin_dir: None,
            loaded: Vec::new(),
            native_library: None,
            plugin: None,
            environment: Vec::new(),
            stand_ins: Vec::new(),
            role: None,
            peer: None,
            warnings: Vec::new(),
            findings: Vec::new(),
            failure: None,
        }
    }
}

/// Where a transfer failed, in whose words, and what to do about it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Failure {
    /// Where.
    pub stage: Stage,
    /// What happened, with the library's own last lines where there are any.
    pub message: String,
    /// What to do next.
    pub advice: String,
}
