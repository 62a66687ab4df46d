//! Why a worker gave up.

use serde::{Deserialize, Serialize};

use crate::report::stage::Stage;
use crate::smoke::plan::operation::Operation;

/// libfabric's function that starts an endpoint, as [`Cause::Library`] names it.
pub(crate) const FI_ENABLE: &str = "fi_enable";

/// Why a worker gave up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Surrender {
    /// Where.
    pub stage: Stage,
    /// What happened.
    pub cause: Cause,
}

/// What happened, as far as the worker can tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
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
        /// What moved them.
        operation: Operation,
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

/// Why a GPU's memory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GpuTrouble {
    /// The dynamic loader finds no driver; its own words.
    NoDriver(String),
    /// What was loaded lacks a function that every driver has.
    Incomplete {
        /// The file that was loaded.
        driver: String,
        /// The function.
        name: String,
    },
    /// There is no GPU with that number.
    NoSuchDevice {
        /// The number.
        wanted: u16,
        /// How many GPUs the driver shows.
        count: u32,
    },
    /// The GPU has not that many bytes left.
    Full {
        /// Bytes that were asked for.
        wanted: u64,
        /// Bytes that are free.
        free: u64,
        /// All its bytes; zero where the driver does not say.
        total: u64,
    },
    /// UCX takes the GPU's memory for the host's.
    TakenForHost,
    /// A function of the driver returned an error.
    Call {
        /// Its name.
        function: String,
        /// CUresult of cuda.h.
        status: i32,
        /// The error's name; empty when the driver knows none.
        name: String,
        /// What it means, in the driver's words.
        words: String,
        /// The file that the driver was loaded from.
        driver: String,
    },
}
