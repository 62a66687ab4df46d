//! A text file as bytes: encoding and newlines, edits by byte range, unified diff, atomic replacement.
#![forbid(unsafe_code)]

pub mod diff;
pub mod edit;
pub mod encoding;
pub mod replace;
