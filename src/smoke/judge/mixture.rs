//! Whether the libraries that were loaded belong together.

use std::path::{Path, PathBuf};

use crate::advice::nixl_mix;
use crate::environment::nixl_mix::belongs_to;
use crate::smoke::plan::Plan;

/// A warning about loaded libraries of another NIXL, or of a UCX beside the one that this NIXL brings.
pub(crate) fn warning<'a>(plan: &Plan, loaded: impl Iterator<Item = &'a Path>) -> Option<String> {
    let brings_ucx = plan.nixl.bundled("libucp").is_some();
    let is_foreign = |path: &&Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_its_own = name.starts_with("libnixl") || brings_ucx && name.starts_with("libucp");
        is_its_own && !belongs_to(path, &plan.nixl)
    };
    let foreign: Vec<PathBuf> = loaded.filter(is_foreign).map(Path::to_path_buf).collect();
    nixl_mix::mixed(&plan.nixl, &foreign).map(|finding| finding.in_words())
}
