//! Where the dynamic loader would find a library, without loading it. Source: ld.so(8), "DESCRIPTION".

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use object::elf::{EM_AARCH64, EM_X86_64, Machine};

use super::image::{Image, Inode};
use super::shared_library::{self, SharedLibrary};

use crate::shown::Shown;

/// Written by ldconfig(8).
const CACHE: &str = "/etc/ld.so.cache";
/// The folders that the loader searches last. Debian and Ubuntu have one for each architecture.
const DEFAULT: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];
/// The processor whose libraries this program can load.
const MACHINE: Machine = if cfg!(target_arch = "aarch64") { EM_AARCH64 } else { EM_X86_64 };

/// The loader's search in a process with a given `LD_LIBRARY_PATH`.
pub(crate) struct Loader {
    library_path: Vec<PathBuf>,
    cache: HashMap<String, Vec<PathBuf>>,
    /// What was read of each file, None where it cannot be loaded: many libraries need the same ones, by many paths.
    read: RefCell<HashMap<Inode, Option<Rc<SharedLibrary>>>>,
}

impl Loader {
    /// A loader with the folders of `LD_LIBRARY_PATH` and this machine's cache.
    pub(crate) fn new(library_path: Vec<PathBuf>) -> Loader {
        let cache = fs::read(CACHE).map(|bytes| parse_cache(&bytes)).unwrap_or_default();
        Loader { library_path, cache, read: RefCell::default() }
    }

    /// The folders of `LD_LIBRARY_PATH`.
    pub(crate) fn library_path(&self) -> &[PathBuf] {
        &self.library_path
    }

    /// Finds `name` for the library at `wanted_by`; `inherited` are the RPATH folders of the libraries that loaded it.
    pub(crate) fn find(
        &self,
        name: &str,
        wanted_by: &Path,
        wanter: &SharedLibrary,
        inherited: &[PathBuf],
    ) -> Option<(PathBuf, Rc<SharedLibrary>)> {
        self.candidates(name, wanted_by, wanter, inherited).find_map(|path| self.loadable(path))
    }

    /// The same as [`loadable`], read once.
    fn loadable(&self, path: PathBuf) -> Option<(PathBuf, Rc<SharedLibrary>)> {
        // Most candidates are absent: an error's words, with a backtrace where RUST_BACKTRACE is set, would cost more than
        // the search.
        let image = Image::open(&path).ok()?;
        let mut read = self.read.borrow_mut();
        let known = read.entry(image.inode()).or_insert_with(|| parse(&image).map(Rc::new));
        known.clone().map(|library| (path, library))
    }

    /// The paths that are tried for it, in order, whether there is a file or not.
    pub(crate) fn candidates<'a>(
        &'a self,
        name: &'a str,
        wanted_by: &Path,
        wanter: &SharedLibrary,
        inherited: &'a [PathBuf],
    ) -> impl Iterator<Item = PathBuf> + use<'a> {
        let runpath = expand(&wanter.runpath, wanted_by);
        let rpath = if runpath.is_empty() { expand(&wanter.rpath, wanted_by) } else { Vec::new() };
        let inherited = if runpath.is_empty() { inherited } else { &[] };
        let before = rpath.into_iter().chain(inherited.iter().chain(&self.library_path).cloned());
        let listed = before.chain(runpath).map(move |folder| folder.join(name));
        let cached = self.cache.get(name).into_iter().flatten().cloned();
        let default = DEFAULT.iter().map(move |folder| Path::new(folder).join(name));
        listed.chain(cached).chain(default)
    }

    /// The library that a bare `dlopen(NAME)` from a program without RPATH gets.
    pub(crate) fn find_bare(&self, name: &str) -> Option<PathBuf> {
        self.find(name, Path::new("/"), &SharedLibrary::default(), &[]).map(|(path, _)| path)
    }

    /// Where it searches for a library that no RPATH leads to, for a message.
    pub(crate) fn places(&self) -> Vec<String> {
        let folders = self.library_path.iter().map(|folder| folder.shown().to_string());
        folders.chain(["the folders that ldconfig knows".to_string()]).collect()
    }
}

/// The folders of an RPATH or RUNPATH of the library at that path, with `$ORIGIN` expanded.
pub(crate) fn expand(folders: &[String], library: &Path) -> Vec<PathBuf> {
    let origin = library.parent().unwrap_or(Path::new("/")).display().to_string();
    folders.iter().map(|folder| folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin).into()).collect()
}

/// The library at that path, unless it is for another processor: the loader skips those too.
pub(crate) fn loadable(path: PathBuf) -> Option<(PathBuf, SharedLibrary)> {
    let library = parse(&Image::open(&path).ok()?)?;
    Some((path, library))
}

fn parse(image: &Image) -> Option<SharedLibrary> {
    shared_library::parse(image).ok().filter(is_for_this_machine)
}

/// Whether a library is for the processor of this program.
pub(super) fn is_for_this_machine(library: &SharedLibrary) -> bool {
    library.machine == MACHINE
}

/// Splits an `LD_LIBRARY_PATH`. An empty entry means the current folder (ld.so(8)).
pub(crate) fn split_path(value: &OsStr) -> Vec<PathBuf> {
    let folders = value.as_bytes().split(|&byte| byte == b':' || byte == b';').map(OsStr::from_bytes);
    if value.is_empty() {
        return Vec::new();
    }
    folders.map(|folder| if folder.is_empty() { ".".into() } else { folder.into() }).collect()
}

/// Folders that the loader does not search, in which libraries that NIXL needs are often installed, in the order of the
/// search: the EFA installer's, the CUDA toolkit's, and those of wheels on Python's import path.
pub(crate) fn usual_places(import_path: &[PathBuf]) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = vec!["/opt/amazon/efa/lib".into(), "/opt/amazon/efa/lib64".into()];
    places.extend(cuda_toolkits().into_iter().map(|toolkit| toolkit.join("lib64")));
    for site_packages in import_path {
        places.extend(children(&site_packages.join("nvidia")).into_iter().map(|package| package.join("lib")));
        // Wheels such as impi-rt install libraries into PREFIX/lib, above PREFIX/lib/python3.12/site-packages.
        places.extend(site_packages.ancestors().nth(2).filter(|lib| lib.ends_with("lib")).map(Path::to_path_buf));
    }
    places.retain(|place| place.is_dir());
    places
}

/// The CUDA toolkit's stub of NVIDIA's driver library. Its SONAME is the driver library's.
pub(crate) fn cuda_stub() -> Option<PathBuf> {
    let stubs = cuda_toolkits().into_iter().map(|toolkit| toolkit.join("lib64/stubs/libcuda.so"));
    let mut loadable = stubs.filter_map(loadable);
    loadable.find(|(_, library)| library.soname.as_deref() == Some("libcuda.so.1")).map(|(path, _)| path)
}

/// `/usr/local/cuda`, `/usr/local/cuda-13.0` …
fn cuda_toolkits() -> Vec<PathBuf> {
    let mut toolkits = children(Path::new("/usr/local"));
    toolkits.retain(|path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"cuda")));
    toolkits
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let mut children: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    children.sort();
    children
}

/// Parses glibc's cache in its new format (`cache_file_new` in dl-cache.h): a header of 48 bytes with the number of
/// entries at 20, then entries of 24 bytes (flags, name, path, …). String offsets count from the start of the header.
fn parse_cache(bytes: &[u8]) -> HashMap<String, Vec<PathBuf>> {
    let mut found: HashMap<String, Vec<PathBuf>> = HashMap::new();
    let Some(start) = memchr::memmem::find(bytes, b"glibc-ld.so.cache1.1") else { return found };
    let cache = &bytes[start..];
    let Some(count) = word(cache, 20) else { return found };
    for index in 0..count {
        let entry = 48 + index * 24;
        let strings = (
            word(cache, entry + 4).and_then(|at| string(cache, at)),
            word(cache, entry + 8).and_then(|at| string(cache, at)),
        );
        let (Some(name), Some(path)) = strings else { break };
        found.entry(String::from_utf8_lossy(name).into_owned()).or_default().push(OsStr::from_bytes(path).into());
    }
    found
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?) as usize)
}

fn string(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    Some(&rest[..memchr::memchr(0, rest)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exists on every machine that runs these tests: the test program needs it.
    fn libc() -> (PathBuf, Rc<SharedLibrary>) {
        let program = std::env::current_exe().unwrap();
        let library = SharedLibrary::read(&program).unwrap();
        Loader::new(Vec::new()).find("libc.so.6", &program, &library, &[]).expect("libc.so.6")
    }

    #[test]
    fn the_cache_leads_to_libraries() {
        assert_eq!(libc().1.soname.as_deref(), Some("libc.so.6"));
        let bytes = fs::read(CACHE).unwrap();
        assert!(parse_cache(&bytes)["libc.so.6"].iter().any(|path| path.exists()));
        for length in [0, 10, 30, 60, bytes.len() / 2] {
            parse_cache(&bytes[..length]);
        }
        assert!(parse_cache(b"glibc-ld.so.cache1.1\xff\xff\xff\xff").is_empty());
    }

    #[test]
    fn rpath_comes_before_library_path_and_runpath_after() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["rpath", "path", "own"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::copy(libc().0, folder.path().join(name).join("libx.so.1")).unwrap();
        }
        let loader = Loader::new(vec![folder.path().join("path")]);
        let wanted_by = folder.path().join("plugin.so");
        let found = |wanter: &SharedLibrary, inherited: &[PathBuf]| {
            let path = loader.find("libx.so.1", &wanted_by, wanter, inherited).unwrap().0;
            path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_string()
        };
        let mut wanter = SharedLibrary { rpath: vec!["$ORIGIN/rpath".into()], ..SharedLibrary::default() };
        assert_eq!(found(&wanter, &[]), "rpath");
        wanter.rpath.clear();
        assert_eq!(found(&wanter, &[folder.path().join("own")]), "own");
        wanter.runpath = vec!["${ORIGIN}/own".into()];
        assert_eq!(found(&wanter, &[folder.path().join("rpath")]), "path");
        assert_eq!(Loader::new(Vec::new()).find("libx.so.1", &wanted_by, &SharedLibrary::default(), &[]), None);
    }

    #[test]
    fn what_cannot_be_loaded_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("libc.so.6"), "not a library").unwrap();
        let loader = Loader::new(vec![folder.path().to_path_buf()]);
        let found = loader.find("libc.so.6", Path::new("/x"), &SharedLibrary::default(), &[]).unwrap().0;
        assert!(!found.starts_with(folder.path()), "{found:?}");
    }

    #[test]
    fn paths_are_split_as_the_loader_does() {
        assert_eq!(split_path(OsStr::new("")), Vec::<PathBuf>::new());
        assert_eq!(split_path(OsStr::new("/a::/b;/c")), ["/a", ".", "/b", "/c"].map(PathBuf::from));
    }

    #[test]
    fn the_folders_of_wheels_are_searched() {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("lib/python3.12/site-packages");
        fs::create_dir_all(site.join("nvidia/cu13/lib")).unwrap();
        let places = usual_places(std::slice::from_ref(&site));
        assert!(places.ends_with(&[site.join("nvidia/cu13/lib"), folder.path().join("lib")]), "{places:?}");
    }
}
