//! What a doctor saw: what is here, what can be loaded, the machine, and the verdict.

use std::path::PathBuf;

use serde::Serialize;

use super::audit::Knob;
use super::file::path_as_text;

/// One examination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Doctor {
    /// One line a backend and fabric.
    pub verdicts: Vec<Verdict>,
    /// What is installed that a transfer may use.
    pub components: Vec<Component>,
    /// Plugins of NIXL and modules of UCX, and whether each can be loaded.
    pub libraries: Vec<LibraryCheck>,
    /// The machine, or what a container lets a process see of it.
    pub machine: Machine,
    /// The variables that libraries read, and are set.
    pub variables: Vec<Setting>,
    /// The settings of the installed packages that choose a backend.
    pub settings: Vec<Knob>,
    /// The settings that images set for EFA.
    pub efa_settings: Vec<EfaSetting>,
    /// What `--compare` found, or null.
    pub comparison: Option<Comparison>,
    /// What this environment's variables choose for Dynamo.
    pub choice: Vec<String>,
    /// What `--fix` wrote, or `--undo` took back.
    pub repairs: Vec<Repair>,
}

/// Whether a backend can work over a fabric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Verdict {
    /// `UCX`, `LIBFABRIC`.
    pub backend: &'static str,
    /// `tcp`, `rdma`, `efa`, `cuda`.
    pub fabric: &'static str,
    /// Whether.
    pub outcome: Outcome,
    /// What it needs (on a node), or what is wrong (cannot).
    pub reasons: Vec<String>,
}

/// Whether it can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// Everything is here.
    Here,
    /// The image is right; the machine lacks something.
    OnANode,
    /// Not with this image.
    Cannot,
}

/// Something installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Component {
    /// What it is.
    pub kind: ComponentKind,
    /// Its name: `nixl-cu13`, or the library's file name.
    pub name: String,
    /// Its version, as the file itself or its distribution states it.
    pub version: Option<String>,
    /// Where it is.
    #[serde(serialize_with = "path_as_text")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub path: PathBuf,
    /// Who gets it, and what it has.
    pub remarks: Vec<String>,
}

/// What a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ComponentKind {
    /// A NIXL.
    Nixl,
    /// A UCX.
    Ucx,
    /// A libfabric.
    Libfabric,
    /// A libibverbs.
    Libibverbs,
    /// A driver of libibverbs.
    VerbsDriver,
    /// AWS's installer of libfabric and rdma-core.
    EfaInstaller,
    /// NVIDIA's driver library.
    CudaDriver,
    /// CUDA's runtime library.
    CudaRuntime,
    /// gdrcopy's library.
    Gdrcopy,
    /// A distribution of Dynamo's.
    Dynamo,
}

/// A library, and whether it can be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LibraryCheck {
    /// What it is: `plugin UCX`, `module libuct_ib`.
    pub role: String,
    /// The file.
    #[serde(serialize_with = "path_as_text")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub path: PathBuf,
    /// Why it cannot be loaded, from the files; empty when it can.
    pub gaps: Vec<String>,
    /// What the dynamic loader said to it: `loaded`, or its words; null when it was not asked.
    pub loader: Option<String>,
    /// Whether the loader loaded it; null when it was not asked.
    pub loaded: Option<bool>,
    /// The providers that a libfabric was built with, in its order; null for other libraries and when it was not asked.
    pub providers: Option<Vec<String>>,
}

/// What a process sees of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Machine {
    /// RDMA devices.
    pub rdma_devices: Vec<Device>,
    /// `/dev/infiniband/uverbs*` that this process may not open.
    pub forbidden: Vec<String>,
    /// Network interfaces besides the loopback.
    pub interfaces: Vec<String>,
    /// The limit on locked memory in bytes; null where there is none.
    pub memory_lock_bytes: Option<u64>,
    /// The limit on open files; null where there is none.
    pub open_files: Option<u64>,
    /// The size of `/dev/shm` in bytes; null where it is absent.
    pub shared_memory_bytes: Option<u64>,
    /// What of it is free, in bytes.
    pub shared_memory_free_bytes: Option<u64>,
    /// Huge pages of 2 MiB that are free.
    pub huge_pages: u64,
    /// Whether system calls are filtered (seccomp).
    pub seccomp: bool,
    /// `CAP_IPC_LOCK`, `CAP_SYS_PTRACE`, … that this process has, of those that matter here.
    pub capabilities: Vec<&'static str>,
    /// The configuration file that NIXL reads, or null.
    pub nixl_configuration: Option<String>,
}

/// One RDMA device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Device {
    /// The kernel's name.
    pub name: String,
    /// `EFA`, `InfiniBand or RoCE`.
    pub kind: &'static str,
    /// The backends that can use it.
    pub for_backends: Vec<&'static str>,
}

/// A variable that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Setting {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Who reads it.
    pub read_by: &'static str,
}

/// A repair that was made or undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Repair {
    /// The finding.
    pub id: &'static str,
    /// What was written, one thing an element.
    pub steps: Vec<String>,
}

/// This environment against the other end's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Comparison {
    /// The NIXL here.
    pub nixl: Option<String>,
    /// The other end's.
    pub other_nixl: Option<String>,
    /// The backends that can work on both ends.
    pub common: Vec<String>,
    /// The backends that the variables choose here, in order.
    pub choice: Vec<String>,
    /// Those that they choose there.
    pub other_choice: Vec<String>,
}

/// A variable that images set for EFA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EfaSetting {
    /// Its name.
    pub name: &'static str,
    /// The value that they set; null where there is none to recommend.
    pub recommended: Option<&'static str>,
    /// What it is for.
    pub purpose: &'static str,
    /// Who says so.
    pub source: &'static str,
    /// Its value here; null when it is not set.
    pub value: Option<String>,
}
