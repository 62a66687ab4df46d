//! Which libraries of a NIXL are damaged, checked after it has failed.

use std::path::{Path, PathBuf};

use crate::choice::backend::Backend;
use crate::environment::elf::damage::{damage, is_library};
use crate::shown::Shown;
use crate::smoke::plan::Plan;

/// Libraries of this NIXL that are shorter than their own headers say, each as `path`: what is wrong.
pub(crate) fn damaged_libraries(plan: &Plan) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders: Vec<&Path> = plan.nixl.library_dirs.iter().map(PathBuf::as_path).collect();
    folders.extend(plan.nixl.capi.as_deref().and_then(Path::parent));
    for folder in folders {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()).filter(|path| is_library(path)));
    }
    let named = |backend: &Backend| plan.plugins.as_ref().map(|plugins| plugins.file(backend.name()));
    files.extend(Backend::ALL.iter().filter(|backend| plan.pair.has(**backend)).filter_map(named));
    files.sort();
    files.dedup();
    files.iter().filter_map(|path| Some(format!("`{}`: {}", path.shown(), damage(path)?))).collect()
}
