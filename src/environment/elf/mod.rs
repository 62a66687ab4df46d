//! Shared libraries: what one needs and offers, where the dynamic loader finds it, and whether its file is complete.

pub(crate) mod closure;
pub(crate) mod damage;
mod exports;
mod image;
pub(crate) mod loader;
pub(crate) mod needs;
pub(crate) mod shared_library;
mod symbols;
