//! Who may do what with a file: owner, group, mode, POSIX ACL and other extended attributes. A replacement gets those of
//! the file that it replaces.
//!
//! Source: acl(5), xattr(7), chown(2): where the ACL has a mask, the group's bits of the mode are the mask.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgroups};
use xattr::FileExt;

use crate::shown::Shown;

/// The extended attribute that holds a file's ACL.
const ACL: &str = "system.posix_acl_access";
/// Extended attributes that only a privileged process may set; the kernel gives new files theirs.
const PRIVILEGED: [&str; 2] = ["security.", "trusted."];
/// The mode's bits of one class.
const ALL: u32 = 0o7;

/// A file's owner, group and mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ownership {
    uid: u32,
    gid: u32,
    /// All twelve bits.
    mode: u32,
}

impl Ownership {
    fn of(metadata: &fs::Metadata) -> Self {
        Ownership { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 }
    }

    fn class(self, shift: u32) -> u32 {
        self.mode >> shift & ALL
    }
}

/// Gives `new` the access of the file at `path`. Returns what could not be kept and changes nobody's access, in words.
///
/// # Errors
/// When something cannot be kept that would change who may do what.
pub(crate) fn copy(path: &Path, new: &File) -> Result<Option<String>> {
    let metadata = fs::metadata(path).with_context(|| format!("{}: cannot be read", path.shown()))?;
    let old = Ownership::of(&metadata);
    change_owner(new, old).with_context(|| format!("{}: its owner cannot be given to the new file", path.shown()))?;
    let has_acl = copy_attributes(path, new)?;
    // After the owner: chown(2) clears the set-user-ID and set-group-ID bits. After the ACL, which sets bits too.
    new.set_permissions(Permissions::from_mode(old.mode))
        .with_context(|| format!("{}: its mode cannot be given to the new file", path.shown()))?;
    let now = Ownership::of(&new.metadata().with_context(|| format!("{}: cannot be replaced", path.shown()))?);
    if now == old {
        return Ok(None);
    }
    if !has_acl && changes_nobody(old, now, &Credentials::current()) {
        let (before, after) = (format!("{}:{}", old.uid, old.gid), format!("{}:{}", now.uid, now.gid));
        let path = path.shown();
        return Ok(Some(format!("`{path}` now belongs to {after} instead of {before}, which changes nobody's access")));
    }
    bail!(
        "{}: its owner {}:{} and mode {:04o} cannot be given to the new file, and with owner {}:{} and mode {:04o} \
         somebody might gain or lose access; nothing was changed\n\
         help: run this as the owner; in a Dockerfile, put `USER root` before the RUN line",
        path.shown(),
        old.uid,
        old.gid,
        old.mode,
        now.uid,
        now.gid,
        now.mode
    )
}

/// Changes owner and group as far as that is allowed.
fn change_owner(new: &File, wanted: Ownership) -> io::Result<()> {
    let now = Ownership::of(&new.metadata()?);
    if (now.uid, now.gid) == (wanted.uid, wanted.gid) {
        return Ok(());
    }
    // EINVAL: the identifier does not exist in this user namespace, as in a rootless build.
    let is_denied = |error: &io::Error| is(error, Errno::PERM) || is(error, Errno::INVAL);
    let denied = |error: io::Error| if is_denied(&error) { Ok(()) } else { Err(error) };
    match fchown(new, Some(wanted.uid), Some(wanted.gid)) {
        Err(error) if is_denied(&error) => fchown(new, None, Some(wanted.gid)).or_else(denied),
        outcome => outcome,
    }
}

/// Gives `new` the extended attributes of the file at `path` and takes others from it. Returns whether there is an ACL.
fn copy_attributes(path: &Path, new: &File) -> Result<bool> {
    let failed =
        |what: &str, name: &OsStr| format!("{}: extended attribute `{}` cannot be {what}", path.shown(), name.shown());
    let names: Vec<OsString> = match xattr::list(path) {
        Ok(names) => names.collect(),
        Err(error) if is(&error, Errno::NOTSUP) => return Ok(false),
        Err(error) => {
            return Err(error).with_context(|| format!("{}: its extended attributes cannot be listed", path.shown()));
        }
    };
    let new_names: Vec<OsString> = new.list_xattr().map(Iterator::collect).unwrap_or_default();
    for name in new_names.iter().filter(|name| !names.contains(name) && !is_privileged(name)) {
        new.remove_xattr(name).with_context(|| failed("removed from the new file", name))?;
    }
    for name in &names {
        let value = xattr::get(path, name).with_context(|| failed("read", name))?;
        let Some(value) = value else { continue };
        if new.get_xattr(name).ok().flatten().as_deref() == Some(value.as_slice()) {
            continue;
        }
        match new.set_xattr(name, &value) {
            // Only root and the security module may set it, and the latter has labelled the new file.
            Err(error) if is_privileged(name) && (is(&error, Errno::PERM) || is(&error, Errno::NOTSUP)) => {}
            outcome => outcome.with_context(|| failed("given to the new file", name))?,
        }
    }
    Ok(names.iter().any(|name| name == ACL))
}

fn is_privileged(name: &OsStr) -> bool {
    PRIVILEGED.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()))
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// Who this process is.
struct Credentials {
    uid: u32,
    groups: Vec<u32>,
}

impl Credentials {
    fn current() -> Self {
        let mut groups: Vec<u32> = getgroups().unwrap_or_default().iter().map(|group| group.as_raw()).collect();
        groups.push(getegid().as_raw());
        Credentials { uid: geteuid().as_raw(), groups }
    }
}

/// Whether everybody may do with the new file what they could do with the old one, and no more. Root may do anything
/// with both.
fn changes_nobody(old: Ownership, new: Ownership, own: &Credentials) -> bool {
    let (owner, group, others) = (old.class(6), old.class(3), old.class(0));
    let special = 0o6000;
    if new.mode != old.mode || old.mode & special != 0 {
        return false;
    }
    // Members of either group become others, or the other way round.
    if new.gid != old.gid && group != others {
        return false;
    }
    if new.uid == old.uid {
        return true;
    }
    // The old owner becomes one of the group or of the others; which, this process does not know.
    let old_owner_keeps = old.uid == 0 || (owner == group && owner == others);
    let own_before = if own.groups.contains(&old.gid) { group } else { others };
    old_owner_keeps && new.uid == own.uid && own_before == owner
}

/// Why a file cannot be written, and what to do.
pub(crate) fn denied(path: &Path, error: &io::Error) -> anyhow::Error {
    let (path, error, kind) = (path.shown(), error.to_string(), error.kind());
    // The temporary file's name tells nobody anything.
    let error = error.split(" at path ").next().unwrap_or_default();
    if matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) {
        return anyhow!(
            "{path}: cannot be written: {error}; nothing was changed\n\
             help: run this as the owner of the environment; in a Dockerfile, put `USER root` before the RUN line"
        );
    }
    anyhow!("{path}: cannot be written: {error}; nothing was changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_owner_passes_only_where_it_changes_nobodys_access() {
        let file = |uid, gid, mode| Ownership { uid, gid, mode };
        let me = |groups: &[u32]| Credentials { uid: 1000, groups: groups.to_vec() };
        let same = |old, new, own: &Credentials| changes_nobody(old, new, own);
        assert!(
            same(file(1000, 7, 0o644), file(1000, 1000, 0o644), &me(&[1000])),
            "only the group, and it had what others have"
        );
        assert!(!same(file(1000, 7, 0o664), file(1000, 1000, 0o664), &me(&[1000])), "the group would lose writing");
        assert!(!same(file(1000, 7, 0o640), file(1000, 1000, 0o640), &me(&[1000])), "the group would lose reading");
        assert!(same(file(0, 0, 0o664), file(1000, 0, 0o664), &me(&[0])), "a random user in group 0");
        assert!(!same(file(0, 0, 0o644), file(1000, 0, 0o644), &me(&[0])), "who could not write the file");
        assert!(
            !same(file(5, 0, 0o664), file(1000, 0, 0o664), &me(&[0])),
            "the old owner may be neither root nor in group 0"
        );
        assert!(same(file(5, 0, 0o666), file(1000, 0, 0o666), &me(&[])), "everybody could do everything");
        assert!(!same(file(0, 0, 0o2664), file(1000, 0, 0o2664), &me(&[0])), "whose group a program gets");
        assert!(!same(file(0, 0, 0o664), file(1000, 0, 0o660), &me(&[0])), "another mode");
    }
}
