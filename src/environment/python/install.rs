//! Writing a changed module into an environment: the file, its RECORD lines, and no stale bytecode.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::bytecode;
use super::module::Module;
use crate::source::replace::{self, Staged};

/// A change that lies ready beside the files that it replaces.
pub(crate) struct StagedChange {
    source: PathBuf,
    files: Vec<Staged>,
    details: Vec<String>,
}

/// Prepares a module's new content and the RECORD lines that go with it. Nothing is changed yet.
///
/// # Errors
/// Where something could not be written later.
pub(crate) fn stage(module: &Module, old: &[u8], new: &[u8]) -> Result<StagedChange> {
    let mut files = vec![replace::stage(&module.path, old, new)?];
    let details = stage_records(module, new, &mut files)?;
    Ok(StagedChange { source: module.path.clone(), files, details })
}

/// Prepares what a module that is as it should be still needs: RECORD lines that a run which was killed left behind.
///
/// # Errors
/// As `stage`.
pub(crate) fn stage_upkeep(module: &Module, content: &[u8]) -> Result<StagedChange> {
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
            details.push(format!("brought up to date: {}", owner.record.path.display()));
        }
    }
    Ok(details)
}

impl StagedChange {
    /// No change at all.
    pub(crate) fn nothing() -> Self {
        StagedChange { source: PathBuf::new(), files: Vec::new(), details: Vec::new() }
    }

    /// Puts everything in its place; returns what was touched besides the module, in words.
    ///
    /// # Errors
    /// Where a file cannot be replaced, or stale bytecode cannot be removed.
    pub(crate) fn commit(self) -> Result<Vec<String>> {
        let StagedChange { source, files, mut details } = self;
        let replaced = !files.is_empty();
        files.into_iter().try_for_each(Staged::commit)?;
        let prefix = env::var_os("PYTHONPYCACHEPREFIX").map(PathBuf::from);
        let removed = remove_bytecode(&source, prefix.as_deref(), replaced)?;
        details.extend(removed.iter().map(|path| format!("stale bytecode removed: {}", path.display())));
        Ok(details)
    }
}

/// Python keeps bytecode beside the path that it imports; where that is a link, an import of its target keeps its own.
fn remove_bytecode(source: &Path, prefix: Option<&Path>, replaced: bool) -> Result<Vec<PathBuf>> {
    let mut sources = vec![source.to_path_buf()];
    sources.extend(source.canonicalize().ok().filter(|target| target != source));
    let mut removed = Vec::new();
    for source in sources {
        let remove = if replaced { bytecode::remove_all } else { bytecode::remove_stale };
        removed.extend(remove(&source, prefix)?);
    }
    Ok(removed)
}
