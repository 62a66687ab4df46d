//! RECORDs that have another hash for a module than its file has.
//!
//! A row is mended only for a file that says of itself what it is: this program's marker leads back to the original. Of any
//! other file nobody knows whether the row or the file is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};

use super::kept;
use crate::advice::stale_record;
use crate::environment::python::distribution::{self, Distribution};
use crate::environment::python::install::{Direction, Transaction};
use crate::environment::python::record::Record;
use crate::report::finding::Finding;
use crate::shown::Shown;
use crate::source::lock::{self, Lock};
use crate::source::marker::{Comment, Marker};
use crate::source::{diff, regular, replace};

/// A module whose RECORD is out of date.
struct Stale {
    module: PathBuf,
    content: Vec<u8>,
    is_ours: bool,
    owner: Distribution,
}

/// The findings about these modules, which may create agents.
///
/// # Errors
/// When a module or a RECORD cannot be read.
pub(crate) fn findings(import_path: &[PathBuf], modules: &[PathBuf]) -> Result<Vec<Finding>> {
    let stale = find(import_path, modules)?;
    Ok(stale.iter().map(|it| stale_record::finding(&it.module, &it.owner.record.path, it.is_ours)).collect())
}

/// Updates the rows of the files that this program wrote. Returns what it did, with the difference; the old RECORD stays
/// beside the new one.
///
/// # Errors
/// When a RECORD cannot be replaced: then none is.
pub(super) fn mend(import_path: &[PathBuf], modules: &[PathBuf]) -> Result<Vec<String>> {
    let ours = || -> Result<Vec<Stale>> {
        Ok(find(import_path, modules)?.into_iter().filter(|stale| stale.is_ours).collect())
    };
    let _locks = lock_all(ours()?.iter().map(|stale| stale.owner.record.path.as_path()))?;
    // What is written follows from what is read under the lock.
    let stale = ours()?;
    if stale.is_empty() {
        return Ok(vec!["nothing to do: RECORD has the hash of every module that this program wrote".into()]);
    }
    let mut transaction = Transaction::default();
    for Stale { content, owner, .. } in &stale {
        transaction.add_records(std::slice::from_ref(owner), content)?;
    }
    let mut records: Vec<(&Path, &[u8])> = Vec::new();
    for Stale { owner: Distribution { record, .. }, .. } in &stale {
        if !records.iter().any(|(path, _)| *path == record.path) {
            records.push((&record.path, &record.bytes));
        }
    }
    let forget = |count: usize| records[..count].iter().for_each(|(path, _)| drop(fs::remove_file(kept::name(path))));
    for (number, (path, _)) in records.iter().enumerate() {
        replace::keep(path, &kept::name(path)).inspect_err(|_| forget(number))?;
    }
    transaction.commit(Direction::Forward).inspect_err(|_| forget(records.len()))?;
    let mut steps = Vec::new();
    for (path, old) in records {
        steps.push(String::from_utf8_lossy(&diff::unified(path, old, &regular::read(path)?)).into_owned());
        steps.push(format!("updated: {}", path.shown()));
        steps.push(format!("the original is {}", kept::name(path).shown()));
    }
    Ok(steps)
}

/// Gives the folders their old RECORDs again. Returns what it did.
///
/// # Errors
/// When a RECORD was changed since: then that one stays.
pub(super) fn take_back(import_path: &[PathBuf], modules: &[PathBuf]) -> Result<Vec<String>> {
    let mut steps = Vec::new();
    for (record, old) in import_path.iter().flat_map(|site| kept_records(site)) {
        let _locks = lock_all(std::iter::once(record.as_path()))?;
        if mended(import_path, modules, &record, regular::read(&old)?)? != regular::read(&record)? {
            bail!(
                "{}: changed since `doctor --fix`; not restored\nhelp: remove `{}` to keep the present one",
                record.shown(),
                old.shown()
            );
        }
        replace::take_back(&record, &old)?;
        steps.push(format!("restored: {}", record.shown()));
    }
    Ok(steps)
}

/// A RECORD with the rows that [`mend`] updates.
fn mended(import_path: &[PathBuf], modules: &[PathBuf], path: &Path, old: Vec<u8>) -> Result<Vec<u8>> {
    let mut record = Record { path: path.into(), bytes: old };
    for (module, owners) in owned(import_path, modules)? {
        let content = regular::read(&module)?;
        for owner in owners.iter().filter(|owner| owner.record.path == path && is_ours(&content)) {
            record.bytes = record.with_content(&owner.entry, &content)?;
        }
    }
    Ok(record.bytes)
}

/// RECORDs that were replaced, and the old ones.
fn kept_records(site: &Path) -> Vec<(PathBuf, PathBuf)> {
    let entries = fs::read_dir(site).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = entries.filter(|path| path.extension().is_some_and(|it| it == "dist-info"));
    let records = folders.map(|folder| folder.join("RECORD"));
    let both = records.map(|record| {
        let old = kept::name(&record);
        (record, old)
    });
    both.filter(|(_, old)| old.is_file()).collect()
}

fn lock_all<'a>(records: impl Iterator<Item = &'a Path>) -> Result<Vec<Lock>> {
    let mut folders = records.map(replace::real_folder).collect::<Result<Vec<_>>>()?;
    // Every run takes them in this order.
    folders.sort();
    folders.dedup();
    let deadline = Instant::now() + lock::PATIENCE;
    folders.iter().map(|folder| lock::exclusive(folder, deadline)).collect()
}

/// The modules with another hash in a RECORD.
fn find(import_path: &[PathBuf], modules: &[PathBuf]) -> Result<Vec<Stale>> {
    let mut found = Vec::new();
    for (module, owners) in owned(import_path, modules)? {
        let content = regular::read(&module)?;
        for owner in owners.into_iter().filter(|owner| !owner.record.agrees(&owner.entry, &content)) {
            let is_ours = is_ours(&content);
            found.push(Stale { module: module.clone(), content: content.clone(), is_ours, owner });
        }
    }
    Ok(found)
}

/// The modules with the distributions that list them.
fn owned(import_path: &[PathBuf], modules: &[PathBuf]) -> Result<Vec<(PathBuf, Vec<Distribution>)>> {
    let home = |module: &PathBuf| distribution::site_packages_of(module).map(|site| site.map(Path::to_path_buf));
    let mut files: Vec<(PathBuf, PathBuf)> = Vec::new();
    for module in modules {
        files.extend(home(module)?.map(|home| (module.clone(), home)));
    }
    let sites: Vec<&Path> = import_path.iter().map(PathBuf::as_path).collect();
    let pairs: Vec<(&Path, &Path)> = files.iter().map(|(file, home)| (file.as_path(), home.as_path())).collect();
    let owners = distribution::owners(&sites, &pairs)?;
    Ok(files.into_iter().map(|(file, _)| file).zip(owners).collect())
}

/// Whether the file is what this program made of an original that the file itself leads back to.
fn is_ours(content: &[u8]) -> bool {
    let markers = Marker::all(content, Comment::Hash).into_iter().map(|(_, marker)| marker);
    Marker::own(markers, content).is_ok_and(|own| own.is_some_and(|own| own.original.is_some()))
}
