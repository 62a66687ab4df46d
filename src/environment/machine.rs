//! What the kernel grants this process: limits, memory, capabilities.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// The capabilities that transfers depend on: registering memory beyond the limit, reading another process's memory
/// (UCX's `cma`), raw queue pairs. Numbers from `linux/capability.h`.
const CAPABILITIES: [(&str, u32); 4] =
    [("CAP_NET_RAW", 13), ("CAP_IPC_LOCK", 14), ("CAP_SYS_PTRACE", 19), ("CAP_SYS_ADMIN", 21)];

/// The limit on locked memory in bytes; None where there is none.
pub(crate) fn memory_lock() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// The limit on open files; None where there is none.
pub(crate) fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Size and free space of a file system in bytes; None when there is none.
pub(crate) fn space(path: &str) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}

/// The free huge pages of the machine's usual size (`HugePages_Free` of proc_meminfo(5)).
pub(crate) fn free_huge_pages() -> u64 {
    field("/proc/meminfo", "HugePages_Free:").and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Whether a filter decides about system calls (`Seccomp: 2` of proc_pid_status(5)).
pub(crate) fn has_seccomp_filter() -> bool {
    field("/proc/self/status", "Seccomp:").as_deref() == Some("2")
}

/// Those of the capabilities that transfers depend on which this process has (`CapEff` of proc_pid_status(5)).
pub(crate) fn capabilities() -> Vec<&'static str> {
    let mask = field("/proc/self/status", "CapEff:").and_then(|text| u64::from_str_radix(&text, 16).ok()).unwrap_or(0);
    CAPABILITIES.iter().filter(|(_, number)| mask >> number & 1 == 1).map(|(name, _)| *name).collect()
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        assert!(field("/proc/self/status", "CapEff:").is_some());
        assert!(open_files().is_none_or(|count| count > 0));
        assert!(space("/").is_some_and(|(size, free)| size >= free));
        assert_eq!(space("/nonexistent-folder"), None);
    }
}
