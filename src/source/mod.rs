//! A text file: offsets, lines, insertions, marker, unified diff, atomic replacement.
#![forbid(unsafe_code)]

pub(crate) mod diff;
pub(crate) mod edit;
pub(crate) mod lines;
pub(crate) mod marker;
pub(crate) mod offset;
pub(crate) mod replace;
