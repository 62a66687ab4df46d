//! Bytecode files (`.pyc`) that Python would load instead of a changed source.
//!
//! Source: PEP 552. A magic number and flags, 4 bytes each. With flags 0, the source's modification time and size
//! follow, 4 bytes each. With flag 1, a hash of the source follows, which Python compares with the source only if flag 2
//! is set too: with flag 1 alone, it loads the bytecode whatever the source is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shown::Shown;
use crate::source::regular;

/// The folders of a source's bytecode: `__pycache__` beside it and one below `cache_prefix` (`PYTHONPYCACHEPREFIX`). Python
/// writes it for the path that it imports: a symbolic link and its target each have their own.
pub(crate) fn folders(source: &Path, cache_prefix: Option<&Path>) -> Vec<PathBuf> {
    let mut sources = vec![std::path::absolute(source).unwrap_or_else(|_| source.to_path_buf())];
    sources.extend(source.canonicalize().ok().filter(|target| *target != sources[0]));
    let mut folders = Vec::new();
    for folder in sources.iter().filter_map(|source| source.parent()) {
        folders.push(folder.join("__pycache__"));
        folders.extend(cache_prefix.map(|prefix| prefix.join(folder.strip_prefix("/").unwrap_or(folder))));
    }
    let mut known: Vec<PathBuf> = Vec::new();
    folders.retain(|folder| {
        let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        let new = !known.contains(&real);
        known.push(real);
        new
    });
    folders
}

/// The bytecode files of a source, sorted.
///
/// # Errors
/// When a folder that may have some cannot be listed.
pub(crate) fn compiled(source: &Path, cache_prefix: Option<&Path>) -> Result<Vec<PathBuf>> {
    let Some(stem) = source.file_stem() else { return Ok(Vec::new()) };
    let start = format!("{}.", stem.to_string_lossy());
    let mut found = Vec::new();
    for folder in folders(source, cache_prefix) {
        found.extend(files(&folder).with_context(|| format!("{}: cannot be listed", folder.shown()))?);
    }
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".pyc")
            && name.strip_prefix(&start).is_some_and(|rest| !rest.trim_end_matches(".pyc").is_empty())
    });
    found.sort();
    Ok(found)
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The bytecode that was not compiled from the present source.
///
/// # Errors
/// As [`compiled`].
pub(crate) fn stale(source: &Path, cache_prefix: Option<&Path>) -> Result<Vec<PathBuf>> {
    let Ok(metadata) = fs::metadata(source) else { return Ok(Vec::new()) };
    let compiled = compiled(source, cache_prefix)?;
    Ok(compiled.into_iter().filter(|path| is_stale(path, &metadata)).collect())
}

/// Whether Python would load bytecode that was not compiled from the present source.
///
/// # Errors
/// As [`compiled`].
pub(crate) fn misleads(source: &Path, cache_prefix: Option<&Path>) -> Result<bool> {
    let Ok(metadata) = fs::metadata(source) else { return Ok(false) };
    Ok(compiled(source, cache_prefix)?.iter().any(|path| is_unchecked(path) && is_stale(path, &metadata)))
}

/// Whether Python loads it whatever the source is.
fn is_unchecked(path: &Path) -> bool {
    regular::read(path).is_ok_and(|bytes| bytes.get(4).is_some_and(|flags| flags & 3 == 1))
}

fn is_stale(path: &Path, source: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(bytes) = regular::read(path) else { return false };
    let word = |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
    let (Some(flags), Some(seconds), Some(size)) = (word(4), word(8), word(12)) else { return true };
    if flags & 1 == 0 {
        // Python stores both modulo 2^32.
        return seconds != source.mtime() as u32 || size != source.size() as u32;
    }
    // Only the Python that compiled it can compute the hash; fall back to the modification times.
    let older =
        fs::metadata(path).is_ok_and(|it| (it.mtime(), it.mtime_nsec()) < (source.mtime(), source.mtime_nsec()));
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
    fn only_the_modules_own_bytecode_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("__init__.py");
        fs::write(&source, "x = 1\n").unwrap();
        let cache = folder.path().join("__pycache__");
        fs::create_dir(&cache).unwrap();
        for name in ["__init__.cpython-311.pyc", "__init__.cpython-313.opt-2.pyc", "other.cpython-311.pyc"] {
            fs::write(cache.join(name), pyc(1, 0, 0)).unwrap();
        }
        assert_eq!(compiled(&source, None).unwrap().len(), 2);
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
        assert_eq!(stale(&source, None).unwrap(), [cache.join("m.cpython-312.pyc")]);
    }
}
