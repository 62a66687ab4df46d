//! The libraries that move bytes, behind one pair of traits. All unsafe code of this program is in this folder's files.
//!
//! | file | library |
//! | --- | --- |
//! | `interface` | the two traits |
//! | `nixl`, `nixl_capi` | the installed NIXL, through its C API |
//! | `ucp` | UCX, through libucp |
//! | `libfabric` | libfabric |
//! | `plugin` | a NIXL plugin that is loaded and no more |
//! | `library` | what loading any of them has in common |
//! | `cuda` | NVIDIA's driver: memory of a GPU |
//! | `region` | the memory that they read and write |
//! | `schedule` | how soon a thread of this program runs beside theirs |

pub(crate) mod cuda;
pub(crate) mod interface;
mod layout;
mod libfabric;
mod library;
mod nixl;
mod nixl_capi;
pub(crate) mod plugin;
pub(crate) mod region;
pub(crate) mod schedule;
mod ucp;

use crate::report::stage::Stage;
use crate::smoke::plan::engine::EngineKind;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::worker::Task;
use interface::Engine;

/// Loads the task's library and starts it; `enter` hears of each stage as it begins.
pub(crate) fn open(task: &Task, enter: &mut dyn FnMut(Stage)) -> Result<Box<dyn Engine>, Cause> {
    Ok(match task.engine {
        EngineKind::Nixl => Box::new(nixl::open(task, enter)?),
        EngineKind::Ucp => Box::new(ucp::open(&task.library.path(), enter)?),
        EngineKind::Libfabric => Box::new(libfabric::open(&task.library.path(), task.memory, enter)?),
    })
}
