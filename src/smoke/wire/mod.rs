//! What supervisor and worker say to each other, and how it is framed.
#![forbid(unsafe_code)]

pub mod blob;
pub mod cause;
pub mod frame;
pub mod worker;
