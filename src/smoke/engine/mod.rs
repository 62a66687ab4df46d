//! The libraries that move bytes, behind one pair of traits. No other room has unsafe code.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `interface` | the two traits |
//! | `nixl`, `nixl_capi` | the installed NIXL, through its C API |
//! | `ucp` | UCX, through libucp |
//! | `libfabric` | libfabric |
//! | `plugin` | loading a NIXL plugin without using it |
//! | `library` | what loading any library has in common |
//! | `loaded` | the files of NIXL, UCX and libfabric that are loaded |
//! | `load_check` | loading a library without using it |
//! | `cuda` | NVIDIA's driver: GPU memory |
//! | `region` | the memory that is registered |
//! | `process` | the end of a worker process |
//! | `lease` | whether any process still uses a file |
//! | `schedule` | how soon a thread of this program runs beside the libraries' threads |
//! | `layout` | tests: the declarations here against the libraries' headers |

pub(crate) mod cuda;
pub(crate) mod interface;
mod layout;
pub(crate) mod lease;
mod libfabric;
mod library;
pub(crate) mod load_check;
mod loaded;
mod nixl;
mod nixl_capi;
pub(crate) mod plugin;
pub(crate) mod process;
pub(crate) mod region;
pub(crate) mod schedule;
mod ucp;

use crate::report::stage::Stage;
use crate::smoke::plan::engine::EngineKind;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::worker::Task;
use interface::Engine;

/// Loads the task's library and starts it. Calls `enter` as each stage begins; `is_set` tells whether an
/// environment variable of this process is set.
pub(crate) fn open(
    task: &Task,
    is_set: &dyn Fn(&str) -> bool,
    enter: &mut dyn FnMut(Stage),
) -> Result<Box<dyn Engine>, Cause> {
    match task.engine {
        EngineKind::Nixl => nixl::open(task, enter),
        EngineKind::Ucp => ucp::open(&task.library.path(), is_set, enter),
        EngineKind::Libfabric => libfabric::open(&task.library.path(), task.memory, enter),
    }
}
