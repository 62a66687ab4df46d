//! What this machine or container gives a process: shared memory and limits.

use rustix::process::{Resource, getrlimit};

/// Where processes share memory; a container's has 64 MiB unless it asks for more.
pub(crate) const SHARED_MEMORY: &str = "/dev/shm";

/// A file system's size and its free part, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// All of it.
    pub total: u64,
    /// What is free.
    pub free: u64,
}

/// The size of `/dev/shm`; None where there is none. A size of 0 is unlimited (tmpfs(5)).
pub(crate) fn shared_memory() -> Option<Space> {
    let status = rustix::fs::statvfs(SHARED_MEMORY).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(status.f_frsize);
    (status.f_blocks > 0).then(|| Space { total: bytes(status.f_blocks), free: bytes(status.f_bavail) })
}

/// The limit on locked memory in bytes; None where there is none.
pub(crate) fn locked_memory() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// The limit on open files; None where there is none.
pub(crate) fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
