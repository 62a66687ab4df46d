//! The native transfer: two worker processes, supervised, through the installed NIXL.
//!
//! [`run`] is the supervisor's end. It starts this same program twice with [`WORKER_COMMAND`], gives each worker one
//! end of a socket pair as standard input, and relays what the two say to each other. Vendor libraries are loaded by
//! the workers alone, so that whatever happens inside them becomes a line in a report.
//!
//! Between two machines each end has a supervisor with one worker, and the two supervisors pass on what the workers say to
//! each other ([`run_between`]).
//!
//! | module | what it knows |
//! | --- | --- |
//! | `plan`, `fault` | what to transfer, and what to do wrong on purpose |
//! | `supervisor` | the workers' lives: start, deadline, last words, end |
//! | `worker` | the two sides of the transfer, in order |
//! | `meeting` | how two machines find each other and agree |
//! | `protocol` | what supervisor and worker say to each other |
//! | `payload` | bytes that follow from a seed, and their comparison |
//! | `engine` | the libraries that move bytes: the only unsafe code |
//! | `native` | which code moves the bytes, and whether an older NIXL's plugin loads |
//! | `transports`, `rails` | what a running UCX or LIBFABRIC plugin states about what carries the bytes |
//! | `libraries`, `stand_in` | the libraries that a plugin needs from outside, and what stands in for NVIDIA's driver |
//! | `memory`, `gpu` | whose memory is moved, and why a GPU's cannot be |
//! | `requirement` | the fabric that was demanded, held against the one observed |
//! | `surroundings` | the environment variables that the workers see |
//! | `output` | what a worker prints, kept within bounds |
//! | `diagnosis`, `advice`, `known_troubles` | why it failed, and what to do next |

mod advice;
mod diagnosis;
mod engine;
mod fault;
mod gpu;
mod known_troubles;
mod libraries;
mod meeting;
mod memory;
mod native;
mod output;
mod payload;
mod plan;
mod protocol;
mod rails;
mod requirement;
mod stand_in;
mod supervisor;
mod surroundings;
mod transports;
mod worker;

pub use fault::Fault;
pub use meeting::address::Address;
pub use meeting::connect::connect;
pub use meeting::connection::Connection;
pub use meeting::listen::Listener;
pub use meeting::terms::{Given, accept, offer};
pub use meeting::token::{TOKEN_VARIABLE, Token};
pub use memory::Memory;
pub use plan::{Pair, Plan};
pub use requirement::RequiredFabric;
pub use supervisor::{run, run_between};
pub use worker::worker_main;

/// The hidden subcommand that a worker process is started with.
pub const WORKER_COMMAND: &str = "__smoke-worker";
