//! A text file as bytes: lines, edits by byte range, marker, unified diff, atomic replacement.
#![forbid(unsafe_code)]

pub mod diff;
pub mod edit;
pub mod lines;
pub mod marker;
pub mod replace;
