//! What this machine allows a process.

use rustix::process::{Resource, getrlimit};

/// What to do when memory cannot be registered.
pub(crate) fn memory_lock() -> String {
    let limit = getrlimit(Resource::Memlock).current;
    let text = limit.map_or("already unlimited here".into(), |bytes| format!("{} KiB here", bytes >> 10));
    format!(
        "raise the limit on locked memory ({text}), which RDMA needs unlimited (`docker run --ulimit memlock=-1`, or `ulimit \
         -l unlimited`); a smaller `--size` needs less"
    )
}
