//! What this machine allows a process.

use rustix::process::{Resource, getrlimit};

/// What to do when memory cannot be registered.
pub(crate) fn memory_lock() -> String {
    let limit = getrlimit(Resource::Memlock).current;
    let text = limit.map_or("unlimited".into(), |bytes| format!("{} KiB", bytes >> 10));
    format!(
        "The limit on locked memory is {text}: RDMA needs it unlimited (docker run --ulimit memlock=-1, or ulimit -l \
         unlimited). A smaller --size needs less."
    )
}
