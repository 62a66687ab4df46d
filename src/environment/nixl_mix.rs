//! Whether one NIXL is used with parts of another.

use std::fs;
use std::path::{Path, PathBuf};

use super::elf::loader::{self, Loader};
use super::nixl::NixlInstallation;
use super::variables::Variables;
use crate::source::regular::is_same_file;

/// The library that Dynamo's compiled side looks for (`dlopen` in the crate nixl-sys).
pub(crate) const CAPI: &str = "libnixl_capi.so";
/// Beginnings of the names of libraries that decide what a transfer does.
const DECISIVE: [&str; 9] =
    ["libnixl", "libplugin_", "libucp", "libucs", "libuct", "libucm", "libfabric", "libibverbs", "libcuda"];

/// What a bare `dlopen("libnixl_capi.so")` gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BareCapi {
    /// The file that was asked about.
    This,
    /// Another one.
    Other(PathBuf),
    /// Nothing.
    Nothing,
}

/// What it gets in a process with these variables: that file, or something else.
pub(crate) fn bare_capi(capi: &Path, variables: &Variables) -> BareCapi {
    match found_by_loader(variables) {
        Some(found) if is_same_file(&found, capi) => BareCapi::This,
        Some(found) => BareCapi::Other(found),
        None => BareCapi::Nothing,
    }
}

fn found_by_loader(variables: &Variables) -> Option<PathBuf> {
    let folders = variables.get("LD_LIBRARY_PATH").map(loader::split_path).unwrap_or_default();
    Loader::new(folders).find_bare(CAPI)
}

/// Whether a file or folder belongs to an installation.
pub(crate) fn belongs_to(path: &Path, nixl: &NixlInstallation) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let path = real(path);
    nixl.library_dirs.iter().any(|folder| path.starts_with(real(folder)))
}

/// The libraries of `LD_PRELOAD` that decide what a transfer does, as they are named there.
pub(crate) fn preloaded(variables: &Variables) -> Vec<String> {
    let value = variables.get("LD_PRELOAD").map(|value| value.to_string_lossy()).unwrap_or_default();
    let names = value.split([':', ' ']).filter(|name| !name.is_empty());
    let is_decisive = |name: &&str| {
        let file = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
        DECISIVE.iter().any(|beginning| file.starts_with(beginning))
    };
    names.filter(is_decisive).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libraries_of_transfers_count_among_the_preloaded() {
        let set = |value: &str| preloaded(&Variables::from_iter([("LD_PRELOAD", value)]));
        assert_eq!(
            set("/usr/lib/libjemalloc.so.2:/opt/ucx/libucp.so.0 libfabric.so.1"),
            ["/opt/ucx/libucp.so.0", "libfabric.so.1"]
        );
        assert_eq!(preloaded(&Variables::default()), Vec::<String>::new());
    }
}
