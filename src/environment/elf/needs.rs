//! The libraries that a shared library needs, resolved as the dynamic loader resolves them, without loading any.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::loader::{self, Loader};
use super::shared_library::SharedLibrary;

/// A library that was not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Its name.
    pub name: String,
    /// The library that needs it.
    pub wanted_by: PathBuf,
}

/// A library that was found and is too old for the one that needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TooOld {
    /// The library.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// The library that needs it.
    pub wanted_by: PathBuf,
    /// The required symbol versions that it lacks.
    pub lacks: Vec<String>,
    /// The newest symbol version of the same family that it has.
    pub offers: Option<String>,
}

/// What a library needs and does not get, and where to find some of the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Libraries that were not found.
    pub missing: Vec<Missing>,
    /// Libraries that are too old.
    pub too_old: Vec<TooOld>,
    /// Folders of libraries that the loader does not find by itself.
    pub outside: Vec<PathBuf>,
}

impl Needs {
    /// Whether everything was found, and new enough.
    pub(crate) fn is_met(&self) -> bool {
        self.missing.is_empty() && self.too_old.is_empty()
    }

    /// Resolves what `library` needs, breadth first as the loader does. Libfabric, libcudart and libhwloc are searched for
    /// in the folders `usual` last.
    pub(crate) fn of(library: PathBuf, contents: SharedLibrary, loader: &Loader, usual: &[PathBuf]) -> Needs {
        let mut search = Search { loader, usual, seen: HashSet::new(), needs: Needs::default() };
        search.run(library, contents);
        search.needs
    }
}

/// Whether a library is also searched for where the loader does not search.
fn is_outside(name: &str) -> bool {
    ["libfabric.so.", "libcudart.so.", "libhwloc.so."].iter().any(|prefix| name.starts_with(prefix))
}

struct Search<'a> {
    loader: &'a Loader,
    usual: &'a [PathBuf],
    seen: HashSet<String>,
    needs: Needs,
}

impl Search<'_> {
    fn run(&mut self, plugin: PathBuf, contents: SharedLibrary) {
        let inherited = loader::expand(&contents.rpath, &plugin);
        let mut queue = VecDeque::from([(plugin, Rc::new(contents))]);
        while let Some((wanted_by, wanter)) = queue.pop_front() {
            for name in &wanter.needed {
                if !self.seen.insert(name.clone()) {
                    continue;
                }
                let Some((path, library)) = self.find(name, &wanted_by, &wanter, &inherited) else { continue };
                self.compare(name, &path, &library, &wanted_by, &wanter);
                queue.push_back((path, library));
            }
        }
    }

    fn find(
        &mut self,
        name: &str,
        wanted_by: &Path,
        wanter: &SharedLibrary,
        inherited: &[PathBuf],
    ) -> Option<(PathBuf, Rc<SharedLibrary>)> {
        let found = self.loader.find(name, wanted_by, wanter, inherited).or_else(|| self.find_outside(name));
        if found.is_none() {
            self.needs.missing.push(Missing { name: name.into(), wanted_by: wanted_by.into() });
        }
        found
    }

    fn find_outside(&mut self, name: &str) -> Option<(PathBuf, Rc<SharedLibrary>)> {
        if !is_outside(name) {
            return None;
        }
        let (path, library) = self.usual.iter().find_map(|place| loader::loadable(place.join(name)))?;
        let folder = path.parent()?.to_path_buf();
        if !self.needs.outside.contains(&folder) {
            self.needs.outside.push(folder);
        }
        Some((path, Rc::new(library)))
    }

    fn compare(&mut self, name: &str, path: &Path, library: &SharedLibrary, wanted_by: &Path, wanter: &SharedLibrary) {
        let lacks: Vec<String> = wanter
            .wanted_of(name)
            .filter(|version| !library.offered.iter().any(|own| own == version))
            .map(String::from)
            .collect();
        // The loader accepts a library without any versions for all of them, with a warning.
        if lacks.is_empty() || library.offered.is_empty() {
            return;
        }
        let offers = newest(&library.offered, &lacks[0]);
        self.needs.too_old.push(TooOld {
            path: path.into(),
            name: name.into(),
            wanted_by: wanted_by.into(),
            lacks,
            offers,
        });
    }
}

/// The highest version of the same family: FABRIC_1.8 for FABRIC_1.10.
fn newest(offered: &[String], wanted: &str) -> Option<String> {
    let (family, _) = wanted.rsplit_once('_')?;
    let numbers = |version: &str| -> Option<Vec<u32>> {
        let (own, digits) = version.rsplit_once('_')?;
        (own == family).then(|| digits.split('.').map(|part| part.parse().unwrap_or(0)).collect())
    };
    offered.iter().filter_map(|version| Some((numbers(version)?, version))).max().map(|(_, version)| version.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::elf::shared_library::WantedVersion;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(std::string::ToString::to_string).collect()
    }

    #[test]
    fn versions_are_numbers() {
        let offered = strings(&["FABRIC_1.0", "FABRIC_1.10", "FABRIC_1.9", "OTHER_7"]);
        assert_eq!(newest(&offered, "FABRIC_1.11").as_deref(), Some("FABRIC_1.10"));
        assert_eq!(newest(&offered, "GLIBC_2.3"), None);
    }

    #[test]
    fn a_library_that_lacks_a_version_is_too_old() {
        let loader = Loader::new(Vec::new());
        let mut search = Search { loader: &loader, usual: &[], seen: HashSet::new(), needs: Needs::default() };
        let wanted = |version: &str| WantedVersion { library: "libfabric.so.1".into(), version: version.into() };
        let wanter = SharedLibrary { wanted: vec![wanted("FABRIC_1.1"), wanted("FABRIC_1.10")], ..Default::default() };
        let old = SharedLibrary { offered: strings(&["FABRIC_1.1", "FABRIC_1.8"]), ..Default::default() };
        let without = SharedLibrary::default();
        search.compare("libfabric.so.1", Path::new("/a"), &without, Path::new("/plugin"), &wanter);
        search.compare("libfabric.so.1", Path::new("/b"), &old, Path::new("/plugin"), &wanter);
        let [found] = search.needs.too_old.as_slice() else { panic!("{:?}", search.needs) };
        assert_eq!((found.path.as_path(), found.lacks.as_slice()), (Path::new("/b"), &strings(&["FABRIC_1.10"])[..]));
        assert_eq!(found.offers.as_deref(), Some("FABRIC_1.8"));
    }
}
