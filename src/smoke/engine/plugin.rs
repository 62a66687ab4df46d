//! A NIXL plugin that is loaded and no more, to hear whether it would have loaded.
#![forbid(unsafe_code)]

use std::path::Path;

use super::library::{self, Scope};
use crate::smoke::wire::cause::Cause;

/// Loads a plugin's file on its own, as NIXL does: the dynamic loader's words, or None when it loads.
pub(crate) fn refusal(path: &Path) -> Option<String> {
    match library::load(path, Scope::Local) {
        Ok(library) => {
            std::mem::forget(library);
            None
        }
        Err(Cause::Loader(words)) => Some(words),
        Err(other) => Some(format!("{other:?}")),
    }
}
