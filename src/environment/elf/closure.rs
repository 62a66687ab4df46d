//! Whether a shared library can be loaded, with all that it needs: what the dynamic loader would do, without doing it.
//!
//! Follows glibc's `dlopen(path, RTLD_NOW | RTLD_LOCAL)`: breadth first; a name that a loaded library has (DT_SONAME, or
//! the name that it was asked for by) is not searched again; a library for another processor is passed over, a damaged one
//! ends the search (elf/dl-load.c, elf/dl-deps.c). Function symbols are held to RTLD_NOW also for modules that UCX loads
//! lazily: the first call of one that is missing ends the process.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use object::elf::Machine;
use rustc_hash::{FxHashMap, FxHashSet};

use super::damage;
use super::image::{Image, Inode};
use super::loader::{self, Loader};
use super::shared_library::{self, SharedLibrary};
use super::symbols::{self, Symbols, Wanted};

use crate::shown::Shown;

/// Why a library cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Gap {
    /// The file is damaged, or none.
    Damaged {
        /// The library.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// It is for another processor.
    OtherMachine {
        /// The library.
        path: PathBuf,
        /// The processor, in words.
        machine: String,
    },
    /// A library that it needs was found nowhere.
    Missing {
        /// Its name.
        name: String,
        /// The library that needs it.
        wanted_by: PathBuf,
        /// Files of that name for another processor, which the loader passed over.
        passed_over: Vec<PathBuf>,
    },
    /// A library that it needs lacks a symbol version.
    Version {
        /// The library.
        path: PathBuf,
        /// The version: `FABRIC_1.10`.
        version: String,
        /// The library that needs it.
        wanted_by: PathBuf,
    },
    /// No library defines a symbol.
    Undefined {
        /// Its name, mangled.
        symbol: String,
        /// The library that wants it.
        wanted_by: PathBuf,
    },
}

impl Gap {
    /// In a few words.
    pub(crate) fn brief(&self) -> String {
        match self {
            Gap::Damaged { path, .. } => format!("{} is damaged", title(path)),
            Gap::OtherMachine { path, .. } => format!("{} is for another processor", title(path)),
            Gap::Missing { name, .. } => format!("`{name}` is missing"),
            Gap::Version { path, version, .. } => format!("{} has no `{version}`", title(path)),
            Gap::Undefined { symbol, .. } => format!("no library defines `{symbol}`"),
        }
    }

    /// In a sentence without its end.
    pub(crate) fn describe(&self) -> String {
        match self {
            Gap::Damaged { path, why } => format!("`{}`: {why}", path.shown()),
            Gap::OtherMachine { path, machine } => format!("`{}` is for another processor ({machine})", path.shown()),
            Gap::Missing { name, wanted_by, passed_over } => {
                let other = passed_over.first().map(|path| format!(" for this processor (`{}` is not)", path.shown()));
                format!("{} needs `{name}`, which is not found{}", title(wanted_by), other.unwrap_or_default())
            }
            Gap::Version { path, version, wanted_by } => {
                format!("{} needs `{version}`, which `{}` does not have", title(wanted_by), path.shown())
            }
            Gap::Undefined { symbol, wanted_by } => {
                format!("{} needs the symbol `{symbol}`, which no library defines", title(wanted_by))
            }
        }
    }
}

fn title(path: &Path) -> String {
    format!("`{}`", path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
}

/// A library and what comes with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closure {
    /// The paths of the libraries that are loaded, the first one first.
    pub libraries: Vec<PathBuf>,
    /// Why it cannot be loaded; empty when it can.
    pub gaps: Vec<Gap>,
}

/// Judges libraries for one process's environment. What was read of a file is kept: most of a wheel's plugins need the
/// same libraries.
pub(crate) struct Judge<'a> {
    loader: &'a Loader,
    files: RefCell<FxHashMap<PathBuf, Rc<File>>>,
    /// The same by inode: RPATHs lead to one file by many paths.
    inodes: RefCell<FxHashMap<Inode, Rc<File>>>,
    /// Folders without `..` and links.
    folders: RefCell<FxHashMap<PathBuf, PathBuf>>,
}

/// What is read of one file.
enum File {
    Absent,
    Damaged(String),
    OtherMachine(String),
    Library(Box<Contents>),
}

/// What a library says of itself.
struct Contents {
    dynamic: SharedLibrary,
    symbols: Symbols,
    inode: Inode,
    /// For each symbol that it wants, the file that defined it last: in the next library's closure it does again.
    bound_to: Vec<Cell<Option<Inode>>>,
}

/// A library in the order of loading.
struct Loaded {
    path: PathBuf,
    file: Rc<File>,
    /// The position of the library that needs it.
    loaded_by: Option<usize>,
    /// Other names that it was asked for by, which lead to the same file.
    names: Vec<String>,
}

impl Loaded {
    fn contents(&self) -> Option<&Contents> {
        match &*self.file {
            File::Library(contents) => Some(contents),
            _ => None,
        }
    }

    fn dynamic(&self) -> Option<&SharedLibrary> {
        self.contents().map(|contents| &contents.dynamic)
    }
}

impl<'a> Judge<'a> {
    /// A judge for processes with that loader.
    pub(crate) fn new(loader: &'a Loader) -> Self {
        Judge { loader, files: RefCell::default(), inodes: RefCell::default(), folders: RefCell::default() }
    }

    /// What would happen to a library.
    pub(crate) fn judge(&self, library: &Path) -> Closure {
        let mut search = Search { judge: self, loaded: Vec::new(), names: HashSet::new(), gaps: Vec::new() };
        search.run(library);
        let libraries = search.loaded.into_iter().map(|loaded| loaded.path).collect();
        Closure { libraries, gaps: search.gaps }
    }

    fn read(&self, path: &Path) -> Rc<File> {
        if let Some(known) = self.files.borrow().get(path) {
            return Rc::clone(known);
        }
        let file = self.open(path).unwrap_or_else(|_| Rc::new(File::Absent));
        self.files.borrow_mut().insert(path.to_path_buf(), Rc::clone(&file));
        file
    }

    /// The path without `..` and links in its folder, for a message; the file's own name stays.
    fn with_real_folder(&self, path: &Path) -> PathBuf {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return path.to_path_buf() };
        let mut folders = self.folders.borrow_mut();
        let real = folders
            .entry(folder.to_path_buf())
            .or_insert_with(|| folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()));
        real.join(name)
    }

    fn open(&self, path: &Path) -> io::Result<Rc<File>> {
        let image = Image::open(path)?;
        let mut known = self.inodes.borrow_mut();
        Ok(Rc::clone(known.entry(image.inode()).or_insert_with(|| Rc::new(read(&image)))))
    }
}

fn read(image: &Image) -> File {
    if let Some(damage) = damage::damage_in(image, image.length()) {
        return File::Damaged(damage.to_string());
    }
    let dynamic = match shared_library::parse(image) {
        Ok(dynamic) if loader::is_for_this_machine(&dynamic) => dynamic,
        Ok(dynamic) => return File::OtherMachine(machine(dynamic.machine)),
        // The headers of 32 bits, or of the other byte order.
        Err(error) => return File::OtherMachine(error.to_string()),
    };
    match symbols::parse(image) {
        Ok(symbols) => {
            let bound_to = vec![Cell::new(None); symbols.wanted.len()];
            File::Library(Box::new(Contents { dynamic, symbols, inode: image.inode(), bound_to }))
        }
        Err(error) => File::Damaged(error.to_string()),
    }
}

/// The processors that NIXL or CUDA exist for, and those next to them.
fn machine(machine: Machine) -> String {
    use object::elf::{EM_386, EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64};
    let names = [
        (EM_386, "i386"),
        (EM_AARCH64, "aarch64"),
        (EM_ARM, "arm"),
        (EM_PPC64, "ppc64"),
        (EM_RISCV, "riscv"),
        (EM_S390, "s390"),
        (EM_X86_64, "x86-64"),
    ];
    let known = names.into_iter().find(|(number, _)| *number == machine);
    known.map_or_else(|| format!("{machine:?}"), |(_, name)| name.into())
}

struct Search<'a> {
    judge: &'a Judge<'a>,
    loaded: Vec<Loaded>,
    /// The names that are loaded.
    names: HashSet<String>,
    gaps: Vec<Gap>,
}

impl Search<'_> {
    fn run(&mut self, library: &Path) {
        if !self.load(library.to_path_buf(), None) {
            self.gaps.push(Gap::Damaged { path: library.into(), why: "does not exist".into() });
            return;
        }
        let mut position = 0;
        while position < self.loaded.len() {
            self.load_needed(position);
            position += 1;
        }
        // The loader gives up before it looks at symbols.
        if self.gaps.is_empty() {
            self.compare_versions();
        }
        if self.gaps.is_empty() {
            self.bind();
        }
    }

    /// Takes a file, unless it is absent; a damaged one, and the first one for another processor, is a gap.
    fn load(&mut self, path: PathBuf, loaded_by: Option<usize>) -> bool {
        let file = self.judge.read(&path);
        match &*file {
            File::Absent => return false,
            File::Damaged(why) => self.gaps.push(Gap::Damaged { path: path.clone(), why: why.clone() }),
            File::OtherMachine(machine) => {
                self.gaps.push(Gap::OtherMachine { path: path.clone(), machine: machine.clone() });
            }
            File::Library(contents) => self.names.extend(contents.dynamic.soname.clone()),
        }
        self.loaded.push(Loaded { path, file, loaded_by, names: Vec::new() });
        true
    }

    fn load_needed(&mut self, position: usize) {
        let Some(contents) = self.loaded[position].dynamic() else { return };
        for name in contents.needed.clone() {
            if self.names.insert(name.clone()) {
                self.find(&name, position);
            }
        }
    }

    fn find(&mut self, name: &str, position: usize) {
        let wanted_by = self.loaded[position].path.clone();
        let Some(wanter) = self.loaded[position].dynamic() else { return };
        let inherited = self.inherited(position);
        let mut passed_over = Vec::new();
        let mut found = None;
        for path in self.judge.loader.candidates(name, &wanted_by, wanter, &inherited) {
            match &*self.judge.read(&path) {
                File::Absent => {}
                File::OtherMachine(_) => passed_over.push(path),
                File::Damaged(_) | File::Library(_) => {
                    found = Some(path);
                    break;
                }
            }
        }
        match found.map(|path| self.judge.with_real_folder(&path)) {
            Some(path) => match self.loaded_as(&path) {
                // Under another name it is loaded once.
                Some(known) => self.loaded[known].names.push(name.into()),
                None => {
                    self.load(path, Some(position));
                }
            },
            None => self.gaps.push(Gap::Missing { name: name.into(), wanted_by, passed_over }),
        }
    }

    /// The position of the file where it is loaded, under any name.
    fn loaded_as(&self, path: &Path) -> Option<usize> {
        let inode = |file: &File| match file {
            File::Library(contents) => Some(contents.inode),
            _ => None,
        };
        let wanted = inode(&self.judge.read(path))?;
        self.loaded.iter().position(|loaded| inode(&loaded.file) == Some(wanted))
    }

    /// The RPATH folders of the libraries through which this one was loaded. One with a RUNPATH has no RPATH.
    fn inherited(&self, position: usize) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        let mut next = self.loaded[position].loaded_by;
        while let Some(position) = next {
            let loaded = &self.loaded[position];
            if let Some(contents) = loaded.dynamic().filter(|contents| contents.runpath.is_empty()) {
                folders.extend(loader::expand(&contents.rpath, &loaded.path));
            }
            next = loaded.loaded_by;
        }
        folders
    }

    fn compare_versions(&mut self) {
        let mut gaps = Vec::new();
        for wanter in &self.loaded {
            let Some(contents) = wanter.dynamic() else { continue };
            for wanted in &contents.wanted {
                let named = self.loaded.iter().find(|loaded| loaded.has_name(&wanted.library));
                let Some((library, offered)) = named.and_then(|loaded| Some((loaded, &loaded.dynamic()?.offered)))
                else {
                    continue;
                };
                // The loader accepts a library without any versions for all of them, with a warning.
                if !offered.is_empty() && !offered.contains(&wanted.version) {
                    let (path, wanted_by) = (library.path.clone(), wanter.path.clone());
                    gaps.push(Gap::Version { path, version: wanted.version.clone(), wanted_by });
                }
            }
        }
        self.gaps = gaps;
    }

    fn bind(&mut self) {
        let mut gaps = Vec::new();
        let present: FxHashSet<Inode> =
            self.loaded.iter().filter_map(Loaded::contents).map(|contents| contents.inode).collect();
        let definer = |wanted: &Wanted| {
            let mut all = self.loaded.iter().filter_map(Loaded::contents);
            all.find(|contents| contents.symbols.defines(wanted)).map(|contents| contents.inode)
        };
        let is_bound = |wanted: &Wanted, bound_to: &Cell<Option<Inode>>| {
            if bound_to.get().is_none_or(|inode| !present.contains(&inode)) {
                bound_to.set(definer(wanted));
            }
            bound_to.get().is_some()
        };
        for wanter in &self.loaded {
            let Some(contents) = wanter.contents() else { continue };
            let all = contents.symbols.wanted.iter().zip(&contents.bound_to);
            for (wanted, _) in all.filter(|(wanted, bound_to)| !is_bound(wanted, bound_to)) {
                gaps.push(Gap::Undefined { symbol: wanted.name.clone(), wanted_by: wanter.path.clone() });
            }
        }
        self.gaps = gaps;
    }
}

impl Loaded {
    /// Whether a version's library name is this one's: its DT_SONAME, that of its file, or one that it was asked for by.
    fn has_name(&self, name: &str) -> bool {
        let soname = self.dynamic().and_then(|contents| contents.soname.as_deref());
        soname == Some(name)
            || self.names.iter().any(|own| own == name)
            || self.path.file_name().is_some_and(|own| own == name)
    }
}
