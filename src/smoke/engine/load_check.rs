//! Loading one library without using it, in a process that ends afterwards.

use std::path::Path;

use super::library::{self, LoadError, Scope};
use super::loaded;

/// What a library said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// UCX's version, from libucp itself.
    pub version: Option<String>,
}

/// Loads a library as NIXL and UCX load theirs, and leaves it loaded.
///
/// # Errors
/// The words of dlerror(3), when the loader refuses it.
pub(crate) fn load(path: &Path) -> Result<Loaded, String> {
    let library = library::load(path, Scope::Local).map_err(|LoadError(words)| words)?;
    let version = loaded::ucx_version(&library);
    // Its destructors may hang; the process ends without them.
    std::mem::forget(library);
    Ok(Loaded { version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_loaded_and_an_absent_one_is_not() {
        assert_eq!(load(Path::new("libc.so.6")), Ok(Loaded::default()));
        let words = load(Path::new("/nonexistent/libx.so")).unwrap_err();
        assert!(words.contains("/nonexistent/libx.so"), "{words}");
    }
}
