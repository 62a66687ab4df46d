//! Installing a changed module: its file, the RECORD lines that list it, and its bytecode.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::bytecode;
use super::module::Module;
use crate::source::replace::{self, Staged};

/// A change whose new files are on disk, beside the files that they will replace.
pub(crate) struct StagedChange {
    source: PathBuf,
    files: Vec<Staged>,
    details: Vec<String>,
}

/// Prepares a module's new content and RECORD lines. Changes nothing yet.
///
/// # Errors
/// When a new file cannot be written, or RECORD has a hash that cannot be updated.
pub(crate) fn stage(module: &Module, old: &[u8], new: &[u8]) -> Result<StagedChange> {
    let mut files = vec![replace::stage(&module.path, old, new)?];
    let details = stage_records(module, new, &mut files)?;
    Ok(StagedChange { source: module.path.clone(), files, details })
}

/// Prepares what a run that was killed after replacing the module did not get to: RECORD lines and bytecode.
///
/// # Errors
/// As [`stage`].
pub(crate) fn stage_repair(module: &Module, content: &[u8]) -> Result<StagedChange> {
    let mut files = Vec::new();
    let details = stage_records(module, content, &mut files)?;
    Ok(StagedChange { source: module.path.clone(), files, details })
}

fn stage_records(module: &Module, content: &[u8], files: &mut Vec<Staged>) -> Result<Vec<String>> {
    let mut details = Vec::new();
    for owner in &module.owners {
        let bytes = owner.record.with_content(&owner.entry, content)?;
        if bytes != owner.record.bytes {
            files.push(replace::stage(&owner.record.path, &owner.record.bytes, &bytes)?);
            details.push(format!("updated: {}", owner.record.path.display()));
        }
    }
    Ok(details)
}

impl StagedChange {
    /// A change of nothing.
    pub(crate) fn nothing() -> Self {
        StagedChange { source: PathBuf::new(), files: Vec::new(), details: Vec::new() }
    }

    /// Replaces the files and removes bytecode, which may also be below `cache_prefix` (`PYTHONPYCACHEPREFIX`). Returns
    /// messages about the files touched besides the module.
    ///
    /// # Errors
    /// When a file cannot be replaced, or stale bytecode cannot be removed.
    pub(crate) fn commit(self, cache_prefix: Option<&Path>) -> Result<Vec<String>> {
        let StagedChange { source, files, mut details } = self;
        let replaced = !files.is_empty();
        files.into_iter().try_for_each(Staged::commit)?;
        let removed = remove_bytecode(&source, cache_prefix, replaced)?;
        details.extend(removed.iter().map(|path| format!("removed stale bytecode: {}", path.display())));
        Ok(details)
    }
}

/// Python writes bytecode beside the path that it imports: a symbolic link and its target each have their own.
fn remove_bytecode(source: &Path, cache_prefix: Option<&Path>, replaced: bool) -> Result<Vec<PathBuf>> {
    let mut sources = vec![source.to_path_buf()];
    sources.extend(source.canonicalize().ok().filter(|target| target != source));
    let mut removed = Vec::new();
    for source in sources {
        let remove = if replaced { bytecode::remove_all } else { bytecode::remove_stale };
        removed.extend(remove(&source, cache_prefix)?);
    }
    Ok(removed)
}
