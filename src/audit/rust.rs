//! Rust sources of an audit. Each is judged alone.

use std::path::Path;

use crate::report::audit::PlaceChoice;
use crate::rust::{patch, survey};

/// Folders and modules that Cargo compiles for tests, benchmarks and examples alone.
const TESTS: [&str; 4] = ["tests", "benches", "examples", "fuzz"];

/// Whether a file is Rust.
pub(super) fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// Whether a file below a root can have a place: it names the agent, and is no test.
pub(super) fn may_matter(root: &Path, path: &Path, content: &[u8]) -> bool {
    let below = path.strip_prefix(root).unwrap_or(path).with_extension("");
    let is_test = below.iter().any(|part| TESTS.iter().any(|name| part == *name));
    !is_test && patch::may_matter(content)
}

/// The places in a file.
///
/// # Errors
/// Why it is not understood.
pub(super) fn places(content: &[u8]) -> Result<Vec<PlaceChoice>, String> {
    survey::survey(content).map_err(|error| error.to_string())
}
