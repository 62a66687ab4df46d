//! What every engine does.
#![forbid(unsafe_code)]

use super::region::Region;
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::worker::Stated;

/// Where a transfer's bytes are on both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Address here.
    pub local: usize,
    /// Address there.
    pub remote: usize,
    /// How many bytes.
    pub length: usize,
}

/// One side's end of a connection to one other side.
///
/// The order of calls is that of the methods. What was registered is never given back.
pub(crate) trait Engine {
    /// Makes a region known to the library, for its own operations and for the other side's.
    fn register(&mut self, region: &Region) -> Result<(), Cause>;

    /// What the other side must load in order to reach this one; `register` comes before.
    fn metadata(&self) -> Result<Vec<u8>, Cause>;

    /// Loads the other side's metadata.
    fn introduce(&mut self, metadata: &[u8]) -> Result<(), Cause>;

    /// Prepares a transfer, with a notification that reaches the other side when all bytes are where they belong.
    fn prepare<'a>(
        &'a self,
        operation: Operation,
        place: Place,
        note: Option<&[u8]>,
    ) -> Result<Box<dyn Transfer + 'a>, Cause>;

    /// Takes the notifications that have come in since the last call.
    fn notifications(&self) -> Result<Vec<Vec<u8>>, Cause>;

    /// Lets the library work, for the other side's transfers too. Nothing to do for one that has a thread for it.
    fn progress(&self) -> Result<(), Cause> {
        Ok(())
    }

    /// Whether the library works on while nobody calls it.
    fn works_alone(&self) -> bool;

    /// What the library has stated about itself by calls, not in what it prints.
    fn stated(&self) -> Option<Stated> {
        None
    }
}

/// A prepared transfer that can be posted again once it is complete.
pub(crate) trait Transfer {
    /// Starts it. True when it is already complete on this side.
    fn post(&mut self) -> Result<bool, Cause>;

    /// Whether the posted transfer is complete on this side, which does not mean that it has arrived.
    fn is_complete(&mut self) -> Result<bool, Cause>;

    /// The backend that was chosen for it, where there is a choice; only once it was posted.
    fn backend(&self) -> Result<Option<String>, Cause> {
        Ok(None)
    }

    /// Gives a complete transfer back.
    fn release(self: Box<Self>) -> Result<(), Cause>;
}
