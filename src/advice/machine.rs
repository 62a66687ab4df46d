//! What this machine allows a process.

use crate::environment::machine;
use crate::report::finding::{Finding, Severity};

/// The size of a container's shared memory that asks for none. Two agents with eight threads each, as Dynamo's embedding
/// transfer has them, do not fit into it (measured with NIXL 1.5.0).
const SMALL: u64 = 64 << 20;

/// What to do when memory cannot be registered; None where the limit is none.
pub(crate) fn memory_lock() -> Option<String> {
    let bytes = machine::memory_lock()?;
    Some(format!(
        "raise the limit on locked memory ({} KiB here), which RDMA needs unlimited (`docker run --ulimit memlock=-1`, or \
         `ulimit -l unlimited`); a smaller `--size` needs less",
        bytes >> 10
    ))
}

/// Where processes share memory; a container's has 64 MiB unless it asks for more.
pub(crate) const SHARED_MEMORY: &str = "/dev/shm";

/// The finding about a small `/dev/shm`, whose size and free part in bytes these are.
pub(crate) fn small_shared_memory(space: Option<(u64, u64)>) -> Option<Finding> {
    let (total, free) = space.filter(|(total, free)| *total > 0 && free.min(total) <= &SMALL)?;
    Some(Finding {
        id: "shared-memory-small",
        severity: Severity::Warning,
        message: format!("`{SHARED_MEMORY}` has {} MiB, of which {} MiB are free", total >> 20, free >> 20),
        consequence:
            "UCX keeps its queues there and dies by SIGSEGV or SIGBUS where they do not fit: the two agents of \
                      Dynamo's embedding transfer do not fit into 64 MiB"
                .into(),
        cure: vec![SHARED_MEMORY_CURE.into()],
        path: None,
        line: None,
    })
}

/// How a container gets more shared memory, or needs none.
const SHARED_MEMORY_CURE: &str = "give the container more (`docker run --shm-size=1g`; in Kubernetes an `emptyDir` with `medium: \
    Memory` at /dev/shm), or do without it (`UCX_TLS=^mm`)";

/// What to do about a process that died by SIGSEGV or SIGBUS, where `/dev/shm` is small.
pub(crate) fn died_of_shared_memory() -> Option<String> {
    let finding = small_shared_memory(machine::space(SHARED_MEMORY))?;
    Some(format!("{SHARED_MEMORY_CURE}: {}, and UCX dies by this signal where its queues do not fit", finding.message))
}

/// What to do about too many open files.
pub(crate) fn open_files() -> String {
    let limit = machine::open_files().map_or("none here".into(), |limit| format!("{limit} here"));
    format!("raise the limit on open files ({limit}; `docker run --ulimit nofile=65536`, or `ulimit -n 65536`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_shared_memory_is_told() {
        let finding = |total: u64, free: u64| small_shared_memory(Some((total << 20, free << 20)));
        let docker = finding(64, 60).unwrap();
        assert!(docker.message.contains("64 MiB, of which 60 MiB"), "{}", docker.message);
        assert!(finding(1024, 10).is_some() && finding(1024, 1000).is_none());
        assert_eq!(small_shared_memory(None), None);
    }
}
