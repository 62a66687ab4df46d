//! Atomic replacement: at any moment a file is the old one or the new one, even if the program is killed.
//!
//! The new file is written beside the old one, synced to disk and renamed over it. Hard links to the old file, such as
//! an installer's cache, keep the old bytes. The new file gets the owner, mode and extended attributes of the old one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, Mode, OFlags};
use tempfile::NamedTempFile;

/// A temporary file's name has random letters between these.
const TEMPORARY_PREFIX: &str = ".nixl-retrofit-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// A new file on disk, beside the one that it will replace.
pub(crate) struct Staged {
    path: PathBuf,
    expected: Vec<u8>,
    content: Vec<u8>,
    temporary: NamedTempFile,
    folder: Folder,
}

/// Writes `content` beside `path`, with the owner, mode and extended attributes of `path`. Changes nothing yet: dropping
/// the result removes the new file. `expected` is the present content of `path`, which [`Staged::commit`] checks.
///
/// # Errors
/// When the folder cannot be written to, or the owner or the attributes cannot be kept.
pub(crate) fn stage(path: &Path, expected: &[u8], content: &[u8]) -> Result<Staged> {
    let path = fs::canonicalize(path).with_context(|| format!("{}: cannot be found", path.display()))?;
    let folder = Folder::lock(path.parent().unwrap_or(Path::new("/")))?;
    let temporary = write_beside(&path, &folder.path, content)
        .with_context(|| format!("{}: cannot create its replacement; nothing was changed", path.display()))?;
    Ok(Staged { path, expected: expected.to_vec(), content: content.to_vec(), temporary, folder })
}

impl Staged {
    /// Replaces the old file.
    ///
    /// # Errors
    /// When the old file changed since it was read, or the rename fails: then the file stays as it is.
    pub(crate) fn commit(self) -> Result<()> {
        let now = fs::read(&self.path).with_context(|| format!("{}: cannot be read", self.path.display()))?;
        if now == self.content {
            // Another run of this program made the same change.
            return Ok(());
        }
        if now != self.expected {
            bail!("{}: changed since it was read; not replaced\nhelp: run the command again", self.path.display());
        }
        self.temporary
            .persist(&self.path)
            .map_err(|error| error.error)
            .with_context(|| format!("{}: cannot be replaced", self.path.display()))?;
        self.folder.sync().with_context(|| format!("{}: cannot be synced to disk", self.folder.path.display()))
    }
}

fn write_beside(path: &Path, folder: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let old = fs::metadata(path)?;
    let mut temporary =
        tempfile::Builder::new().prefix(TEMPORARY_PREFIX).suffix(TEMPORARY_SUFFIX).tempfile_in(folder)?;
    temporary.write_all(content)?;
    let file = temporary.as_file();
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid()))?;
    }
    // After the owner: chown(2) clears the set-user-ID and set-group-ID bits.
    file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
    copy_extended_attributes(path, temporary.path())?;
    file.sync_all()?;
    Ok(temporary)
}

fn copy_extended_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let names = match xattr::list(from) {
        Ok(names) => names,
        Err(error) if is_unsupported(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in names {
        let Some(value) = xattr::get(from, &name)? else { continue };
        if xattr::get(to, &name)?.as_deref() == Some(value.as_slice()) {
            continue;
        }
        xattr::set(to, &name, &value)?;
    }
    Ok(())
}

fn is_unsupported(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOTSUP.raw_os_error())
}

/// A folder, locked against other runs of this program for as long as this value lives.
struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Folder {
    fn lock(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())
            .with_context(|| format!("{}: cannot be opened", path.display()))?;
        // Some file systems have no locks. There, the comparison before the rename protects the file.
        if rustix::fs::flock(&descriptor, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove_left_over(path);
        }
        Ok(Folder { path: path.to_path_buf(), descriptor })
    }

    fn sync(&self) -> io::Result<()> {
        File::from(self.descriptor.try_clone()?).sync_all()
    }
}

/// Removes the temporary files of a run that was killed. Best effort: a leftover harms nothing.
fn remove_left_over(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(TEMPORARY_PREFIX) && name.ends_with(TEMPORARY_SUFFIX) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(content: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("module.py");
        fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn a_hard_link_keeps_the_old_bytes_and_the_mode_stays() {
        let (folder, path) = folder_with("old");
        let cache = folder.path().join("cache");
        fs::hard_link(&path, &cache).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        stage(&path, b"old", b"new").unwrap().commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read(&cache).unwrap(), b"old");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    }

    #[test]
    fn a_symbolic_link_is_followed() {
        let (folder, path) = folder_with("old");
        let link = folder.path().join("link.py");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        stage(&link, b"old", b"new").unwrap().commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_that_changed_since_it_was_read_is_not_replaced() {
        let (_folder, path) = folder_with("old");
        let staged = stage(&path, b"old", b"new").unwrap();
        fs::write(&path, "other").unwrap();
        assert!(staged.commit().unwrap_err().to_string().contains("changed since it was read"));
        assert_eq!(fs::read(&path).unwrap(), b"other");
    }

    #[test]
    fn two_runs_may_make_the_same_change() {
        let (folder, path) = folder_with("old");
        let (first, second) = (stage(&path, b"old", b"new").unwrap(), stage(&path, b"old", b"new").unwrap());
        first.commit().unwrap();
        second.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_stays_behind() {
        let (folder, path) = folder_with("old");
        fs::write(folder.path().join(".nixl-retrofit-abc.tmp"), "killed run").unwrap();
        drop(stage(&path, b"old", b"new").unwrap());
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["module.py"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
