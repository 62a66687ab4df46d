//! All source files below some folders, read in parallel.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ignore::{WalkBuilder, WalkState};
use rustix::fs::OFlags;

use crate::report::audit::Problem;

/// How many bytes a buffer holds at first: more than nine of ten sources have.
const BUFFER: usize = 128 << 10;
/// A larger file is no source.
const LARGEST: usize = 1 << 30;
/// Where the kernel shows processes and devices as files.
const NO_FILES: [&str; 3] = ["/proc", "/sys", "/dev"];

/// What is walked through.
#[derive(Clone, Copy)]
pub(super) struct Walk<'w> {
    /// Folders and files.
    pub(super) roots: &'w [PathBuf],
    /// Whether symbolic links are followed; one that leads to a folder above itself is not.
    pub(super) follow_links: bool,
    /// Which files.
    pub(super) accepts: fn(&Path) -> bool,
}

impl Walk<'_> {
    /// Calls `visit` with each file below the roots and its bytes, from several threads; `problem` with what cannot be read.
    /// Nothing is left out that Python could import or Cargo compile: no hidden file, nothing that a `.gitignore` names.
    pub(super) fn files(&self, visit: &(dyn Fn(&Path, &[u8]) + Sync), problem: &(dyn Fn(Problem) + Sync)) {
        let [first, others @ ..] = self.roots else { return };
        let mut walk = WalkBuilder::new(first);
        for root in others {
            walk.add(root);
        }
        walk.standard_filters(false)
            .follow_links(self.follow_links)
            .filter_entry(|entry| !NO_FILES.iter().any(|folder| entry.path() == Path::new(folder)));
        walk.build_parallel().run(|| {
            let mut buffer = vec![0; BUFFER];
            Box::new(move |entry| {
                match entry {
                    Ok(entry) => {
                        let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
                        if is_file && (self.accepts)(entry.path()) {
                            match read(entry.path(), &mut buffer) {
                                Ok(length) => visit(entry.path(), &buffer[..length]),
                                Err(error) => problem(unreadable(entry.path(), &error)),
                            }
                        }
                    }
                    Err(error) => walk_problem(first, &error).into_iter().for_each(problem),
                }
                WalkState::Continue
            })
        });
    }
}

/// Whether Python imports a file of this name, or Cargo compiles it.
pub(super) fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "py" || extension == "rs")
}

/// Whether Python imports a file of this name.
pub(super) fn is_python(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "py")
}

/// Reads a file into the buffer, which grows as needed; returns its length.
///
/// # Errors
/// When it cannot be read, or is too large.
pub(super) fn read(path: &Path, buffer: &mut Vec<u8>) -> io::Result<usize> {
    // Nothing waits for a FIFO that took the file's place.
    let mut file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    let mut length = 0;
    loop {
        let count = match file.read(&mut buffer[length..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        length += count;
        // A regular file is read in full but at its end.
        if length < buffer.len() {
            return Ok(length);
        }
        if length > LARGEST {
            return Err(io::Error::other("more than 1 GiB"));
        }
        buffer.resize(buffer.len() * 2, 0);
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem { path: path.to_path_buf(), message: format!("cannot be read: {error}") }
}

/// What the walk could not enter. A link that leads to a folder above itself is none: its files are seen there.
fn walk_problem(root: &Path, error: &ignore::Error) -> Option<Problem> {
    match error {
        ignore::Error::Loop { .. } => None,
        ignore::Error::WithPath { path, err } => walk_problem(path, err),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => walk_problem(root, err),
        // A link to nothing, which would be no source.
        ignore::Error::Io(error) if error.kind() == io::ErrorKind::NotFound && !is_source(root) => None,
        ignore::Error::Io(error) => Some(unreadable(root, error)),
        other => Some(Problem { path: root.to_path_buf(), message: other.to_string() }),
    }
}
