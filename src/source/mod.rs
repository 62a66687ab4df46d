//! A text file: offsets, lines, insertions, marker, unified diff, locks, atomic replacement.
#![forbid(unsafe_code)]

pub(crate) mod access;
pub(crate) mod diff;
pub(crate) mod edit;
pub(crate) mod lines;
pub(crate) mod lock;
pub(crate) mod marker;
pub(crate) mod near;
pub(crate) mod offset;
pub(crate) mod regular;
pub(crate) mod replace;
