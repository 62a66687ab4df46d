//! Locks on folders, so that runs of this program on the same tree take turns.
//!
//! The lock is flock(2) on the folder itself: nothing is left behind, and the kernel drops it when its holder dies. Where
//! a file system has no such locks on folders, as NFS does not, it is flock(2) on a file in the folder.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use crate::shown::Shown;

/// How long a run waits for another one. One takes some 10 ms.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks.
const PAUSE: Duration = Duration::from_millis(5);
/// The file that is locked where folders cannot be.
const LOCK_FILE: &str = ".nixl-retrofit-lock";

/// A locked folder, until this value is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    /// Closing it unlocks.
    _descriptor: File,
    /// Removed while it is still locked.
    file: Option<PathBuf>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let _ = fs::remove_file(file);
        }
    }
}

/// Locks a folder against all other runs.
///
/// # Errors
/// When it cannot be opened, its file system has no locks, or another run holds it until the deadline.
pub(crate) fn exclusive(folder: &Path, deadline: Instant) -> Result<Lock> {
    let taken = take(folder, deadline, FlockOperation::NonBlockingLockExclusive)?;
    if let Some(descriptor) = taken {
        return Ok(Lock { _descriptor: descriptor, file: None });
    }
    let path = folder.join(LOCK_FILE);
    let open = || OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let abandon = || {
        let _ = fs::remove_file(&path);
    };
    let descriptor = hold(&path, open, abandon, deadline, FlockOperation::NonBlockingLockExclusive)?;
    let unsupported = || {
        anyhow!(
            "{}: its file system supports no locks, so another run could interfere\n\
             help: run on a local file system",
            folder.shown()
        )
    };
    Ok(Lock { _descriptor: descriptor.ok_or_else(unsupported)?, file: Some(path) })
}

/// Locks a folder against runs that write; None where it cannot be locked by this user or on this file system.
///
/// # Errors
/// When another run holds it until the deadline.
pub(crate) fn shared(folder: &Path, deadline: Instant) -> Result<Option<Lock>> {
    if rustix::fs::access(folder, rustix::fs::Access::READ_OK).is_err() {
        return Ok(None);
    }
    let taken = take(folder, deadline, FlockOperation::NonBlockingLockShared)?;
    Ok(taken.map(|descriptor| Lock { _descriptor: descriptor, file: None }))
}

fn take(folder: &Path, deadline: Instant, operation: FlockOperation) -> Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || Ok(rustix::fs::open(folder, flags, Mode::empty())?.into());
    hold(folder, open, || {}, deadline, operation)
}

/// Opens and locks what `path` is; again if it was replaced or removed meanwhile. None where locks are not supported. Calls
/// `abandon` where it was opened and is of no use, and no other run has it.
fn hold(
    path: &Path,
    open: impl Fn() -> std::io::Result<File>,
    abandon: impl Fn(),
    deadline: Instant,
    operation: FlockOperation,
) -> Result<Option<File>> {
    loop {
        let file = open().with_context(|| format!("{}: cannot be opened", path.shown()))?;
        if !wait(&file, path, deadline, operation)? {
            abandon();
            return Ok(None);
        }
        let (held, now) = (file.metadata().inspect_err(|_| abandon())?, fs::metadata(path));
        if now.is_ok_and(|now| (now.dev(), now.ino()) == (held.dev(), held.ino())) {
            return Ok(Some(file));
        }
        if Instant::now() >= deadline {
            bail!("{}: is replaced again and again; nothing was changed", path.shown());
        }
    }
}

/// Waits for the lock; false where locks are not supported.
fn wait(file: &impl AsFd, path: &Path, deadline: Instant, operation: FlockOperation) -> Result<bool> {
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => bail!(
                "{}: another nixl-retrofit works on it and does not finish; nothing was changed\n\
                 help: end that process (`fuser` names it), then run the command again",
                path.shown()
            ),
            Err(Errno::BADF | Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(false),
            Err(error) => return Err(error).with_context(|| format!("{}: cannot be locked", path.shown())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[test]
    fn a_writer_is_alone_and_readers_share() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let writer = exclusive(path, soon()).unwrap();
        let refused = exclusive(path, soon()).unwrap_err().to_string();
        assert!(refused.contains("another nixl-retrofit works on it"), "{refused}");
        assert!(shared(path, soon()).is_err());
        drop(writer);
        let (one, other) = (shared(path, soon()).unwrap(), shared(path, soon()).unwrap());
        assert!(one.is_some() && other.is_some());
        assert!(exclusive(path, soon()).is_err());
        drop((one, other));
        assert!(exclusive(path, soon()).is_ok());
        assert_eq!(fs::read_dir(path).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_was_replaced_is_opened_again() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("folder");
        fs::create_dir(&path).unwrap();
        let old = exclusive(&path, soon()).unwrap();
        fs::rename(&path, outer.path().join("old")).unwrap();
        fs::create_dir(&path).unwrap();
        let new = exclusive(&path, soon()).unwrap();
        assert!(exclusive(&path, soon()).is_err());
        drop((old, new));
    }
}
