//! Compiled modules (`.pyc`) that Python would use in place of a changed source.
//!
//! Source: PEP 552 and `importlib`: 4 bytes magic number, 4 bytes flags; flags 0: then the source's modification time
//! and size, 4 bytes each; flag 1: a hash of the source instead, which is compared with the source only where flag 2
//! is set. An unchecked one (1 alone) is used whatever the source says.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The compiled forms of a source, in `__pycache__` beside it and under `PYTHONPYCACHEPREFIX`.
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

/// Removes every compiled form of a source that has just been replaced; returns what was removed.
///
/// # Errors
/// Where one cannot be removed: Python might use it in place of the new source.
pub(crate) fn remove_all(source: &Path, cache_prefix: Option<&Path>) -> Result<Vec<PathBuf>> {
    remove(compiled(source, cache_prefix))
}

/// Removes those compiled forms that were not made from this source as it is.
///
/// # Errors
/// As `remove_all`.
pub(crate) fn remove_stale(source: &Path, cache_prefix: Option<&Path>) -> Result<Vec<PathBuf>> {
    let Ok(metadata) = fs::metadata(source) else { return Ok(Vec::new()) };
    let stale = compiled(source, cache_prefix).into_iter().filter(|path| is_stale(path, &metadata)).collect();
    remove(stale)
}

fn remove(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    for path in &paths {
        fs::remove_file(path).with_context(|| {
            format!(
                "{}: a compiled form of the replaced source cannot be removed; Python may go on using it",
                path.display()
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
        // Both are kept modulo 2^32 (importlib).
        return seconds != source.mtime() as u32 || size != source.size() as u32;
    }
    // The hash is one that only its own Python can compute; a source newer than its unchecked form is not what it was
    // made from.
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
    fn only_this_modules_forms_go() {
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
    fn a_form_that_fits_its_source_stays() {
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
