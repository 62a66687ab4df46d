//! libfabric, loaded at run time: the native engine for the backend LIBFABRIC.
//!
//! Most of libfabric's functions are inline in its headers and go through tables of pointers in its objects; `abi` declares
//! those. One thread makes all calls. The objects are closed once the supervisor has the result.
//!
//! **Order of notifications.** A notification is a message that is sent when every write or read of its transfer has
//! completed. Writes complete with `FI_DELIVERY_COMPLETE`: "a completion will not be generated until an operation has been
//! processed by the destination endpoint(s)" and "the result of the operation is available" (fi_cq(3)), so the bytes are in
//! place before their notification leaves. A provider without delivery completion must promise `FI_ORDER_SAW`: it processes
//! a message after the writes before it. If a provider breaks its promise, the comparison at the target fails: a false
//! failure, never a false success.

mod abi;
mod endpoint;
mod functions;
mod movement;
mod operations;
mod provider;

use std::path::Path;

use libloading::os::unix::Library;

use super::interface::{Engine, Place, Transfer};
use super::library::{self, Scope};
use super::region::Region;
use crate::report::stage::Stage;
use crate::smoke::plan::memory;
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::worker::Stated;
use endpoint::{Libfabric, Memory, Peer};
use functions::Functions;
use movement::Movement;
use operations::LONGEST_NOTIFICATION;

/// The interface version that NIXL's plugin asks for; an older library is asked for its own.
const INTERFACE: u32 = abi::version(1, 18);
/// Key of the payload's registration, where the provider does not choose it.
const PAYLOAD_KEY: u64 = 1;

/// The providers that the libfabric which this process has loaded offers, in its order; none where it has loaded none.
pub(super) fn offered() -> Vec<String> {
    let Some(library) = library::mapped("libfabric.").and_then(|path| library::load(&path, Scope::Local).ok()) else {
        return Vec::new();
    };
    let functions = Functions::find(&library);
    std::mem::forget(library);
    let Ok(functions) = functions else { return Vec::new() };
    provider::offered(&functions, functions.interface_version().min(INTERFACE))
}

/// The providers that a loaded libfabric was built with, usable here or not; None where the library is none, or lists none.
pub(super) fn built_in(library: &Library) -> Option<Vec<String>> {
    let functions = Functions::find(library).ok()?;
    let version = functions.interface_version().min(INTERFACE);
    provider::built_in(&functions, version).ok().filter(|providers| !providers.is_empty())
}

/// Loads libfabric, chooses a provider that can move this kind of memory, and opens an endpoint.
pub(super) fn open(
    path: &Path,
    memory: memory::Memory,
    enter: &mut dyn FnMut(Stage),
) -> Result<Box<dyn Engine>, Cause> {
    enter(Stage::Load);
    let library = library::load(path, Scope::Local)?;
    let functions = Functions::find(&library)?;
    std::mem::forget(library);
    enter(Stage::Agent);
    let version = functions.interface_version();
    let (info, provider) = provider::choose(&functions, version.min(INTERFACE), memory)?;
    let file = library::mapped("libfabric").unwrap_or_else(|| path.to_path_buf());
    let (major, minor) = (version >> 16, version & 0xffff);
    let stated =
        Stated { library: file.display().to_string(), version: format!("{major}.{minor}"), ..Stated::default() };
    enter(Stage::Backend);
    Ok(Box::new(Libfabric::start(functions, info, provider, stated)?))
}

impl Engine for Libfabric {
    fn register(&mut self, region: &Region) -> Result<(), Cause> {
        let access = abi::FI_READ | abi::FI_WRITE | abi::FI_REMOTE_READ | abi::FI_REMOTE_WRITE;
        let registration = self.register_memory(region, access, PAYLOAD_KEY)?;
        self.memory = Some(Memory { registration, first: region.address(), length: region.len() });
        Ok(())
    }

    /// Key and base in eight bytes each, little-endian, then the endpoint's name.
    fn metadata(&self) -> Result<Vec<u8>, Cause> {
        let base = if self.demands(abi::FI_MR_VIRT_ADDR) { 0 } else { self.memory()?.first as u64 };
        Ok([&self.key()?.to_le_bytes()[..], &base.to_le_bytes(), &self.name()?].concat())
    }

    fn load_peer(&mut self, metadata: &[u8]) -> Result<(), Cause> {
        let truncated = || Cause::Protocol("the peer's metadata is truncated".into());
        let (key, base, name) = split(metadata).ok_or_else(truncated)?;
        self.peer = Some(Peer { address: self.insert(name)?, key, base });
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
        if let Some(length) = notification.map(<[u8]>::len).filter(|length| *length > LONGEST_NOTIFICATION) {
            return Err(Cause::Protocol(format!(
                "a notification of {length} bytes exceeds the limit of {LONGEST_NOTIFICATION} bytes"
            )));
        }
        let peer = self.peer.ok_or_else(|| Cause::Protocol("the peer's metadata is not loaded".into()))?;
        let descriptor = self.descriptor(memory.registration);
        Ok(Box::new(Movement::new(self, peer, operation, place, descriptor, notification)))
    }

    fn notifications(&self) -> Result<Vec<Vec<u8>>, Cause> {
        self.make_progress()?;
        Ok(std::mem::take(&mut self.operations.borrow_mut().inbox))
    }

    fn progress(&self) -> Result<(), Cause> {
        self.make_progress()
    }

    fn has_progress_thread(&self) -> bool {
        false
    }

    fn stated(&self) -> Option<Stated> {
        Some(self.stated.clone())
    }

    fn close(self: Box<Self>) {
        self.close_all();
    }
}

fn split(metadata: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (key, rest) = metadata.split_first_chunk::<8>()?;
    let (base, name) = rest.split_first_chunk::<8>()?;
    (!name.is_empty()).then(|| (u64::from_le_bytes(*key), u64::from_le_bytes(*base), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_metadata_is_refused() {
        let whole = [&7u64.to_le_bytes()[..], &9u64.to_le_bytes(), b"name"].concat();
        assert_eq!(split(&whole), Some((7, 9, &b"name"[..])));
        for length in 0..=16 {
            assert_eq!(split(&whole[..length]), None, "{length}");
        }
    }
}
