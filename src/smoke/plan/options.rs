//! What a user asks of a transfer.

use std::path::PathBuf;
use std::time::Duration;

use super::engine::EngineChoice;
use super::fabric::RequiredFabric;
use super::fault::Fault;
use super::memory::Memory;
use crate::choice::backend::Backend;

/// Payload in each direction, where none is named.
const SIZE: u64 = 64 << 20;
/// Large messages in each direction, where no number is named.
const ITERATIONS: u32 = 4;

/// The options of a transfer.
#[derive(Clone, Debug)]
pub struct TransferOptions {
    /// The initiator's backends; empty where none are named.
    pub backends: Vec<Backend>,
    /// The target's backends; empty where they are the initiator's.
    pub peer_backends: Vec<Backend>,
    /// What shall move the bytes.
    pub engine: EngineChoice,
    /// Whose memory the payload lies in.
    pub memory: Memory,
    /// Payload in each direction, in bytes.
    pub size: Option<u64>,
    /// Large messages in each direction.
    pub iterations: Option<u32>,
    /// Deadline of the whole transfer.
    pub timeout: Duration,
    /// Overrides NIXL's plugin folder.
    pub plugin_dir: Option<PathBuf>,
    /// Folders to look for libraries in, before LD_LIBRARY_PATH.
    pub library_path: Vec<PathBuf>,
    /// What must have carried the bytes.
    pub require_fabric: RequiredFabric,
    /// A fault that a worker commits on purpose, for tests.
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
