//! Installing changed modules: their files, the RECORD lines that list them, and their bytecode, as one transaction.
//!
//! Every new file is on disk before the first one replaces an old one. A module is patched before its RECORD is updated,
//! and restored after it: so wherever a run is killed, a module that carries a marker and a RECORD that does not agree with
//! it tell the next run that there is something to finish. Bytecode goes in between.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use thiserror::Error;

use super::bytecode;
use super::distribution::Distribution;
use super::record::Record;
use crate::environment::rust::checksum::Checksum;
use crate::shown::Shown;
use crate::source::replace::{self, Change};

/// Which way modules change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Towards the patched module.
    Forward,
    /// Towards the original.
    Back,
}

/// What a run changes.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    modules: Vec<Change>,
    bytecode: Vec<Change>,
    /// Each RECORD as it is and as it will be.
    records: Vec<(Record, Vec<u8>)>,
    /// The checksums of vendored packages, likewise.
    checksums: Vec<(Checksum, Vec<u8>)>,
    /// What could not be kept, in words.
    notes: Vec<String>,
    /// The latest time that what is written may have.
    latest: Option<SystemTime>,
}

/// A transaction that failed.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// Nothing is changed.
    #[error("{0:#}")]
    Nothing(anyhow::Error),
    /// Some files are changed and could not be restored.
    #[error(
        "{}; the change could not be undone either; changed: {}\n\
         help: run the same command again to finish the change, or `revert` to undo it",
        fact(error),
        list(changed)
    )]
    Some {
        /// What failed first.
        error: anyhow::Error,
        /// The files that are changed.
        changed: Vec<PathBuf>,
    },
}

/// An error without its advice.
fn fact(error: &anyhow::Error) -> String {
    format!("{error:#}").split("\nhelp: ").next().unwrap_or_default().to_string()
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.shown().to_string()).collect();
    paths.join(", ")
}

/// Whether each RECORD that lists a module has its hash.
pub(crate) fn records_agree(owners: &[Distribution], content: &[u8]) -> bool {
    owners.iter().all(|owner| owner.record.agrees(&owner.entry, content))
}

impl Transaction {
    /// One that writes nothing with a time after `latest`.
    pub(crate) fn until(latest: Option<SystemTime>) -> Self {
        Transaction { latest, ..Transaction::default() }
    }

    /// Adds a module's new content. Returns messages about the files touched besides the module.
    ///
    /// # Errors
    /// When a new file cannot be written, or RECORD has a hash that cannot be updated.
    pub(crate) fn add(
        &mut self,
        path: &Path,
        owners: &[Distribution],
        (old, new): (&[u8], &[u8]),
        cache_prefix: Option<&Path>,
    ) -> Result<Vec<String>> {
        let staged = replace::stage(path, old, new, self.latest)?;
        self.notes.extend(staged.note.clone());
        self.modules.push(Change::Replace(staged));
        let mut details = self.add_records(owners, new)?;
        details.extend(self.add_bytecode(bytecode::compiled(path, cache_prefix)?)?);
        Ok(details)
    }

    /// Adds what a run that was killed did not get to: RECORD lines and bytecode of a module that stays as it is.
    ///
    /// # Errors
    /// As [`Transaction::add`].
    pub(crate) fn add_rest(
        &mut self,
        path: &Path,
        owners: &[Distribution],
        content: &[u8],
        cache_prefix: Option<&Path>,
    ) -> Result<Vec<String>> {
        let mut details = self.add_records(owners, content)?;
        details.extend(self.add_bytecode(bytecode::stale(path, cache_prefix)?)?);
        Ok(details)
    }

    /// Adds a Rust source's new content, if it changes, and the checksum that lists it. Returns messages about the files
    /// touched besides the source.
    ///
    /// # Errors
    /// When a new file cannot be written, or the checksum cannot be updated.
    pub(crate) fn add_source(
        &mut self,
        path: &Path,
        (old, new): (&[u8], &[u8]),
        checksum: Option<&Checksum>,
    ) -> Result<Vec<String>> {
        if old != new {
            // Cargo sees by its time that a source has changed.
            let staged = replace::stage(path, old, new, None)?;
            self.notes.extend(staged.note.clone());
            self.modules.push(Change::Replace(staged));
        }
        let Some(checksum) = checksum else { return Ok(Vec::new()) };
        let known = self.checksums.iter().position(|(known, _)| known.path == checksum.path);
        let index = known.unwrap_or_else(|| {
            self.checksums.push((checksum.clone(), checksum.bytes.clone()));
            self.checksums.len() - 1
        });
        let (_, bytes) = &mut self.checksums[index];
        let updated = checksum.with_content(bytes, new)?;
        let changes = updated != *bytes;
        *bytes = updated;
        Ok(if changes { vec![format!("updated: {}", checksum.path.shown())] } else { Vec::new() })
    }

    /// Adds RECORD's rows for a file with that content, which itself stays as it is. Returns messages about the RECORDs.
    ///
    /// # Errors
    /// When RECORD has a hash that cannot be updated.
    pub(crate) fn add_records(&mut self, owners: &[Distribution], content: &[u8]) -> Result<Vec<String>> {
        let mut details = Vec::new();
        for owner in owners {
            // Two modules of one distribution, or two paths of one RECORD.
            let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
            let known = self.records.iter().position(|(record, _)| real(&record.path) == real(&owner.record.path));
            let index = known.unwrap_or_else(|| {
                self.records.push((owner.record.clone(), owner.record.bytes.clone()));
                self.records.len() - 1
            });
            let (record, bytes) = &mut self.records[index];
            let now = Record { path: record.path.clone(), bytes: std::mem::take(bytes) };
            *bytes = now.with_content(&owner.entry, content)?;
            if *bytes != now.bytes {
                details.push(format!("updated: {}", owner.record.path.shown()));
            }
        }
        Ok(details)
    }

    fn add_bytecode(&mut self, paths: Vec<PathBuf>) -> Result<Vec<String>> {
        let mut details = Vec::new();
        for path in paths {
            self.bytecode.push(replace::stage_removal(&path)?);
            details.push(format!("removed stale bytecode: {}", path.shown()));
        }
        Ok(details)
    }

    /// Makes all changes, or none. Returns what could not be kept and changes nobody's access, in words.
    ///
    /// # Errors
    /// Which of the two it is, says the failure.
    pub(crate) fn commit(self, direction: Direction) -> Result<Vec<String>, Failure> {
        let mut notes = self.notes;
        let mut records = Vec::new();
        let of_records = self.records.iter().map(|(record, new)| (&record.path, &record.bytes, new));
        let of_checksums = self.checksums.iter().map(|(checksum, new)| (&checksum.path, &checksum.bytes, new));
        for (path, old, new) in of_records.chain(of_checksums).filter(|(_, old, new)| old != new) {
            let staged = replace::stage(path, old, new, self.latest).map_err(Failure::Nothing)?;
            notes.extend(staged.note.clone());
            records.push(Change::Replace(staged));
        }
        let phases = match direction {
            Direction::Forward => [self.modules, self.bytecode, records],
            Direction::Back => [records, self.bytecode, self.modules],
        };
        let mut made: Vec<&Change> = Vec::new();
        for phase in &phases {
            if let Err(error) = make(phase, &mut made) {
                return Err(undo(&made, error));
            }
        }
        drop(made);
        if let Some(latest) = self.latest {
            let folders = folders(phases.iter().flatten());
            // Their removal of temporary names changes the folders once more.
            drop(phases);
            notes.extend(
                folders
                    .iter()
                    .filter_map(|folder| replace::clamp_folder(folder, latest).err().map(|error| format!("{error:#}"))),
            );
        }
        Ok(notes)
    }
}

/// Makes the changes of a phase and brings them to disk before the next one begins.
fn make<'c>(phase: &'c [Change], made: &mut Vec<&'c Change>) -> Result<()> {
    for change in phase {
        change.make()?;
        made.push(change);
    }
    let replaced = phase.iter().filter(|change| matches!(change, Change::Replace(_)));
    folders(replaced).iter().try_for_each(|folder| replace::sync(folder))
}

/// The folders in which names change, each once.
fn folders<'c>(changes: impl Iterator<Item = &'c Change>) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = changes.filter_map(|change| Some(change.path().parent()?.to_path_buf())).collect();
    folders.sort_unstable();
    folders.dedup();
    folders
}

fn undo(made: &[&Change], error: anyhow::Error) -> Failure {
    let mut changed = Vec::new();
    for change in made.iter().rev() {
        if change.undo().is_err() {
            changed.push(change.path().to_path_buf());
        }
    }
    if changed.is_empty() {
        Failure::Nothing(error.context("nothing was changed"))
    } else {
        Failure::Some { error, changed }
    }
}
