//! The stand-in for libcuda.so.1 that is part of this program, given to a worker without a file on disk.
//!
//! The library is in memory that this process holds open (memfd_create(2)); a worker loads it by the descriptor's name
//! under /proc. It disappears with this process, however that ends.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use rustix::fs::MemfdFlags;

/// Compiled by build.rs from cuda_stand_in/libcuda.rs.
static LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libcuda.so.1"));

/// The library, in memory.
#[derive(Debug)]
pub(crate) struct StandIn {
    memory: File,
    own_process: PathBuf,
}

impl StandIn {
    /// Creates it.
    ///
    /// # Errors
    /// If the kernel or a sandbox refuses.
    pub(crate) fn new() -> io::Result<StandIn> {
        let mut memory = File::from(rustix::fs::memfd_create("libcuda.so.1", MemfdFlags::CLOEXEC)?);
        memory.write_all(LIBRARY)?;
        // The process ID as /proc has it: it may have been mounted in another PID namespace.
        Ok(StandIn { memory, own_process: std::fs::read_link("/proc/self")? })
    }

    /// Its path for a worker, valid as long as this value lives.
    pub(crate) fn path(&self) -> PathBuf {
        let descriptor = self.memory.as_raw_fd().to_string();
        PathBuf::from("/proc").join(&self.own_process).join("fd").join(descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::elf::shared_library::SharedLibrary;

    #[test]
    fn the_stand_in_is_a_library_that_needs_nothing() {
        let stand_in = StandIn::new().unwrap();
        let library = SharedLibrary::read(&stand_in.path()).unwrap();
        assert_eq!(library.soname.as_deref(), Some("libcuda.so.1"));
        assert_eq!(library.needed, Vec::<String>::new());
    }
}
