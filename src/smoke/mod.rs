//! The native transfer: two supervised worker processes and the installed NIXL.
//!
//! [`transfer::run`] is the supervisor. It starts this program twice with [`launch::worker_command::WORKER_COMMAND`], gives
//! each worker one end of a socket pair as standard input, and relays their messages to each other. Only workers load vendor
//! libraries, so that whatever happens inside them becomes a line in a report.
//!
//! Between two machines each side has a supervisor with one worker, and the supervisors forward the workers' messages
//! ([`transfer::run_between`]).
//!
//! | module | what it knows |
//! | --- | --- |
//! | `plan` | what to transfer: everything that is decided before a worker starts |
//! | `wire` | the messages between supervisor and worker |
//! | `observe` | what a running library states about what carries the bytes |
//! | `launch` | what a worker is started with |
//! | `engine` | the libraries that move bytes: the only unsafe code |
//! | `payload` | bytes derived from a seed, and their comparison |
//! | `worker` | the two sides of the transfer, in order |
//! | `meeting` | how two machines connect, authenticate and negotiate |
//! | `supervise` | the workers' lives: start, deadline, last words, end |
//! | `judge` | the verdict, and the description of a failure |
//! | `ending` | how a transfer ended: what `supervise` hands to `judge` |
//! | `subject` | what is to be proved: what Dynamo does here, as its files tell |
//! | `transfer`, `series` | one transfer, several transfers |
//! | `two_machines` | one end of the transfers between two machines |

pub(crate) mod ending;
pub(crate) mod engine;
pub(crate) mod judge;
pub(crate) mod launch;
pub(crate) mod meeting;
pub(crate) mod observe;
pub(crate) mod payload;
pub(crate) mod plan;
pub(crate) mod series;
pub(crate) mod subject;
pub(crate) mod supervise;
pub(crate) mod transfer;
pub(crate) mod two_machines;
pub(crate) mod wire;
pub(crate) mod worker;
