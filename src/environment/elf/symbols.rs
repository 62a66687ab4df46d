//! The dynamic symbols of a shared library: what it defines for others, and what it wants from them.
//!
//! Sources: System V ABI, "Symbol Table"; Linux Standard Base, "Symbol Versioning". `nm -D` prints the same.

use std::hash::{Hash, Hasher};

use object::LittleEndian;
use object::elf::{
    SHT_DYNSYM, SHT_GNU_HASH, SHT_GNU_VERSYM, STB_GLOBAL, STB_LOCAL, STV_DEFAULT, STV_PROTECTED, VER_FLG_BASE, gnu_hash,
};
use object::read::elf::{FileHeader, SectionHeader, SectionTable, Sym, VerdefIterator, Version, VersionTable};
use object::read::{ReadRef, SectionIndex, StringTable, SymbolIndex};
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use super::exports::Exports;
use super::shared_library::{Header, strings, text};

/// A symbol that a library wants and does not define.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    /// Its name, mangled as in the library.
    pub name: String,
    /// The name's hash in libraries' tables.
    pub hash: u32,
    /// The version that it was linked against: `GLIBC_2.34`.
    pub version: Option<String>,
}

/// The dynamic symbols of one library.
#[derive(Clone, Debug, Default)]
pub(super) struct Symbols {
    /// The strong symbols that others have to define.
    pub wanted: Vec<Wanted>,
    defined: Defined,
    has_versions: bool,
}

/// What a library defines for others.
#[derive(Clone, Debug)]
enum Defined {
    /// To be looked up in its own hash table.
    Table(Box<Exports>),
    /// Of a library without one: the hashes of every name, and of every name with its version.
    Names { names: FxHashSet<u64>, versioned: FxHashSet<u64> },
}

impl Default for Defined {
    fn default() -> Self {
        Defined::Names { names: FxHashSet::default(), versioned: FxHashSet::default() }
    }
}

impl Symbols {
    /// Whether the loader would bind that symbol to this library. One without versions satisfies every version
    /// (dl-lookup.c, `do_lookup_x`).
    pub(super) fn defines(&self, wanted: &Wanted) -> bool {
        let name = wanted.name.as_bytes();
        let version = wanted.version.as_deref().filter(|_| self.has_versions).map(str::as_bytes);
        match (&self.defined, version) {
            (Defined::Table(exports), version) => exports.has(name, wanted.hash, version),
            (Defined::Names { versioned, .. }, Some(version)) => versioned.contains(&hash((name, version))),
            (Defined::Names { names, .. }, None) => names.contains(&hash(name)),
        }
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Reads the symbols of a library.
///
/// # Errors
/// When the file is damaged.
pub(super) fn parse<'data, R: ReadRef<'data>>(data: R) -> object::read::Result<Symbols> {
    let sections = Header::parse(data)?.sections(LittleEndian, data)?;
    let table = sections.symbols(LittleEndian, data, SHT_DYNSYM)?;
    let strings = strings(&sections, data, table.string_section())?;
    let defined = sections.gnu_verdef(LittleEndian, data)?.map(|(records, _)| records);
    let wanted = sections.gnu_verneed(LittleEndian, data)?.map(|(records, _)| records);
    let exports = exports(&sections, data, table.string_section(), defined.clone(), strings)?;
    let mut symbols = Symbols { has_versions: defined.is_some(), ..Symbols::default() };
    let versions = match sections.gnu_versym(LittleEndian, data)? {
        Some((numbers, _)) => Some(VersionTable::parse(LittleEndian, numbers, defined, wanted, strings)?),
        None => None,
    };
    for (index, symbol) in table.enumerate() {
        if exports.is_none() || symbol.is_undefined(LittleEndian) {
            symbols.add(index, symbol, strings, versions.as_ref())?;
        }
    }
    if let Some(exports) = exports {
        symbols.defined = Defined::Table(Box::new(exports));
    }
    Ok(symbols)
}

/// The sections that a library's hash table leads through; None where it has no such table.
fn exports<'data, R: ReadRef<'data>>(
    sections: &SectionTable<'data, Header, R>,
    data: R,
    string_section: SectionIndex,
    defined: Option<VerdefIterator<'data, Header>>,
    strings: StringTable<'data>,
) -> object::read::Result<Option<Exports>> {
    let bytes = |kind| -> object::read::Result<Option<Vec<u8>>> {
        let mut all = sections.iter();
        let found = all.find(|section| section.sh_type(LittleEndian) == kind);
        found.map(|section| Ok(section.data(LittleEndian, data)?.to_vec())).transpose()
    };
    let (Some(hash), Some(symbols)) = (bytes(SHT_GNU_HASH)?, bytes(SHT_DYNSYM)?) else { return Ok(None) };
    let mut versions = FxHashMap::default();
    let mut records = defined;
    while let Some((record, mut names)) = records.as_mut().map(VerdefIterator::next).transpose()?.flatten() {
        // The base definition names the library itself, not a version.
        let is_version = !record.vd_flags.get(LittleEndian).contains(VER_FLG_BASE);
        if let Some(name) = names.next()?.filter(|_| is_version) {
            versions.insert(record.vd_ndx.get(LittleEndian).0, name.name(LittleEndian, strings)?.to_vec());
        }
    }
    let strings = sections.section(string_section)?.data(LittleEndian, data)?.to_vec();
    let numbers = bytes(SHT_GNU_VERSYM)?.unwrap_or_default();
    Ok(Some(Exports { hash, symbols, strings, numbers, versions }))
}

impl Symbols {
    fn add<'data>(
        &mut self,
        index: SymbolIndex,
        symbol: &object::elf::Sym64<LittleEndian>,
        strings: StringTable<'data>,
        versions: Option<&VersionTable<'data, Header>>,
    ) -> object::read::Result<()> {
        let name = symbol.name(LittleEndian, strings)?;
        if name.is_empty() || symbol.st_bind() == STB_LOCAL {
            return Ok(());
        }
        let version = match versions {
            Some(versions) => versions.version(versions.version_index(LittleEndian, index).index())?,
            None => None,
        };
        let version = version.map(Version::name);
        if symbol.is_undefined(LittleEndian) {
            if symbol.st_bind() == STB_GLOBAL {
                self.wanted.push(Wanted { name: text(name), hash: gnu_hash(name), version: version.map(text) });
            }
            return Ok(());
        }
        let Defined::Names { names, versioned } = &mut self.defined else { return Ok(()) };
        if [STV_DEFAULT, STV_PROTECTED].contains(&symbol.st_visibility()) {
            names.insert(hash(name));
            versioned.extend(version.map(|version| hash((name, version))));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(path: &Path) -> object::read::Result<Symbols> {
        parse(std::fs::read(path).unwrap().as_slice())
    }

    fn libc() -> Symbols {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let path = maps.lines().find_map(|line| line.split_once('/').filter(|(_, path)| path.ends_with("/libc.so.6")));
        read(Path::new(&format!("/{}", path.unwrap().1))).unwrap()
    }

    fn wanted(name: &str, version: Option<&str>) -> Wanted {
        Wanted { name: name.into(), hash: gnu_hash(name.as_bytes()), version: version.map(Into::into) }
    }

    #[test]
    fn what_a_program_wants_is_defined_by_its_libraries() {
        let program = read(&std::env::current_exe().unwrap()).unwrap();
        let libc = libc();
        let malloc = program.wanted.iter().find(|wanted| wanted.name == "malloc").expect("malloc");
        assert!(libc.defines(malloc), "{malloc:?}");
        assert!(libc.defines(&wanted("malloc", None)));
        assert!(!libc.defines(&wanted("malloc", Some("GLIBC_9.9"))));
        assert!(!libc.defines(&wanted("nixl_retrofit_absent", None)));
    }

    #[test]
    fn a_library_without_versions_satisfies_every_version() {
        let mut symbols = Symbols::default();
        let Defined::Names { names, .. } = &mut symbols.defined else { panic!() };
        names.insert(hash(&b"f"[..]));
        assert!(symbols.defines(&wanted("f", Some("V_1"))));
        symbols.has_versions = true;
        assert!(!symbols.defines(&wanted("f", Some("V_1"))));
    }

    #[test]
    fn what_is_no_library_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(read(file.path()).is_err());
    }
}
