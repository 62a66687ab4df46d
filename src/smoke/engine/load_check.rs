//! Loading one library without using it, in a process that ends afterwards.

use std::path::Path;

use super::libfabric;
use super::library::{self, LoadError, Scope};
use super::loaded;

/// What a library said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// UCX's version, from libucp itself.
    pub version: Option<String>,
    /// The providers that a libfabric was built with; None for any other library.
    pub providers: Option<Vec<String>>,
}

/// Loads a library as NIXL and UCX load theirs, and leaves it loaded.
///
/// # Errors
/// The words of dlerror(3), when the loader refuses it.
pub(crate) fn load(path: &Path) -> Result<Loaded, String> {
    let library = library::load(path, Scope::Local).map_err(|LoadError(words)| words)?;
    let version = loaded::ucx_version(&library);
    // A plugin's handle leads to the functions of the libraries that it needs: only libfabric itself is asked.
    let is_libfabric = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libfabric"));
    let providers = if is_libfabric { libfabric::built_in(&library) } else { None };
    // Its destructors may hang; the process ends without them.
    std::mem::forget(library);
    Ok(Loaded { version, providers })
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
