//! Loading one library without using it, in a process that ends afterwards.
#![allow(unsafe_code, reason = "calls of a foreign library")]

use std::ffi::{CStr, c_char};
use std::path::Path;

use libloading::os::unix::Library;

use super::library::{self, LoadError, Scope};

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
    let version = ucp_version(&library);
    // Its destructors may hang; the process ends without them.
    std::mem::forget(library);
    Ok(Loaded { version })
}

/// `ucp_get_version_string` (ucp/api/ucp.h), where the library is libucp.
fn ucp_version(library: &Library) -> Option<String> {
    // SAFETY: the header declares this signature for the name.
    let function = unsafe { library.get::<unsafe extern "C" fn() -> *const c_char>(b"ucp_get_version_string") }.ok()?;
    // SAFETY: the function takes nothing and can be called at any time.
    let text = unsafe { function() };
    if text.is_null() {
        return None;
    }
    // SAFETY: it is a constant string of the library, which stays loaded.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
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
