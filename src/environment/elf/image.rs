//! A library's file, read in parts as they are asked for: a library may have hundreds of megabytes.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use elsa::FrozenMap;
use object::read::ReadRef;

/// The longest string that is read.
const LONGEST_STRING: u64 = 4096;

/// The number of a file's device, and its own on that device: what the loader knows a file by.
pub(super) type Inode = (u64, u64);

/// A file and what was read of it. (`object`'s `ReadCache` fills each part with zeros before it reads it, and seeks: that
/// is half of the time that reading a library takes.)
pub(super) struct Image {
    file: File,
    metadata: Metadata,
    /// By offset and size.
    parts: FrozenMap<(u64, u64), Vec<u8>>,
}

impl Image {
    /// Opens it; nothing is read yet.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<Image> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Image { file, metadata, parts: FrozenMap::new() })
    }

    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.metadata.len()
    }

    /// What it is known by.
    pub(super) fn inode(&self) -> Inode {
        (self.metadata.dev(), self.metadata.ino())
    }

    fn read(&self, offset: u64, size: u64) -> io::Result<Vec<u8>> {
        let size = usize::try_from(size).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

impl<'a> ReadRef<'a> for &'a Image {
    fn len(self) -> Result<u64, ()> {
        Ok(self.length())
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if let Some(known) = self.parts.get(&(offset, size)) {
            return Ok(known);
        }
        let end = offset.checked_add(size).ok_or(())?;
        if end > self.length() {
            return Err(());
        }
        let part = self.read(offset, size).map_err(|_| ())?;
        Ok(self.parts.insert((offset, size), part))
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let end = range.end.min(self.length()).min(range.start.saturating_add(LONGEST_STRING));
        let bytes = self.read_bytes_at(range.start, end.checked_sub(range.start).ok_or(())?)?;
        memchr::memchr(delimiter, bytes).and_then(|length| bytes.get(..length)).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_what_the_file_has_and_never_beyond_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"one\0two\0three").unwrap();
        let image = Image::open(&path).unwrap();
        assert_eq!((image.length(), (&image).len()), (13, Ok(13)));
        for _ in 0..2 {
            assert_eq!(image.read_bytes_at(4, 3), Ok(&b"two"[..]));
        }
        assert_eq!(image.read_bytes_at(13, 0), Ok(&b""[..]));
        assert_eq!(image.read_bytes_at(13, 1), Err(()));
        assert_eq!(image.read_bytes_at(u64::MAX, 2), Err(()));
        assert_eq!(image.read_bytes_at_until(4..13, 0), Ok(&b"two"[..]));
        assert_eq!(image.read_bytes_at_until(8..13, 0), Err(()), "it has no end");
        assert_eq!(image.read_bytes_at_until(99..100, 0), Err(()));
        assert!(Image::open(&folder.path().join("absent")).is_err());
    }
}
