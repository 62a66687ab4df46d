//! What a user asks of a transfer.

use std::path::PathBuf;
use std::time::Duration;

use super::engine::EngineChoice;
use super::fabric::RequiredFabric;
use super::fault::Fault;
use super::memory::Memory;
use crate::choice::backend::Backend;

/// Default payload in each direction, in bytes.
const SIZE: u64 = 64 << 20;
/// Default number of large messages in each direction.
const ITERATIONS: u32 = 4;

/// The options of a transfer.
#[derive(Clone, Debug)]
pub struct TransferOptions {
    /// The initiator's backends; empty for the default.
    pub backends: Vec<Backend>,
    /// The target's backends; empty for the initiator's.
    pub peer_backends: Vec<Backend>,
    /// What moves the bytes.
    pub engine: EngineChoice,
    /// The memory that the payload is in.
    pub memory: Memory,
    /// Payload in each direction, in bytes, if given.
    pub size: Option<u64>,
    /// Large messages in each direction, if given.
    pub iterations: Option<u32>,
    /// Deadline of the whole transfer.
    pub timeout: Duration,
    /// Overrides NIXL's plugin directory.
    pub plugin_dir: Option<PathBuf>,
    /// Directories to search for libraries before LD_LIBRARY_PATH.
    pub library_path: Vec<PathBuf>,
    /// What must have carried the bytes.
    pub require_fabric: RequiredFabric,
    /// A fault to inject, for tests.
    pub fault: Option<Fault>,
}

impl TransferOptions {
    /// Payload in each direction, in bytes.
    pub fn size(&self) -> u64 {
        self.size.unwrap_or(SIZE)
    }

    /// Large messages in each direction.
    pub fn iterations(&self) -> u32 {
        self.iterations.unwrap_or(ITERATIONS)
    }
}
