//! The name under which a file stays that a repair has replaced.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What it ends in.
const ENDING: &str = ".nixl-retrofit-original";

/// The name for the file at that path.
pub(super) fn name(path: &Path) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(ENDING);
    name.into()
}

/// The path of the file that stays under that name; None where it is no such name.
pub(super) fn original(kept: &Path) -> Option<PathBuf> {
    Some(PathBuf::from(kept.to_str()?.strip_suffix(ENDING)?))
}
