//! Reading files that may be anything: a FIFO must not hang the program.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::OFlags;

use crate::shown::Shown;

/// All bytes of a regular file.
///
/// # Errors
/// When it cannot be opened or read, or is something else, such as a directory or a FIFO.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let shown = path.shown();
    // Opening a FIFO waits for a writer unless told not to.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mut file = file.with_context(|| format!("{shown}: cannot be read"))?;
    let metadata = file.metadata().with_context(|| format!("{shown}: cannot be read"))?;
    if !metadata.is_file() {
        bail!("{shown}: is {}; expected a regular file", kind(metadata.file_type()));
    }
    let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.read_to_end(&mut content).with_context(|| format!("{shown}: cannot be read"))?;
    Ok(content)
}

/// Whether two paths lead to one file.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    let (one, other) = (fs::canonicalize(one), fs::canonicalize(other));
    one.ok().zip(other.ok()).is_some_and(|(one, other)| one == other)
}

fn kind(kind: fs::FileType) -> &'static str {
    match kind {
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_named_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        assert!(read(&fifo).unwrap_err().to_string().ends_with("is a FIFO; expected a regular file"));
        assert!(read(folder.path()).unwrap_err().to_string().contains("is a directory"));
        assert!(format!("{:#}", read(Path::new("/dev/null")).unwrap_err()).contains("is a device"));
        assert!(format!("{:#}", read(&folder.path().join("none")).unwrap_err()).contains("cannot be read: No such"));
    }
}
