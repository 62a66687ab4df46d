//! The dynamic symbols of a shared library: what it defines for others, and what it wants from them.
//!
//! Sources: System V ABI, "Symbol Table"; Linux Standard Base, "Symbol Versioning". `nm -D` prints the same.

use std::hash::{Hash, Hasher};

use object::LittleEndian;
use object::elf::{SHT_DYNSYM, STB_GLOBAL, STB_LOCAL, STV_DEFAULT, STV_PROTECTED};
use object::read::elf::{FileHeader, Sym, Version, VersionTable};
use object::read::{ReadRef, StringTable, SymbolIndex};
use rustc_hash::{FxHashSet, FxHasher};

use super::shared_library::{Header, strings};

/// A symbol that a library wants and does not define.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    /// Its name, mangled as in the library.
    pub name: String,
    /// The version that it was linked against: `GLIBC_2.34`.
    pub version: Option<String>,
}

/// The dynamic symbols of one library. What it defines is kept as hashes: some libraries have 10,000 names.
#[derive(Clone, Debug, Default)]
pub(super) struct Symbols {
    /// The strong symbols that others have to define.
    pub wanted: Vec<Wanted>,
    /// Every defined name.
    names: FxHashSet<u64>,
    /// Every defined name with its version.
    versioned: FxHashSet<u64>,
    has_versions: bool,
}

impl Symbols {
    /// Whether the loader would bind that symbol to this library. One without versions satisfies every version
    /// (dl-lookup.c, `do_lookup_x`).
    pub(super) fn defines(&self, wanted: &Wanted) -> bool {
        match &wanted.version {
            Some(version) if self.has_versions => {
                self.versioned.contains(&hash((wanted.name.as_bytes(), version.as_bytes())))
            }
            _ => self.names.contains(&hash(wanted.name.as_bytes())),
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
    let mut symbols = Symbols { has_versions: defined.is_some(), ..Symbols::default() };
    let versions = match sections.gnu_versym(LittleEndian, data)? {
        Some((numbers, _)) => Some(VersionTable::parse(LittleEndian, numbers, defined, wanted, strings)?),
        None => None,
    };
    for (index, symbol) in table.enumerate() {
        symbols.add(index, symbol, strings, versions.as_ref())?;
    }
    Ok(symbols)
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
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                self.wanted.push(Wanted { name: text(name), version: version.map(text) });
            }
            return Ok(());
        }
        if [STV_DEFAULT, STV_PROTECTED].contains(&symbol.st_visibility()) {
            self.names.insert(hash(name));
            self.versioned.extend(version.map(|version| hash((name, version))));
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
        Wanted { name: name.into(), version: version.map(Into::into) }
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
        symbols.names.insert(hash(&b"f"[..]));
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
