//! The dynamic section of a shared library: what it needs, and what it offers.
//!
//! Sources: System V ABI, chapter "Dynamic Linking"; Linux Standard Base, "Symbol Versioning". `readelf -dV` prints the
//! same.

use std::path::Path;

use anyhow::{Context, Result};
use object::LittleEndian;
use object::elf::{
    DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, EM_AARCH64, EM_X86_64, FileHeader64, Machine, VER_FLG_BASE,
};
use object::read::elf::{Dyn, FileHeader, SectionHeader, SectionTable};
use object::read::{ReadRef, SectionIndex, StringTable};

use super::image::Image;
use crate::shown::Shown;

/// A symbol version that a library requires of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedVersion {
    /// The other library's `DT_NEEDED` name: `libfabric.so.1`.
    pub library: String,
    /// The version: `FABRIC_1.7`.
    pub version: String,
}

/// The dynamic section of one library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SharedLibrary {
    /// The processor that it is built for.
    pub machine: Machine,
    /// Its `DT_SONAME`, which its file name may differ from.
    pub soname: Option<String>,
    /// Its `DT_NEEDED` libraries, in order.
    pub needed: Vec<String>,
    /// Its `DT_RPATH` folders, searched before `LD_LIBRARY_PATH`; `$ORIGIN` is not expanded.
    pub rpath: Vec<String>,
    /// Its `DT_RUNPATH` folders, searched after `LD_LIBRARY_PATH`; `$ORIGIN` is not expanded.
    pub runpath: Vec<String>,
    /// Symbol versions that it requires.
    pub wanted: Vec<WantedVersion>,
    /// Symbol versions that it defines.
    pub offered: Vec<String>,
}

impl SharedLibrary {
    /// Reads a library. 64-bit little-endian ones only: NIXL exists for no other machine.
    ///
    /// # Errors
    /// When the file cannot be read, is no such library or is damaged.
    pub(crate) fn read(path: &Path) -> Result<SharedLibrary> {
        let image = Image::open(path).with_context(|| format!("{}: cannot be opened", path.shown()))?;
        parse(&image).with_context(|| format!("{}: is not a complete 64-bit ELF library", path.shown()))
    }

    /// The symbol versions that it requires of the library with that `DT_NEEDED` name.
    pub(crate) fn wanted_of<'a>(&'a self, library: &'a str) -> impl Iterator<Item = &'a str> {
        self.wanted.iter().filter(move |wanted| wanted.library == library).map(|wanted| wanted.version.as_str())
    }
}

/// The name of the processor that a library is for, where it is another one than this program's; None where it is the same or
/// cannot be read.
pub(crate) fn foreign_machine(path: &Path) -> Option<String> {
    let machine = SharedLibrary::read(path).ok()?.machine;
    let name = |machine: Machine| match machine {
        EM_X86_64 => "x86_64".to_string(),
        EM_AARCH64 => "aarch64".to_string(),
        Machine(number) => format!("another processor (ELF machine {number})"),
    };
    let own = if cfg!(target_arch = "aarch64") { EM_AARCH64 } else { EM_X86_64 };
    (machine != own).then(|| name(machine))
}

pub(super) type Header = FileHeader64<LittleEndian>;

pub(super) fn parse<'data, R: ReadRef<'data>>(data: R) -> object::read::Result<SharedLibrary> {
    let header = Header::parse(data)?;
    let sections = header.sections(LittleEndian, data)?;
    let mut library = SharedLibrary { machine: header.e_machine(LittleEndian), ..SharedLibrary::default() };
    if let Some((entries, link)) = sections.dynamic(LittleEndian, data)? {
        let strings = strings(&sections, data, link)?;
        for entry in entries {
            library.add(entry, strings)?;
        }
    }
    if let Some((mut records, link)) = sections.gnu_verneed(LittleEndian, data)? {
        let strings = strings(&sections, data, link)?;
        while let Some((record, mut versions)) = records.next()? {
            let file = text(record.file(LittleEndian, strings)?);
            while let Some(version) = versions.next()? {
                let version = text(version.name(LittleEndian, strings)?);
                library.wanted.push(WantedVersion { library: file.clone(), version });
            }
        }
    }
    if let Some((mut records, link)) = sections.gnu_verdef(LittleEndian, data)? {
        let strings = strings(&sections, data, link)?;
        while let Some((record, mut names)) = records.next()? {
            // The base definition names the library itself, not a version.
            let is_own_name = record.vd_flags.get(LittleEndian).contains(VER_FLG_BASE);
            if let Some(name) = names.next()?.filter(|_| !is_own_name) {
                library.offered.push(text(name.name(LittleEndian, strings)?));
            }
        }
    }
    Ok(library)
}

impl SharedLibrary {
    fn add(&mut self, entry: &object::elf::Dyn64<LittleEndian>, strings: StringTable) -> object::read::Result<()> {
        let tag = entry.tag(LittleEndian);
        if ![DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH].contains(&tag) {
            return Ok(());
        }
        let value = text(entry.string(LittleEndian, strings)?);
        let folders = || value.split(':').filter(|folder| !folder.is_empty()).map(String::from).collect();
        match tag {
            DT_SONAME => self.soname = Some(value),
            DT_RPATH => self.rpath = folders(),
            DT_RUNPATH => self.runpath = folders(),
            _ => self.needed.push(value),
        }
        Ok(())
    }
}

/// A string table as one piece of memory: an [`Image`] would read each string by a system call of its own.
pub(super) fn strings<'data, R: ReadRef<'data>>(
    sections: &SectionTable<'data, Header, R>,
    data: R,
    link: SectionIndex,
) -> object::read::Result<StringTable<'data>> {
    let bytes = sections.section(link)?.data(LittleEndian, data)?;
    Ok(StringTable::new(bytes, 0, bytes.len() as u64))
}

/// Nearly all names are ASCII, for which this check takes a tenth of the time of a lossy conversion.
pub(super) fn text(bytes: &[u8]) -> String {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes).into_owned(), String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_read_as_readelf_prints_it() {
        let program = SharedLibrary::read(&std::env::current_exe().unwrap()).unwrap();
        assert!(program.needed.contains(&"libc.so.6".to_string()), "{program:?}");
        assert!(program.wanted_of("libc.so.6").any(|version| version.starts_with("GLIBC_2.")), "{program:?}");
        assert_eq!((program.soname, program.offered), (None, Vec::new()));
    }

    #[test]
    fn what_a_library_offers_leaves_its_own_name_out() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let path = maps.lines().find_map(|line| line.split_once('/').filter(|(_, path)| path.ends_with("/libc.so.6")));
        let library = SharedLibrary::read(Path::new(&format!("/{}", path.unwrap().1))).unwrap();
        assert_eq!(library.soname.as_deref(), Some("libc.so.6"));
        assert!(library.offered.iter().any(|version| version == "GLIBC_2.17"), "{library:?}");
        assert!(!library.offered.contains(&"libc.so.6".to_string()), "{library:?}");
    }

    #[test]
    fn what_is_no_library_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for (name, bytes) in [("empty", &b""[..]), ("text", b"INPUT(libfabric.so.1)"), ("cut", &whole[..1000])] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert!(SharedLibrary::read(&path).is_err(), "{name}");
        }
        assert!(SharedLibrary::read(&folder.path().join("absent")).is_err());
    }
}
