//! The UCXs of a machine, and the modules that each loads.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders where UCX is installed beside the loader's own: NVIDIA's containers (`/usr/local/ucx`, HPC-X).
const FOLDERS: [&str; 4] = ["/usr/local/ucx/lib", "/opt/hpcx/ucx/lib", "/opt/hpcx/ucx/mt/lib", "/opt/ucx/lib"];

/// Where a UCX may be that no plugin of NIXL asks for: those folders, and the wheels `libucx-cuNN` of an import path.
pub(crate) fn other_libraries(import_path: &[PathBuf]) -> Vec<PathBuf> {
    let folders = FOLDERS.iter().map(PathBuf::from).chain(import_path.iter().map(|site| site.join("libucx/lib")));
    folders.map(|folder| folder.join("libucp.so.0")).filter(|path| path.is_file()).collect()
}

/// The modules of the UCX whose `libucs` is at that path, sorted.
///
/// UCX looks in the folder `ucx` beside its own library, or in `UCX_MODULE_DIR`, for names that end as its own file's:
/// `libuct_ib.so.0.0.0` beside `libucs-98a42727.so.0.0.0` (ucs/sys/module.c).
pub(crate) fn modules(libucs: &Path, module_dir: Option<&Path>) -> Vec<PathBuf> {
    let beside = || libucs.parent().map(|folder| folder.join("ucx"));
    let Some(folder) = module_dir.map(Path::to_path_buf).or_else(beside) else { return Vec::new() };
    let Some(end) =
        libucs.file_name().and_then(|name| name.to_str()).and_then(|name| name.find(".so").map(|at| &name[at..]))
    else {
        return Vec::new();
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_module = |path: &PathBuf| module_name(path).is_some_and(|name| path.ends_with(format!("{name}{end}")));
    let mut found: Vec<PathBuf> = entries.filter(is_module).collect();
    found.sort();
    found
}

/// `libuct_ib` for `libuct_ib.so.0`: transports and memory hooks alone.
pub(crate) fn module_name(path: &Path) -> Option<&str> {
    let (name, _) = path.file_name()?.to_str()?.split_once(".so")?;
    (name.starts_with("libuct_") || name.starts_with("libucm_")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_end_as_the_library_does() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("ucx")).unwrap();
        for name in
            ["libuct_ib.so", "libuct_ib.so.0", "libuct_ib.la", "libuct_cma.so.0.0.0", "libucx_perftest_mad.so.0"]
        {
            fs::write(root.path().join("ucx").join(name), "").unwrap();
        }
        let names = |library: &str| {
            let found = modules(&root.path().join(library), None);
            found.iter().filter_map(|path| module_name(path).map(String::from)).collect::<Vec<String>>()
        };
        assert_eq!(names("libucs.so.0"), ["libuct_ib"]);
        assert_eq!(names("libucs-98a42727.so.0.0.0"), ["libuct_cma"]);
        assert!(modules(&root.path().join("libucs.so.0"), Some(Path::new("/nonexistent"))).is_empty());
    }
}
