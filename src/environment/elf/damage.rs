//! Whether a shared library's file is whole.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Whether the name and the kind of file are those of a shared library.
pub(crate) fn is_library(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.is_file() && (name.ends_with(".so") || name.contains(".so."))
}

/// What is wrong with a library's file; None when nothing is, or it cannot be looked at.
pub(crate) fn damage(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    if length == 0 {
        return Some("the file is empty".into());
    }
    let mut header = [0; 64];
    if file.read_exact(&mut header).is_err() || !header.starts_with(b"\x7fELF") {
        return Some("this is not an ELF library".into());
    }
    let needed = needed_length(&header)?.max(segments_end(&mut file, &header).unwrap_or(0));
    (needed > length).then(|| format!("the file is truncated: {length} bytes of at least {needed}"))
}

/// Where the section headers end, which linkers put last. Only 64-bit little-endian files, as NIXL's are.
fn needed_length(header: &[u8; 64]) -> Option<u64> {
    if header[4] != 2 || header[5] != 1 {
        return None;
    }
    let (offset, size, count) = (word(header, 0x28, 8)?, word(header, 0x3a, 2)?, word(header, 0x3c, 2)?);
    offset.checked_add(size * count)
}

/// Where the last segment ends.
fn segments_end(file: &mut File, header: &[u8; 64]) -> Option<u64> {
    let (offset, size, count) = (word(header, 0x20, 8)?, word(header, 0x36, 2)?, word(header, 0x38, 2)?);
    let mut table = vec![0; usize::try_from(size * count).ok()?];
    file.seek(SeekFrom::Start(offset)).ok()?;
    file.read_exact(&mut table).ok()?;
    let end = |segment: &[u8]| word(segment, 0x08, 8)?.checked_add(word(segment, 0x20, 8)?);
    table.chunks_exact(usize::try_from(size).ok()?.max(1)).filter_map(end).max()
}

fn word(bytes: &[u8], offset: usize, length: usize) -> Option<u64> {
    let mut word = [0; 8];
    word[..length].copy_from_slice(bytes.get(offset..offset + length)?);
    Some(u64::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_libraries_are_recognized() {
        let folder = tempfile::tempdir().unwrap();
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let path = folder.path().join("lib.so");
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(damage(&path), None);
        for (length, word) in
            [(0, "empty"), (3, "not an ELF"), (whole.len() / 2, "truncated"), (whole.len() - 1, "truncated")]
        {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(damage(&path).unwrap().contains(word), "{length}");
        }
        std::fs::write(&path, b"INPUT(libother.so) and a long line that makes up for the length of a header").unwrap();
        assert!(damage(&path).unwrap().contains("not an ELF"));
    }
}
