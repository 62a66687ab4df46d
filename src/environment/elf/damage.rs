//! Whether a shared library's file is complete, judged by its own headers.
//!
//! An interrupted download or a full disk leaves a truncated file, for which the loader says neither how long it is nor
//! how long it should be.

use std::path::Path;

use object::LittleEndian;
use object::elf::{ELFMAG, FileHeader64};
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader};

use super::image::Image;

type Header = FileHeader64<LittleEndian>;

/// How a library's file is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    /// It holds nothing.
    #[error("the file is empty")]
    Empty,
    /// It is another kind of file, such as a linker script.
    #[error("the file is not an ELF library")]
    NotElf,
    /// It ends before what its headers describe.
    #[error("the file is truncated: {length} of at least {needed} bytes")]
    Truncated {
        /// Its length in bytes.
        length: u64,
        /// The length in bytes that its headers ask for.
        needed: u64,
    },
}

/// Whether the name and the type of a file are those of a shared library.
pub(crate) fn is_library(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.is_file() && (name.ends_with(".so") || name.contains(".so."))
}

/// How a library's file is damaged; None when it is complete or cannot be opened.
///
/// Judges the length of 64-bit little-endian libraries only: NIXL exists for no other machine.
pub(crate) fn damage(path: &Path) -> Option<Damage> {
    let image = Image::open(path).ok()?;
    damage_in(&image, image.length())
}

/// The same of an open file of that length in bytes.
pub(super) fn damage_in<'data, R: ReadRef<'data>>(data: R, length: u64) -> Option<Damage> {
    if length == 0 {
        return Some(Damage::Empty);
    }
    if data.read_bytes_at(0, ELFMAG.len() as u64) != Ok(&ELFMAG) {
        return Some(Damage::NotElf);
    }
    let header_length = size_of::<Header>() as u64;
    let needed = if length < header_length { header_length } else { needed_length(Header::parse(data).ok()?, data) };
    (needed > length).then_some(Damage::Truncated { length, needed })
}

/// Where the last of the segments and of the two header tables ends. Linkers put the section headers last, which
/// strip(1) and patchelf(1) may change.
fn needed_length<'data, R: ReadRef<'data>>(header: &Header, data: R) -> u64 {
    const ENDIAN: LittleEndian = LittleEndian;
    let table_end = |offset: u64, entry: u16, count: u32| offset.checked_add(u64::from(entry) * u64::from(count));
    // The count may be in the first section header, which a truncated file lacks.
    let sections = header.shnum(ENDIAN, data).unwrap_or(1);
    let segments = header.phnum(ENDIAN, data).unwrap_or(0);
    let tables = [
        table_end(header.e_shoff(ENDIAN), header.e_shentsize(ENDIAN), sections),
        table_end(header.e_phoff(ENDIAN), header.e_phentsize(ENDIAN), segments),
    ];
    let segments = header.program_headers(ENDIAN, data).unwrap_or_default();
    let segment_ends = segments.iter().map(|segment| segment.p_offset(ENDIAN).checked_add(segment.p_filesz(ENDIAN)));
    tables.into_iter().chain(segment_ends).flatten().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage_of(bytes: &[u8]) -> Option<Damage> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib.so");
        std::fs::write(&path, bytes).unwrap();
        damage(&path)
    }

    #[test]
    fn truncated_libraries_are_recognized() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(damage_of(&whole), None);
        assert_eq!(damage_of(&whole[..0]), Some(Damage::Empty));
        assert_eq!(damage_of(&whole[..3]), Some(Damage::NotElf));
        assert_eq!(damage_of(&whole[..40]), Some(Damage::Truncated { length: 40, needed: 64 }));
        for length in [whole.len() / 2, whole.len() - 1] {
            let found = damage_of(&whole[..length]).unwrap().to_string();
            assert!(found.starts_with(&format!("the file is truncated: {length} of at least ")), "{found}");
        }
        let script = b"INPUT(libother.so) and a long line that makes up for the length of a header";
        assert_eq!(damage_of(script), Some(Damage::NotElf));
    }

    /// A 64-bit little-endian ELF header with these fields, by offset, and zeros up to `length`.
    fn elf(fields: &[(usize, u64)], length: usize) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(length, 0);
        for (offset, value) in fields {
            // `e_phoff`, `e_shoff` and a segment's fields have 8 bytes, sizes and counts have 2.
            let width = if (0x34..0x40).contains(offset) { 2 } else { 8 };
            bytes[*offset..*offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        bytes
    }

    #[test]
    fn the_section_headers_have_to_be_there() {
        let sections = [(0x28, 1000), (0x3a, 64), (0x3c, 3)];
        assert_eq!(damage_of(&elf(&sections, 64)), Some(Damage::Truncated { length: 64, needed: 1192 }));
        assert_eq!(damage_of(&elf(&sections, 1192)), None);
        // More sections than `e_shnum` can hold: the first header, at 1000, says how many.
        let many = [(0x28, 1000), (0x3a, 64), (0x3c, 0)];
        assert_eq!(damage_of(&elf(&many, 64)), Some(Damage::Truncated { length: 64, needed: 1064 }));
        let counted = [(0x28, 1000), (0x3a, 64), (0x3c, 0), (1000 + 0x20, 70_000)];
        assert_eq!(damage_of(&elf(&counted, 1064)), Some(Damage::Truncated { length: 1064, needed: 4_481_000 }));
    }

    #[test]
    fn the_segments_have_to_be_there() {
        let table = [(0x20, 64), (0x36, 56), (0x38, 2)];
        assert_eq!(damage_of(&elf(&table, 100)), Some(Damage::Truncated { length: 100, needed: 176 }));
        assert_eq!(damage_of(&elf(&table, 176)), None);
        let segment = |offset, size| [&table[..], &[(64 + 0x08, offset), (64 + 0x20, size)]].concat();
        assert_eq!(damage_of(&elf(&segment(100, 900), 176)), Some(Damage::Truncated { length: 176, needed: 1000 }));
        assert_eq!(damage_of(&elf(&segment(100, 900), 1000)), None);
        assert_eq!(damage_of(&elf(&segment(u64::MAX, 900), 176)), None, "nothing is said of a sum beyond 64 bits");
    }
}
