//! The libraries that move bytes, behind one pair of traits. All unsafe code of this program is in this folder's files.
//!
//! | file | library |
//! | --- | --- |
//! | `nixl`, `nixl_capi` | the installed NIXL, through its C API |
//! | `ucp` | UCX, through libucp |
//! | `libfabric` | libfabric |
//! | `plugin` | a NIXL plugin that is loaded and no more |
//! | `library` | what loading any of them has in common |
//! | `cuda` | NVIDIA's driver: memory of a GPU |
//! | `region` | the memory that they read and write |
//! | `schedule` | how soon a thread of this program runs beside theirs |

pub mod cuda;
mod layout;
mod libfabric;
mod library;
mod nixl;
mod nixl_capi;
pub mod plugin;
pub mod region;
pub mod schedule;
mod ucp;

use super::protocol::{Cause, EngineKind, Stage, Stated, Task};
use region::Region;

/// What a transfer does, by its number in NIXL's `nixl_capi_xfer_op_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `NIXL_CAPI_XFER_OP_READ`.
    Read = 0,
    /// `NIXL_CAPI_XFER_OP_WRITE`.
    Write = 1,
}

impl Operation {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Read => "READ",
            Operation::Write => "WRITE",
        }
    }
}

/// Where a transfer's bytes are on both sides.
#[derive(Clone, Copy, Debug)]
pub struct Place {
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
pub trait Engine {
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
pub trait Transfer {
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

/// Loads the task's library and starts it; `enter` hears of each stage as it begins.
pub fn open(task: &Task, enter: &mut dyn FnMut(Stage)) -> Result<Box<dyn Engine>, Cause> {
    Ok(match task.engine {
        EngineKind::Nixl => Box::new(nixl::open(task, enter)?),
        EngineKind::Ucp => Box::new(ucp::open(&task.library.path(), enter)?),
        EngineKind::Libfabric => Box::new(libfabric::open(&task.library.path(), task.memory, enter)?),
    })
}
