//! Whether any process still uses a file, wherever it runs: `/proc` shows only those of this PID namespace.
//!
//! The kernel grants a lease for reading only while nobody has the file open for writing, and a shared mapping that may be
//! written keeps it open (fcntl(2), `F_SETLEASE`; measured on tmpfs, Linux 6.18).
#![allow(unsafe_code, reason = "a system call")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Whether the kernel states that nobody writes to the file, through a descriptor or a mapping. False too where it cannot
/// tell: the file is another user's, or its file system has no leases.
pub(crate) fn has_no_writer(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    // SAFETY: the descriptor is open, and the call takes no pointer. The lease ends with the descriptor.
    let status = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    status == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_anywhere_is_noticed() {
        let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
        assert!(!has_no_writer(file.path()), "this process writes");
        let path = file.into_temp_path();
        assert!(has_no_writer(&path));
        assert!(!has_no_writer(Path::new("/dev/shm/no/such/file")));
    }
}
