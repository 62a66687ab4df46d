//! Why a worker failed.

use serde::{Deserialize, Serialize};

use crate::report::stage::Stage;
use crate::smoke::plan::operation::Operation;

/// The name in [`Cause::Library`] of libfabric's function that enables an endpoint.
pub(crate) const FI_ENABLE: &str = "fi_enable";

/// Why a worker failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Surrender {
    /// The stage that it was in.
    pub stage: Stage,
    /// What happened.
    pub cause: Cause,
}

/// What failed, as the worker sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// The dynamic loader refused a library, in its own words.
    Loader(String),
    /// The library does not export the function with this name.
    MissingFunction(String),
    /// A function of the C API returned an error.
    Call {
        /// Its name.
        function: String,
        /// `nixl_capi_status_t`.
        status: i32,
    },
    /// A function of UCX or libfabric returned an error.
    Library {
        /// Its name.
        function: String,
        /// What it returned.
        status: i64,
        /// The status in the library's own words.
        words: String,
    },
    /// libfabric offers none of the providers that NIXL accepts.
    NoProvider {
        /// The providers that NIXL accepts, in its order.
        wanted: Vec<String>,
        /// The providers that libfabric offers.
        offered: Vec<String>,
    },
    /// NIXL does not know the backend, or could not create it.
    Backend {
        /// Its name.
        name: String,
        /// The failed function's name.
        function: Box<str>,
        /// `nixl_capi_status_t`.
        status: i32,
        /// The plugins that NIXL lists.
        offered: Vec<String>,
        /// Why the dynamic loader refused the plugin's file on its own; None where it loaded or does not exist.
        loader: Option<String>,
        /// The providers that libfabric offers, in its order, where the plugin for it has found no device.
        #[serde(default)]
        providers: Box<[String]>,
    },
    /// The comparison found wrong bytes.
    Mismatch {
        /// What moved them.
        operation: Operation,
        /// The message's number, from 1.
        message: usize,
        /// Offset of the first wrong byte in the payload.
        offset: u64,
        /// The byte that belongs there.
        expected: u8,
        /// The byte that is there.
        found: u8,
        /// Number of wrong bytes in the message.
        wrong: u64,
        /// Number of wrong bytes that are those from before the transfer.
        untouched: u64,
        /// The message's length in bytes.
        length: u64,
    },
    /// The allocation failed for a payload of this many bytes; 0 for other memory.
    Memory(u64),
    /// GPU memory cannot be used.
    Gpu(GpuTrouble),
    /// The supervisor or the other worker violated the protocol.
    Protocol(String),
}

/// Why GPU memory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GpuTrouble {
    /// The dynamic loader found no driver, in its own words.
    NoDriver(String),
    /// The loaded library lacks a function of the driver.
    Incomplete {
        /// The file that was loaded.
        driver: String,
        /// The function.
        name: String,
    },
    /// There is no GPU with this number.
    NoSuchDevice {
        /// The requested number.
        wanted: u16,
        /// Number of GPUs that the driver lists.
        count: u32,
    },
    /// The GPU has too little free memory.
    Full {
        /// Requested bytes.
        wanted: u64,
        /// Free bytes.
        free: u64,
        /// Total bytes; 0 where the driver does not say.
        total: u64,
    },
    /// UCX has misdetected GPU memory as host memory.
    TakenForHost,
    /// A function of the driver returned an error.
    Call {
        /// Its name.
        function: String,
        /// `CUresult` of cuda.h.
        status: i32,
        /// The error's name; empty where the driver has none.
        name: String,
        /// The error in the driver's words.
        words: String,
        /// The file that the driver was loaded from.
        driver: String,
    },
}
