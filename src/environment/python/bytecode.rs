//! Bytecode files (`.pyc`) that Python would load instead of a changed source.
//!
//! Source: PEP 552. A magic number and flags, 4 bytes each. With flags 0, the source's modification time and size
//! follow, 4 bytes each. With flag 1, a hash of the source follows, which Python compares with the source only if flag 2
//! is set too: with flag 1 alone, it loads the bytecode whatever the source is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

/// The bytecode files of a source, sorted: in `__pycache__` beside it and below `cache_prefix` (`PYTHONPYCACHEPREFIX`).
pub(crate) fn compiled(source: &Path, cache_prefix: Option<&Path>) -> Vec<PathBuf> {
    let (Some(folder), Some(stem)) = (source.parent(), source.file_stem()) else { return Vec::new() };
    let mut caches = vec![folder.join("__pycache__")];
    if let Some(prefix) = cache_prefix {
        caches.push(prefix.join(folder.strip_prefix("/").unwrap_or(folder)));
    }
    let start = format!("{}.", stem.to_string_lossy());
    let mut found: Vec<PathBuf> = caches.iter().flat_map(|cache| files(cache)).collect();
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".pyc")
            && name.strip_prefix(&start).is_some_and(|rest| !rest.trim_end_matches(".pyc").is_empty())
    });
    found.sort();
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

/// Removes all bytecode of a source that was just replaced; returns the files removed.
///
/// # Errors
/// When a file cannot be removed: Python might load it instead of the new source.
pub(crate) fn remove_all(source: &Path, cache_prefix: Option<&Path>) -> Result<Vec<PathBuf>> {
    remove(source, compiled(source, cache_prefix))
}

/// Removes the bytecode that was not compiled from the present source; returns the files removed.
///
/// # Errors
/// As [`remove_all`].
pub(crate) fn remove_stale(source: &Path, cache_prefix: Option<&Path>) -> Result<Vec<PathBuf>> {
    let Ok(metadata) = fs::metadata(source) else { return Ok(Vec::new()) };
    let stale = compiled(source, cache_prefix).into_iter().filter(|path| is_stale(path, &metadata)).collect();
    remove(source, stale)
}

fn remove(source: &Path, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    for path in &paths {
        fs::remove_file(path).map_err(|error| {
            let (path, source) = (path.display(), source.display());
            anyhow!(
                "{path}: stale bytecode cannot be removed: {error}\n\
                 help: delete it, or Python may load it instead of `{source}`"
            )
        })?;
    }
    Ok(paths)
}

fn is_stale(path: &Path, source: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(bytes) = fs::read(path) else { return false };
    let word = |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
    let (Some(flags), Some(seconds), Some(size)) = (word(4), word(8), word(12)) else { return true };
    if flags & 1 == 0 {
        // Python stores both modulo 2^32.
        return seconds != source.mtime() as u32 || size != source.size() as u32;
    }
    // Only the Python that compiled it can compute the hash; fall back to the modification times.
    let older = fs::metadata(path).is_ok_and(|compiled| compiled.mtime() < source.mtime());
    flags & 2 == 0 && older
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn pyc(flags: u32, first: u32, second: u32) -> Vec<u8> {
        [0u32, flags, first, second].iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn only_the_modules_own_bytecode_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("__init__.py");
        fs::write(&source, "x = 1\n").unwrap();
        let cache = folder.path().join("__pycache__");
        fs::create_dir(&cache).unwrap();
        for name in ["__init__.cpython-311.pyc", "__init__.cpython-313.opt-2.pyc", "other.cpython-311.pyc"] {
            fs::write(cache.join(name), pyc(1, 0, 0)).unwrap();
        }
        assert_eq!(remove_all(&source, None).unwrap().len(), 2);
        assert!(cache.join("other.cpython-311.pyc").exists());
    }

    #[test]
    fn bytecode_of_the_present_source_stays() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("m.py");
        fs::write(&source, "x = 1\n").unwrap();
        let metadata = fs::metadata(&source).unwrap();
        let cache = folder.path().join("__pycache__");
        fs::create_dir(&cache).unwrap();
        fs::write(cache.join("m.cpython-311.pyc"), pyc(0, metadata.mtime() as u32, 6)).unwrap();
        fs::write(cache.join("m.cpython-312.pyc"), pyc(0, metadata.mtime() as u32, 7)).unwrap();
        fs::write(cache.join("m.cpython-313.pyc"), pyc(3, 0, 0)).unwrap();
        let removed = remove_stale(&source, None).unwrap();
        assert_eq!(removed, [cache.join("m.cpython-312.pyc")]);
    }
}
