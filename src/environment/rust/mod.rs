//! Rust sources: a file, a Cargo package or a workspace, and the checksums of a vendored package.

pub(crate) mod checksum;
pub(crate) mod package;
pub(crate) mod target;
