//! The libraries that a backend's plugin needs and that NIXL's wheels do not bring: where they are, and what is given to
//! the workers so that they are found.
//!
//! The order of the search: what the plugin's RPATH leads to, `--library-path`, LD_LIBRARY_PATH, the loader's own places
//! (ldconfig); then, for libfabric, libcudart and libhwloc alone, the usual places of
//! [`loader::usual_places`](crate::environment::loader::usual_places), whose folders come last in the workers'
//! LD_LIBRARY_PATH. NVIDIA's driver library is taken from the loader's places, else it is the CUDA toolkit's stub, else
//! the stand-in that this program carries.
#![forbid(unsafe_code)]

use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::stand_in::StandIn;
use crate::environment::loader::{self, Loader};
use crate::environment::shared_library::SharedLibrary;

/// NVIDIA's driver library.
const DRIVER: &str = "libcuda.so.1";

/// A library that is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// The library that needs it.
    pub wanted_by: PathBuf,
}

/// A library that is there and too old for the one that needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooOld {
    /// The library.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// The library that needs it.
    pub wanted_by: PathBuf,
    /// The symbol versions that it lacks.
    pub lacks: Vec<String>,
    /// The newest symbol version of that kind that it has.
    pub offers: Option<String>,
}

/// What was found, and what the workers are given.
#[derive(Debug, Default)]
pub struct Libraries {
    /// Folders that the user named.
    first: Vec<PathBuf>,
    /// Folders that come after everything else.
    last: Vec<PathBuf>,
    /// Loaded before everything else: the stub, or the stand-in.
    preload: Option<PathBuf>,
    /// Keeps the stand-in alive.
    _stand_in: Option<StandIn>,
    /// For the report: what stands in for what.
    pub stand_ins: Vec<String>,
    /// What is nowhere.
    pub missing: Vec<Missing>,
    /// What is too old.
    pub too_old: Vec<TooOld>,
    /// Every folder that was searched, in order, in words.
    pub searched: Vec<String>,
}

impl Libraries {
    /// Looks for everything that `plugin` needs. `library_path` are the folders that the user named, `variable` is the
    /// present LD_LIBRARY_PATH, `import_path` the folders that the environment's Python imports from.
    pub fn find(
        plugin: Option<&Path>,
        library_path: &[PathBuf],
        variable: Option<&OsStr>,
        import_path: &[PathBuf],
    ) -> Libraries {
        let mut libraries = Libraries { first: library_path.to_vec(), ..Libraries::default() };
        let own = variable.map(loader::split_path).unwrap_or_default();
        let loader = Loader::new(library_path.iter().cloned().chain(own).collect());
        let Some((plugin, contents)) = plugin.map(Path::to_path_buf).and_then(loader::loadable) else {
            return libraries;
        };
        let usual = loader::usual_places(import_path);
        libraries.searched = loader.places();
        libraries.searched.extend(usual.iter().map(|place| place.display().to_string()));
        Search { loader, usual, seen: HashSet::new(), libraries: &mut libraries }.run(plugin, contents);
        libraries
    }

    /// The same without anything in the driver's place: a library that does without the driver shall be seen as it is.
    pub fn without_stand_in(self) -> Libraries {
        Libraries { preload: None, _stand_in: None, stand_ins: Vec::new(), ..self }
    }

    /// What a user should know about libraries that the workers found and a workload will not.
    pub fn warnings(&self) -> Vec<String> {
        let warning = |folder: &PathBuf| {
            format!(
                "libraries were taken from {}, where the loader does not search by itself: a workload needs that folder in \
                 LD_LIBRARY_PATH, or known to ldconfig",
                folder.display()
            )
        };
        self.last.iter().map(warning).collect()
    }

    /// What changes in a process's variables, whose present values are given: name and new value.
    pub fn variables(&self, value: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, OsString)> {
        let mut changes = Vec::new();
        if !self.first.is_empty() || !self.last.is_empty() {
            let own = value("LD_LIBRARY_PATH").filter(|own| !own.is_empty());
            let folders = self.first.iter().map(|folder| folder.as_os_str().to_owned()).chain(own);
            changes.push(("LD_LIBRARY_PATH", join(folders.chain(self.last.iter().map(|folder| folder.into())))));
        }
        if let Some(library) = &self.preload {
            let own = value("LD_PRELOAD").filter(|own| !own.is_empty());
            changes.push(("LD_PRELOAD", join(own.into_iter().chain([library.into()]))));
        }
        changes
    }

    fn stand_in_for_driver(&mut self) -> bool {
        if let Some(stub) = loader::cuda_stub() {
            self.stand_ins.push(format!("{DRIVER} (the CUDA toolkit's stub {})", stub.display()));
            self.preload = Some(stub);
            return true;
        }
        let Ok(stand_in) = StandIn::new() else { return false };
        self.stand_ins.push(DRIVER.into());
        self.preload = Some(stand_in.path());
        self._stand_in = Some(stand_in);
        true
    }
}

fn join(parts: impl Iterator<Item = OsString>) -> OsString {
    parts.collect::<Vec<OsString>>().join(OsStr::new(":"))
}

/// Whether a library is also looked for in the usual places.
fn is_outside(name: &str) -> bool {
    ["libfabric.so.", "libcudart.so.", "libhwloc.so."].iter().any(|prefix| name.starts_with(prefix))
}

struct Search<'a> {
    loader: Loader,
    usual: Vec<PathBuf>,
    seen: HashSet<String>,
    libraries: &'a mut Libraries,
}

impl Search<'_> {
    /// Follows what is needed, breadth first as the loader does.
    fn run(mut self, plugin: PathBuf, contents: SharedLibrary) {
        let inherited = loader::expand(&contents.rpath, &plugin);
        let mut queue = VecDeque::from([(plugin, contents)]);
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
    ) -> Option<(PathBuf, SharedLibrary)> {
        let found = self.loader.find(name, wanted_by, wanter, inherited).or_else(|| self.find_outside(name));
        if found.is_none() && !(name == DRIVER && self.libraries.stand_in_for_driver()) {
            self.libraries.missing.push(Missing { name: name.into(), wanted_by: wanted_by.into() });
        }
        found
    }

    fn find_outside(&mut self, name: &str) -> Option<(PathBuf, SharedLibrary)> {
        if !is_outside(name) {
            return None;
        }
        let found = self.usual.iter().find_map(|place| loader::loadable(place.join(name)))?;
        let folder = found.0.parent()?.to_path_buf();
        if !self.libraries.last.contains(&folder) {
            self.libraries.last.push(folder);
        }
        Some(found)
    }

    fn compare(&mut self, name: &str, path: &Path, library: &SharedLibrary, wanted_by: &Path, wanter: &SharedLibrary) {
        let lacks: Vec<String> = wanter
            .wanted_of(name)
            .filter(|version| !library.offered.iter().any(|own| own == version))
            .map(String::from)
            .collect();
        // A library without any versions is accepted for all of them (ld.so prints a warning).
        if lacks.is_empty() || library.offered.is_empty() {
            return;
        }
        let offers = newest(&library.offered, &lacks[0]);
        self.libraries.too_old.push(TooOld {
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

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| text.to_string()).collect()
    }

    #[test]
    fn versions_are_numbers() {
        let offered = strings(&["FABRIC_1.0", "FABRIC_1.10", "FABRIC_1.9", "OTHER_7"]);
        assert_eq!(newest(&offered, "FABRIC_1.11").as_deref(), Some("FABRIC_1.10"));
        assert_eq!(newest(&offered, "GLIBC_2.3"), None);
    }

    #[test]
    fn variables_keep_what_the_user_has_set() {
        let libraries = Libraries {
            first: vec!["/named".into()],
            last: vec!["/usual".into()],
            preload: Some("/proc/1/fd/3".into()),
            ..Libraries::default()
        };
        let set = |name: &str| (name == "LD_LIBRARY_PATH").then(|| OsString::from("/own:/other"));
        let changes = libraries.variables(set);
        assert_eq!(changes[0], ("LD_LIBRARY_PATH", "/named:/own:/other:/usual".into()));
        assert_eq!(changes[1], ("LD_PRELOAD", "/proc/1/fd/3".into()));
        assert!(libraries.warnings()[0].contains("/usual"));
        assert_eq!(libraries.variables(|_| Some("".into()))[0].1, "/named:/usual");
        assert_eq!(libraries.variables(|_| Some("/x.so".into()))[1].1, "/x.so:/proc/1/fd/3");
        assert!(Libraries::default().variables(|_| Some("/own".into())).is_empty());
    }

    #[test]
    fn a_library_that_lacks_a_version_is_too_old() {
        let mut libraries = Libraries::default();
        let mut search = Search {
            loader: Loader::new(Vec::new()),
            usual: Vec::new(),
            seen: HashSet::new(),
            libraries: &mut libraries,
        };
        let wanted = |version: &str| crate::environment::shared_library::WantedVersion {
            library: "libfabric.so.1".into(),
            version: version.into(),
        };
        let wanter = SharedLibrary { wanted: vec![wanted("FABRIC_1.1"), wanted("FABRIC_1.10")], ..Default::default() };
        let old = SharedLibrary { offered: strings(&["FABRIC_1.1", "FABRIC_1.8"]), ..Default::default() };
        let without = SharedLibrary::default();
        search.compare("libfabric.so.1", Path::new("/a"), &without, Path::new("/plugin"), &wanter);
        search.compare("libfabric.so.1", Path::new("/b"), &old, Path::new("/plugin"), &wanter);
        let [found] = libraries.too_old.as_slice() else { panic!("{libraries:?}") };
        assert_eq!((found.path.as_path(), found.lacks.as_slice()), (Path::new("/b"), &strings(&["FABRIC_1.10"])[..]));
        assert_eq!(found.offers.as_deref(), Some("FABRIC_1.8"));
    }

    #[test]
    fn without_a_plugin_only_the_users_folders_count() {
        let libraries = Libraries::find(Some(Path::new("/nonexistent")), &["/named".into()], None, &[]);
        assert_eq!(libraries.variables(|_| None), [("LD_LIBRARY_PATH", OsString::from("/named"))]);
        assert!(libraries.missing.is_empty() && libraries.stand_ins.is_empty());
    }
}
