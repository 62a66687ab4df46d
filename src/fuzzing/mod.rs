//! What must hold for any bytes: one function a fuzz target, which panics where it does not.
//!
//! `fuzz/` runs them under cargo-fuzz, and `tests.rs` for a short time under `cargo test`.
#![forbid(unsafe_code)]

mod encoding;
mod grammar;
mod marker;
mod record;
mod rust;
mod source;
#[cfg(test)]
mod tests;

pub use encoding::encoding;
pub use marker::marker;
pub use record::record;
pub use rust::rust;
pub use source::source;
