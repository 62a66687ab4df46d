//! Which files of NIXL, UCX and libfabric this process has loaded, and their versions in their own words.
#![allow(unsafe_code, reason = "calls of a foreign library, and the memory that it reads and writes")]

use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_NOW};

use crate::smoke::wire::worker::Loaded;

/// How the names of the files begin. auditwheel adds a hash: `libucp-6f3a1c52.so.0.0.0`.
const STEMS: [&str; 5] = ["libnixl", "libplugin_UCX", "libplugin_LIBFABRIC", "libucp", "libfabric"];

/// `RTLD_NOLOAD` of dlfcn.h: only what is loaded already.
const ONLY_LOADED: i32 = 0x4;

/// Every such file, in the order of the process's memory map.
pub(super) fn libraries() -> Vec<Loaded> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut paths: Vec<PathBuf> = Vec::new();
    for path in maps.lines().filter_map(|line| line.find('/').map(|start| Path::new(&line[start..]))) {
        if is_one(path) && !paths.iter().any(|known| known == path) {
            paths.push(path.to_path_buf());
        }
    }
    paths.into_iter().map(|path| Loaded { version: version(&path), path: path.display().to_string() }).collect()
}

fn is_one(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    STEMS
        .iter()
        .any(|stem| name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(".so") || rest.starts_with('-')))
}

fn version(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    if name.starts_with("libucp") {
        return ucx_version(&loaded(path)?);
    }
    if name.starts_with("libfabric") {
        return fabric_version(&loaded(path)?);
    }
    None
}

fn loaded(path: &Path) -> Option<Library> {
    // SAFETY: the library is loaded already: none of its initializers runs.
    unsafe { Library::open(Some(path), RTLD_NOW | ONLY_LOADED) }.ok()
}

/// UCX's version in its own words, where the library is libucp.
pub(super) fn ucx_version(library: &Library) -> Option<String> {
    // SAFETY: ucp.h declares this signature for the name.
    let get = unsafe { library.get::<unsafe extern "C" fn() -> *const c_char>("ucp_get_version_string") }.ok()?;
    // SAFETY: the function has no arguments.
    let version = unsafe { get() };
    if version.is_null() {
        return None;
    }
    // SAFETY: the library owns this string and ends it with a NUL.
    Some(unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned())
}

/// The version of libfabric's interface, as `FI_VERSION` of fabric.h packs it.
fn fabric_version(library: &Library) -> Option<String> {
    // SAFETY: fabric.h declares this signature for the name.
    let get = unsafe { library.get::<unsafe extern "C" fn() -> u32>("fi_version") }.ok()?;
    // SAFETY: the function has no arguments.
    let version = unsafe { get() };
    Some(format!("{}.{}", version >> 16, version & 0xffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_recognized_by_their_names() {
        for name in ["libucp-6f3a1c52.so.0.0.0", "libucp.so.0", "libnixl.so", "libfabric.so.1.29.0", "libplugin_UCX.so"]
        {
            assert!(is_one(&Path::new("/x").join(name)), "{name}");
        }
        for name in ["libucp_set.so", "libnixl_common.so", "libfabricated.so"] {
            assert!(!is_one(&Path::new("/x").join(name)), "{name}");
        }
    }
}
