//! The stand-in for libcuda.so.1 that the program carries, given to a worker without a file anywhere.
//!
//! The library lives in memory that this process holds open (memfd_create(2)), and a worker loads it by that
//! descriptor's name under /proc. It is gone with this process, however that ends.

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
    /// Puts it there.
    ///
    /// # Errors
    /// Where the kernel or a sandbox refuses.
    pub(crate) fn new() -> io::Result<StandIn> {
        let mut memory = File::from(rustix::fs::memfd_create("libcuda.so.1", MemfdFlags::CLOEXEC)?);
        memory.write_all(LIBRARY)?;
        // This process's number as /proc, which may belong to another namespace of numbers, has it.
        Ok(StandIn { memory, own_process: std::fs::read_link("/proc/self")? })
    }

    /// The path that a worker finds it at, as long as this value lives.
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
