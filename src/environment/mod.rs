//! What is installed here: Pythons and what they import, NIXL installations, shared libraries, fabric devices.
#![forbid(unsafe_code)]

pub mod elf;
pub mod fabric_devices;
pub mod nixl;
pub mod python;
pub mod variables;
