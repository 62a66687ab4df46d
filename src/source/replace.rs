//! Atomic replacement: at any moment a file is the old one or the new one, even if the program is killed.
//!
//! The new file is written beside the old one, synced to disk and renamed over it. Hard links to the old file, such as
//! an installer's cache, keep the old bytes. Several changes are made one after the other, and undone in the other order
//! where one fails.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::retry_on_intr;
use tempfile::{NamedTempFile, TempPath};

use super::access;
use super::regular;

use crate::shown::Shown;

/// A temporary file's name has random letters between these.
const TEMPORARY_PREFIX: &str = ".nixl-retrofit-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// A change that is prepared: [`Change::make`] takes one system call, and [`Change::undo`] another.
#[derive(Debug)]
pub(crate) enum Change {
    /// A new file on disk beside the one that it will replace.
    Replace(Staged),
    /// A file that is renamed away, to be removed at the end.
    Remove {
        /// The file.
        path: PathBuf,
        /// Its name until then.
        aside: TempPath,
    },
}

/// A new file beside the one that it will replace.
#[derive(Debug)]
pub(crate) struct Staged {
    path: PathBuf,
    expected: Vec<u8>,
    new: TempPath,
    /// Another name of the old file.
    old: TempPath,
    /// What could not be kept, in words.
    pub note: Option<String>,
}

/// Writes `content` beside `path`, with the access of `path`, and with the time `latest` where now is later. Changes nothing
/// yet: dropping the result removes the new file. `expected` is the present content of `path`.
///
/// # Errors
/// When the folder cannot be written to, or the access cannot be kept.
pub(crate) fn stage(path: &Path, expected: &[u8], content: &[u8], latest: Option<SystemTime>) -> Result<Staged> {
    let path = fs::canonicalize(path).with_context(|| format!("{}: cannot be found", path.shown()))?;
    let (new, note) = write_beside(&path, content, latest)?;
    let old = other_name(&path, expected)?;
    Ok(Staged { path, expected: expected.to_vec(), new, old, note })
}

/// Prepares the removal of a file.
///
/// # Errors
/// When its folder cannot be written to.
pub(crate) fn stage_removal(path: &Path) -> Result<Change> {
    // Only a name: the file itself goes there.
    let aside = temporary(path)?.into_temp_path();
    Ok(Change::Remove { path: path.to_path_buf(), aside })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn temporary(path: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(TEMPORARY_PREFIX).suffix(TEMPORARY_SUFFIX);
    builder.tempfile_in(folder_of(path)).map_err(|error| access::denied(path, &error))
}

fn write_beside(path: &Path, content: &[u8], latest: Option<SystemTime>) -> Result<(TempPath, Option<String>)> {
    let mut file = temporary(path)?;
    file.write_all(content).map_err(|error| access::denied(path, &error))?;
    // Before the file is given to its owner: only an owner sets times.
    latest.map_or(Ok(()), |latest| clamp(file.as_file(), latest)).map_err(|error| access::denied(path, &error))?;
    let note = access::copy(path, file.as_file())?;
    file.as_file().sync_all().map_err(|error| access::denied(path, &error))?;
    Ok((file.into_temp_path(), note))
}

/// Gives a file or folder that was modified later the time `latest`.
fn clamp(file: &fs::File, latest: SystemTime) -> io::Result<()> {
    if file.metadata()?.modified()? > latest { file.set_modified(latest) } else { Ok(()) }
}

/// Gives a folder, in which names were changed, the time `latest`, if now is later.
///
/// # Errors
/// When that fails: only its owner may set its time.
pub(crate) fn clamp_folder(folder: &Path, latest: SystemTime) -> Result<()> {
    let clamped = fs::File::open(folder).and_then(|opened| clamp(&opened, latest));
    clamped.with_context(|| format!("{}: keeps the time of this run", folder.shown()))
}

/// Another name of the file, or a copy where it can have none (link(2): not every file system, and not every user).
fn other_name(path: &Path, content: &[u8]) -> Result<TempPath> {
    let name = temporary(path)?.into_temp_path();
    fs::remove_file(&name).map_err(|error| access::denied(path, &error))?;
    if retry_on_intr(|| rustix::fs::link(path, &*name)).is_ok() {
        return Ok(name);
    }
    Ok(write_beside(path, content, None)?.0)
}

impl Change {
    /// Makes the change.
    ///
    /// # Errors
    /// When the file is not what it was, or the change fails: then it stays as it is.
    pub(crate) fn make(&self) -> Result<()> {
        match self {
            Change::Replace(staged) => {
                let path = &staged.path;
                if regular::read(path)? != staged.expected {
                    bail!("{}: changed since it was read; not replaced\nhelp: run the command again", path.shown());
                }
                rename(&staged.new, path).with_context(|| format!("{}: cannot be replaced", path.shown()))
            }
            Change::Remove { path, aside } => match rename(path, aside) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                outcome => outcome.with_context(|| {
                    format!("{}: stale bytecode cannot be removed, and Python may load it", path.shown())
                }),
            },
        }
    }

    /// Undoes it.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn undo(&self) -> Result<()> {
        let (from, to) = match self {
            Change::Replace(staged) => (&staged.old, &staged.path),
            // The file was gone before it could be renamed: this is the empty one that kept the name for it.
            Change::Remove { aside, .. } if fs::metadata(aside).is_ok_and(|aside| aside.len() == 0) => return Ok(()),
            Change::Remove { path, aside } => (aside, path),
        };
        rename(from, to).with_context(|| format!("{}: cannot be restored", to.shown()))
    }

    /// The file that changes.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Change::Replace(staged) => &staged.path,
            Change::Remove { path, .. } => path,
        }
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    Ok(retry_on_intr(|| rustix::fs::renameat(CWD, from, CWD, to))?)
}

/// Puts a symbolic link in a file's place; the file itself stays under the name `kept`. Where `kept` is there already, a run
/// was killed between the two steps, and the second one is made.
///
/// # Errors
/// When that fails: then the file has its name.
pub(crate) fn replace_by_link(path: &Path, target: &Path, kept: &Path) -> Result<()> {
    let cannot = || format!("{}: cannot be replaced by a link", path.shown());
    match retry_on_intr(|| rustix::fs::link(path, kept)) {
        Err(error) if error != rustix::io::Errno::EXIST => return Err(error).with_context(cannot),
        _ => {}
    }
    let name = temporary(path)?.into_temp_path();
    fs::remove_file(&name).with_context(cannot)?;
    std::os::unix::fs::symlink(target, &name).with_context(cannot)?;
    rename(&name, path).with_context(cannot)
}

/// Gives a file another name, under which it stays when a change replaces it; a copy where it can have none. What had that
/// name is gone.
///
/// # Errors
/// When that fails.
pub(crate) fn keep(path: &Path, kept: &Path) -> Result<()> {
    let other = other_name(path, &regular::read(path)?)?;
    rename(&other, kept).with_context(|| format!("{}: cannot be kept", path.shown()))
}

/// Gives a file its name again that [`replace_by_link`] put a link in place of.
///
/// # Errors
/// When that fails: then the link stays.
pub(crate) fn take_back(path: &Path, kept: &Path) -> Result<()> {
    rename(kept, path).with_context(|| format!("{}: cannot be restored", path.shown()))
}

/// Writes a new file, whole or not at all.
///
/// # Errors
/// When it exists, or cannot be written.
pub(crate) fn create(path: &Path, content: &[u8]) -> Result<()> {
    let mut file = temporary(path)?;
    file.write_all(content).map_err(|error| access::denied(path, &error))?;
    // What programs of every user read.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode).map_err(|error| access::denied(path, &error))?;
    file.as_file().sync_all().map_err(|error| access::denied(path, &error))?;
    file.persist_noclobber(path).map_err(|error| access::denied(path, &error.error))?;
    Ok(())
}

/// Brings the names in a folder to disk.
///
/// # Errors
/// When that fails.
pub(crate) fn sync(folder: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let synced = retry_on_intr(|| rustix::fs::open(folder, flags, Mode::empty()))
        .and_then(|folder| retry_on_intr(|| rustix::fs::fsync(&folder)));
    synced.with_context(|| format!("{}: cannot be synced to disk", folder.shown()))
}

/// Removes the temporary files that a run left which was killed. The caller holds the folder's lock: so no other run has
/// any there. Best effort: they harm nothing.
pub(crate) fn remove_left_over(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(TEMPORARY_PREFIX) && name.ends_with(TEMPORARY_SUFFIX) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The folder that a file lies in, without symbolic links.
///
/// # Errors
/// When the file cannot be found.
pub(crate) fn real_folder(path: &Path) -> Result<PathBuf> {
    let real = fs::canonicalize(path).with_context(|| format!("{}: cannot be found", path.shown()))?;
    Ok(folder_of(&real).to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn folder_with(content: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("module.py");
        fs::write(&path, content).unwrap();
        (folder, path)
    }

    fn replaced(path: &Path, old: &[u8], new: &[u8]) -> Change {
        Change::Replace(stage(path, old, new, None).unwrap())
    }

    #[test]
    fn a_hard_link_keeps_the_old_bytes_and_the_mode_stays() {
        let (folder, path) = folder_with("old");
        let cache = folder.path().join("cache");
        fs::hard_link(&path, &cache).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replaced(&path, b"old", b"new").make().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read(&cache).unwrap(), b"old");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    }

    #[test]
    fn a_symbolic_link_is_followed() {
        let (folder, path) = folder_with("old");
        let link = folder.path().join("link.py");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replaced(&link, b"old", b"new").make().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_that_changed_since_it_was_read_is_not_replaced() {
        let (_folder, path) = folder_with("old");
        let change = replaced(&path, b"old", b"new");
        fs::write(&path, "other").unwrap();
        assert!(change.make().unwrap_err().to_string().contains("changed since it was read"));
        assert_eq!(fs::read(&path).unwrap(), b"other");
    }

    #[test]
    fn what_is_undone_is_the_same_file() {
        let (folder, path) = folder_with("old");
        let inode = fs::metadata(&path).unwrap().ino();
        let other = folder.path().join("other.pyc");
        fs::write(&other, "bytecode").unwrap();
        let changes = [replaced(&path, b"old", b"new"), stage_removal(&other).unwrap()];
        changes.iter().for_each(|change| change.make().unwrap());
        assert_eq!((fs::read(&path).unwrap().as_slice(), other.exists()), (b"new".as_slice(), false));
        changes.iter().rev().for_each(|change| change.undo().unwrap());
        assert_eq!(
            (fs::metadata(&path).unwrap().ino(), fs::read(&other).unwrap().as_slice()),
            (inode, b"bytecode".as_slice())
        );
        drop(changes);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn nothing_stays_behind() {
        let (folder, path) = folder_with("old");
        fs::write(folder.path().join(".nixl-retrofit-abc.tmp"), "killed run").unwrap();
        remove_left_over(folder.path());
        drop(replaced(&path, b"old", b"new"));
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["module.py"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
