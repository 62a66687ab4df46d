//! UCX through libucp, loaded at run time: the native engine for the backend UCX.
//!
//! One thread makes all calls. Worker and context are destroyed once the supervisor has the result.
//!
//! **Order of notifications.** A notification is sent once a `ucp_ep_flush_nbx` is complete that was called after the put or
//! get was posted: "All the AMO and RMA operations issued on the ep prior to this call are completed both at the origin and
//! at the target endpoint when this call returns" (ucp.h; or when the returned request is complete). So the bytes are in
//! the target's memory before their notification leaves, in whatever order the lanes deliver.

mod abi;
mod transfer;
mod worker;

use std::path::Path;
use std::ptr;

use super::interface::{Engine, Place, Transfer};
use super::library::{self, Scope};
use super::region::Region;
use crate::report::stage::Stage;
use crate::smoke::plan::memory;
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::worker::Stated;
use transfer::UcpTransfer;
use worker::{Functions, Peer, StatusFunctions, Ucp};

/// Loads libucp and creates a worker. UCX reads its configuration from this process's environment; `is_set` tells
/// whether a variable of it is set.
pub(super) fn open(
    path: &Path,
    is_set: &dyn Fn(&str) -> bool,
    enter: &mut dyn FnMut(Stage),
) -> Result<Box<dyn Engine>, Cause> {
    enter(Stage::Load);
    // UCX loads modules later, and they use its symbols.
    let library = library::load(path, Scope::Global)?;
    let functions = Functions::find(&library)?;
    let statuses = StatusFunctions::find(&library)?;
    std::mem::forget(library);
    enter(Stage::Agent);
    let file = library::mapped("libucp").unwrap_or_else(|| path.to_path_buf());
    let stated =
        Stated { library: file.display().to_string(), version: functions.library_version(), ..Stated::default() };
    let mut ucp = Ucp {
        functions,
        statuses,
        context: ptr::null_mut(),
        worker: ptr::null_mut(),
        memory: None,
        peer: None,
        stated,
    };
    ucp.create_context(is_set)?;
    enter(Stage::Backend);
    ucp.create_worker()?;
    Ok(Box::new(ucp))
}

impl Engine for Ucp {
    fn register(&mut self, region: &Region) -> Result<(), Cause> {
        let memory = self.map(region)?;
        if region.memory() != memory::Memory::Dram {
            self.require_gpu_memory(&memory)?;
        }
        self.memory = Some(memory);
        Ok(())
    }

    /// The address's length in four bytes, little-endian, the address, and the packed remote key.
    fn metadata(&self) -> Result<Vec<u8>, Cause> {
        let address = self.address()?;
        let too_long = |_| Cause::Protocol(format!("UCX's worker address has {} bytes", address.len()));
        let length = u32::try_from(address.len()).map_err(too_long)?;
        let mut metadata = length.to_le_bytes().to_vec();
        metadata.extend(address);
        metadata.extend(self.packed_key()?);
        Ok(metadata)
    }

    fn load_peer(&mut self, metadata: &[u8]) -> Result<(), Cause> {
        let truncated = || Cause::Protocol("the peer's metadata is truncated".into());
        let (address, packed) = split(metadata).ok_or_else(truncated)?;
        let endpoint = self.connect(address)?;
        let key = self.unpack_key(endpoint, packed)?;
        self.peer = Some(Peer { endpoint, key });
        Ok(())
    }

    fn prepare<'a>(
        &'a self,
        operation: Operation,
        place: Place,
        notification: Option<&[u8]>,
    ) -> Result<Box<dyn Transfer + 'a>, Cause> {
        let memory = self.memory()?;
        place.check_within(memory.first, memory.length)?;
        let peer = self.peer.ok_or_else(|| Cause::Protocol("the peer's metadata is not loaded".into()))?;
        Ok(Box::new(UcpTransfer::new(self, peer, memory.handle, operation, place, notification)))
    }

    fn notifications(&self) -> Result<Vec<Vec<u8>>, Cause> {
        self.make_progress();
        self.receive_notifications()
    }

    fn progress(&self) -> Result<(), Cause> {
        self.make_progress();
        Ok(())
    }

    fn has_progress_thread(&self) -> bool {
        false
    }

    fn stated(&self) -> Option<Stated> {
        Some(self.stated.clone())
    }

    fn close(self: Box<Self>) {
        self.destroy();
    }
}

fn split(metadata: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = metadata.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    (0 < length && length < rest.len()).then(|| rest.split_at(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_metadata_is_refused() {
        assert_eq!(split(&[2, 0, 0, 0, 7, 8, 9]), Some((&[7, 8][..], &[9][..])));
        for wrong in [&[][..], &[1, 0, 0], &[0, 0, 0, 0, 1], &[1, 0, 0, 0], &[2, 0, 0, 0, 7, 8], &[255; 6]] {
            assert_eq!(split(wrong), None, "{wrong:?}");
        }
    }
}
