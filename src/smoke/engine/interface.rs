//! The traits that every engine implements.
#![forbid(unsafe_code)]

use super::region::Region;
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::worker::Stated;

/// Where a transfer's bytes are on both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Address on this side.
    pub local: usize,
    /// Address on the other side.
    pub remote: usize,
    /// Length in bytes.
    pub length: usize,
}

impl Place {
    /// Fails where the local bytes are not inside the registered memory.
    pub(crate) fn check_within(&self, first: usize, length: usize) -> Result<(), Cause> {
        let inside = |end| first <= self.local && end <= first + length;
        if !self.local.checked_add(self.length).is_some_and(inside) {
            return Err(Cause::Protocol("a transfer exceeds the registered memory".into()));
        }
        Ok(())
    }
}

/// One side's end of a connection to one other side.
///
/// The methods are called in the order of their declaration. Registered memory stays registered.
pub(crate) trait Engine {
    /// Registers a region for operations of both sides.
    fn register(&mut self, region: &Region) -> Result<(), Cause>;

    /// What the other side must load to reach this one; needs [`Engine::register`].
    fn metadata(&self) -> Result<Vec<u8>, Cause>;

    /// Loads the other side's metadata.
    fn load_peer(&mut self, metadata: &[u8]) -> Result<(), Cause>;

    /// Prepares a transfer. Its notification reaches the other side after all its bytes are in place.
    fn prepare<'a>(
        &'a self,
        operation: Operation,
        place: Place,
        notification: Option<&[u8]>,
    ) -> Result<Box<dyn Transfer + 'a>, Cause>;

    /// Takes the notifications that have arrived since the last call.
    fn notifications(&self) -> Result<Vec<Vec<u8>>, Cause>;

    /// Drives the library, for the other side's transfers too. Nothing to do for one with a progress thread.
    fn progress(&self) -> Result<(), Cause> {
        Ok(())
    }

    /// Whether the library makes progress while nobody calls it.
    fn has_progress_thread(&self) -> bool;

    /// What the library states about itself in answer to calls.
    fn stated(&self) -> Option<Stated> {
        None
    }

    /// Gives back what the library holds outside this process, shared memory for example. It may hang or crash; no other
    /// method is called afterwards.
    fn close(self: Box<Self>);
}

/// A prepared transfer that can be posted again once it is complete.
pub(crate) trait Transfer {
    /// Starts it. True when it is already complete on this side.
    fn post(&mut self) -> Result<bool, Cause>;

    /// Whether the posted transfer is complete on this side; it may not have arrived.
    fn is_complete(&mut self) -> Result<bool, Cause>;

    /// The backend that was chosen for it, where there is a choice; needs [`Transfer::post`].
    fn backend(&self) -> Result<Option<String>, Cause> {
        Ok(None)
    }

    /// Frees a complete transfer.
    fn release(self: Box<Self>) -> Result<(), Cause>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_stays_inside_the_registered_memory() {
        let within = |local, length| Place { local, remote: 0, length }.check_within(100, 10).is_ok();
        assert!(within(100, 10) && within(109, 1) && within(110, 0));
        assert!(!within(99, 1) && !within(100, 11) && !within(110, 1) && !within(101, usize::MAX));
    }
}
