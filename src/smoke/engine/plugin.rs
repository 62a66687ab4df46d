//! Loads a NIXL plugin without using it, to learn whether NIXL could.
#![forbid(unsafe_code)]

use std::path::Path;

use super::library::{self, Scope};

/// Loads a plugin's file as NIXL does; the dynamic loader's words where it refuses.
pub(crate) fn refusal(path: &Path) -> Option<String> {
    match library::load(path, Scope::Local) {
        Ok(library) => {
            std::mem::forget(library);
            None
        }
        Err(error) => Some(error.to_string()),
    }
}
