//! Shared libraries: what one needs and offers, where the dynamic loader finds it, and whether its file is whole.

pub mod damage;
pub mod loader;
pub mod needs;
pub mod shared_library;
