//! How `from nixl._api import nixl_agent` ends in an environment's Python, read from files: nothing of it is imported.
//!
//! Source: `nixl/__init__.py` of the releases up to 1.5.1. Before 0.7.1 it has the bindings itself. After, it chooses among
//! wheels: to 1.0.1 the first of `nixl_cu13`, `nixl_cu12`; later the one for the CUDA version of torch and no other, and the
//! first of them only where torch has none.

use std::fs;
use std::path::{Path, PathBuf};

use super::elf::loader::{self, Loader};
use super::elf::needs::Needs;
use super::elf::shared_library::SharedLibrary;
use super::nixl;
use super::python::site_packages;

use crate::shown::Shown;

/// The compiled part of a wheel.
const BINDINGS: &str = "_bindings";
/// Packages outside of the standard library that `_api.py` imports.
const IMPORTED: [&str; 2] = ["numpy", "torch"];
/// The part of an extension module's name that is its processor's.
const PLATFORM: &str = if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu.so" } else { "x86_64-linux-gnu.so" };
/// NVIDIA's driver library, which a build lacks and the machine that runs the image has.
const DRIVER: &str = "libcuda.so.1";

/// Where a Python would import NIXL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Importer<'a> {
    /// The folders of its import path, without the standard library.
    pub folders: &'a [PathBuf],
    /// Whether these are all.
    pub is_complete: bool,
    /// Its version, `3.12.1` or `3.12`, where it is known.
    pub version: Option<&'a str>,
    /// `LD_LIBRARY_PATH`.
    pub library_path: &'a [PathBuf],
}

/// An import that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportFailure {
    /// Python's words.
    pub words: String,
    /// Why.
    pub cause: ImportCause,
}

/// Why the import fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImportCause {
    /// No package `nixl`.
    NoPackage,
    /// Not the wheel that the package wants.
    NoWheel {
        /// Its name: `nixl-cu13`.
        wanted: String,
        /// Those that are there.
        present: Vec<String>,
    },
    /// The compiled part is for another Python or processor.
    OtherPython {
        /// The wheel's name.
        wheel: String,
        /// The files that are there.
        files: Vec<String>,
    },
    /// A package that NIXL imports is not there.
    NoDependency(&'static str),
    /// A library that the compiled part needs is not found.
    NoLibrary {
        /// Its name.
        name: String,
        /// The library that needs it.
        wanted_by: PathBuf,
    },
}

impl Importer<'_> {
    /// Why the import fails; None where it works, as far as files tell.
    pub(crate) fn failure(&self) -> Option<ImportFailure> {
        if self.folders.iter().any(|folder| is_editable(folder)) {
            return None;
        }
        let Some(package) = self.module("nixl") else {
            let is_namespace = self.folders.iter().any(|folder| folder.join("nixl").is_dir());
            let module = if is_namespace { "nixl._api" } else { "nixl" };
            return Some(no_module(module, ImportCause::NoPackage));
        };
        if has_bindings(&package) {
            return self.fails_to_load("nixl", &package);
        }
        let choice = fs::read_to_string(package.join("__init__.py")).unwrap_or_default();
        match self.choose(&choice)? {
            Ok((name, wheel)) => self.fails_to_load(&name, &wheel),
            Err(failure) => Some(failure),
        }
    }

    /// The folder of an import package.
    fn module(&self, name: &str) -> Option<PathBuf> {
        let folders = self.folders.iter().map(|folder| folder.join(name));
        folders.into_iter().find(|package| package.join("__init__.py").is_file())
    }

    /// The wheel that the package `nixl` takes, or why it takes none; None where this package chooses in an unknown way.
    fn choose(&self, source: &str) -> Option<Result<(String, PathBuf), ImportFailure>> {
        let candidates: Vec<&str> = nixl::WHEELS.into_iter().filter(|wheel| source.contains(wheel)).collect();
        if candidates.is_empty() {
            return None;
        }
        let torch = self.folders.iter().find_map(|folder| nixl::torch_cuda_major(folder));
        if let Some(major) = torch.filter(|_| nixl::looks_at_torch(source)) {
            let name = format!("nixl_cu{major}");
            let detected = if source.contains("torch reports CUDA") { "torch reports" } else { "detected" };
            let words = format!("ImportError: {detected} CUDA {major} but nixl-cu{major} is not installed");
            return Some(
                self.module(&name).map(|wheel| (name.clone(), wheel)).ok_or_else(|| self.no_wheel(&name, words)),
            );
        }
        let found = candidates.iter().find_map(|name| Some(((*name).to_string(), self.module(name)?)));
        let words = if source.contains("No NIXL backend found") {
            format!("ImportError: No NIXL backend found (tried {})", candidates.join(", "))
        } else if source.contains("No NIXL CUDA backend found") {
            "ImportError: No NIXL CUDA backend found".into()
        } else {
            "ImportError: Could not find CUDA-specific NIXL package".into()
        };
        Some(found.ok_or_else(|| self.no_wheel(candidates[0], words)))
    }

    fn no_wheel(&self, wanted: &str, words: String) -> ImportFailure {
        let present = nixl::WHEELS.into_iter().filter(|name| self.module(name).is_some()).map(distribution).collect();
        ImportFailure { words, cause: ImportCause::NoWheel { wanted: distribution(wanted), present } }
    }

    /// Why the wheel's own modules cannot be imported.
    fn fails_to_load(&self, name: &str, wheel: &Path) -> Option<ImportFailure> {
        if let Some(package) = self.missing_dependency(wheel) {
            return Some(no_module(package, ImportCause::NoDependency(package)));
        }
        let files = bindings(wheel);
        let Some(file) = files.iter().find(|file| self.accepts(file)) else {
            let cause = ImportCause::OtherPython { wheel: distribution(name), files };
            return Some(without_bindings(name, wheel, cause));
        };
        self.missing_library(wheel.join(file))
    }

    /// Whether this Python loads an extension module of that name (`importlib.machinery.EXTENSION_SUFFIXES`).
    fn accepts(&self, file: &str) -> bool {
        let suffix = file.strip_prefix(BINDINGS).unwrap_or_default();
        if suffix == ".so" || suffix == ".abi3.so" {
            return true;
        }
        let Some(tag) = suffix.strip_prefix('.').and_then(|suffix| suffix.strip_suffix(PLATFORM)) else { return false };
        let Some(version) = self.version else { return true };
        let mut parts = version.split('.');
        let digits = format!("{}{}", parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let Some(own) = tag.strip_prefix("cpython-") else { return true };
        // `t`: the free-threaded build, which the version does not tell.
        own.trim_end_matches('-').trim_end_matches('t') == digits
    }

    fn missing_dependency(&self, wheel: &Path) -> Option<&'static str> {
        let source = fs::read_to_string(wheel.join("_api.py")).ok().filter(|_| self.is_complete)?;
        let imports = |package: &str| {
            source.lines().any(|line| {
                let line = line.strip_prefix("import ").or_else(|| line.strip_prefix("from ")).unwrap_or_default();
                line.split([' ', '.', ',']).next() == Some(package)
            })
        };
        let is_there = |package: &str| {
            self.folders
                .iter()
                .any(|folder| folder.join(package).is_dir() || folder.join(format!("{package}.py")).is_file())
        };
        IMPORTED.into_iter().find(|package| imports(package) && !is_there(package))
    }

    fn missing_library(&self, bindings: PathBuf) -> Option<ImportFailure> {
        let (path, contents): (PathBuf, SharedLibrary) = loader::loadable(bindings)?;
        let needs = Needs::of(path, contents, &Loader::new(self.library_path.to_vec()), &[]);
        let missing = needs.missing.into_iter().find(|missing| missing.name != DRIVER)?;
        Some(ImportFailure {
            words: format!("ImportError: {}: cannot open shared object file: No such file or directory", missing.name),
            cause: ImportCause::NoLibrary { name: missing.name, wanted_by: missing.wanted_by },
        })
    }
}

fn no_module(name: &str, cause: ImportCause) -> ImportFailure {
    ImportFailure { words: format!("ModuleNotFoundError: No module named '{name}'"), cause }
}

/// `_api.py` takes the compiled part `from . import _bindings`; in a package that has no wheels, `import nixl._bindings`.
fn without_bindings(name: &str, wheel: &Path, cause: ImportCause) -> ImportFailure {
    if name == "nixl" {
        return no_module(&format!("{name}.{BINDINGS}"), cause);
    }
    let init = wheel.join("__init__.py");
    let is_partial = fs::read_to_string(&init).is_ok_and(|source| source.contains("from ._api import"));
    let from = if is_partial {
        format!("partially initialized module '{name}' (most likely due to a circular import)")
    } else {
        format!("'{name}'")
    };
    let words = format!("ImportError: cannot import name '{BINDINGS}' from {from} ({})", init.shown());
    ImportFailure { words, cause }
}

fn distribution(module: &str) -> String {
    module.replace('_', "-")
}

/// Whether NIXL is installed here in a way that only its own loader knows (meson-python's and setuptools' editable installs).
fn is_editable(folder: &Path) -> bool {
    let ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains("nixl"));
    let finders = ["_finder.py", "_loader.py"].into_iter().flat_map(|end| site_packages::files_ending(folder, end));
    finders.into_iter().any(|path| ours(&path))
}

/// The names of the compiled part's files.
fn bindings(wheel: &Path) -> Vec<String> {
    let entries = fs::read_dir(wheel).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(&format!("{BINDINGS}.")) && name.ends_with(".so"))
        .collect();
    names.sort();
    names
}

fn has_bindings(package: &Path) -> bool {
    !bindings(package).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const META_1_5: &str = "from nixl_meta_utils import detect_cuda_major\nfor m in (\"nixl_cu13\", \"nixl_cu12\", \"nixl_rocm\"):\n\
        raise ImportError(\"No NIXL backend found (tried)\")\n";
    const META_1_0: &str = "candidates = [\"nixl_cu13\", \"nixl_cu12\"]\n";

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(meta: &str) -> Tree {
            let tree = Tree(tempfile::tempdir().unwrap());
            tree.write("nixl/__init__.py", meta);
            tree
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.0.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn wheel(&self, name: &str, tag: &str) {
            self.write(&format!("{name}/__init__.py"), "");
            self.write(&format!("{name}/_api.py"), "import numpy as np\n");
            self.write(&format!("{name}/_bindings.{tag}"), "");
        }

        fn failure(&self, version: Option<&str>, is_complete: bool) -> Option<ImportFailure> {
            let folders = [self.0.path().to_path_buf()];
            Importer { folders: &folders, is_complete, version, library_path: &[] }.failure()
        }

        fn words(&self, version: Option<&str>) -> Option<String> {
            self.failure(version, false).map(|failure| failure.words)
        }
    }

    #[test]
    fn the_wheel_for_torchs_cuda_is_wanted_where_nixl_looks_at_it() {
        let tree = Tree::new(META_1_5);
        assert_eq!(
            tree.words(None).as_deref(),
            Some("ImportError: No NIXL backend found (tried nixl_cu13, nixl_cu12, nixl_rocm)")
        );
        tree.wheel("nixl_cu12", "abi3.so");
        assert_eq!(tree.words(None), None);
        tree.write("torch/version.py", "cuda: Optional[str] = \"13.0\"\n");
        let failure = tree.failure(None, false).unwrap();
        assert_eq!(failure.words, "ImportError: detected CUDA 13 but nixl-cu13 is not installed");
        let cause = ImportCause::NoWheel { wanted: "nixl-cu13".into(), present: vec!["nixl-cu12".into()] };
        assert_eq!(failure.cause, cause);
        tree.write("nixl/__init__.py", META_1_0);
        assert_eq!(tree.words(None), None, "releases to 1.0.1 take what is there");
    }

    #[test]
    fn the_compiled_part_is_for_this_python_and_processor() {
        let tree = Tree::new(META_1_5);
        tree.wheel("nixl_cu12", &format!("cpython-312-{PLATFORM}"));
        for version in [None, Some("3.12.1"), Some("3.12")] {
            assert_eq!(tree.words(version), None, "{version:?}");
        }
        assert!(tree.words(Some("3.11.2")).unwrap().starts_with("ImportError: cannot import name '_bindings'"));
        let other = Tree::new(META_1_5);
        other.wheel("nixl_cu12", "cpython-312-s390x-linux-gnu.so");
        assert!(other.words(Some("3.12.1")).is_some());
    }

    #[test]
    fn a_missing_package_has_pythons_words() {
        let tree = Tree::new(META_1_5);
        tree.wheel("nixl_cu13", "abi3.so");
        assert_eq!(tree.failure(None, false), None);
        let complete = tree.failure(None, true).unwrap();
        assert_eq!(complete.words, "ModuleNotFoundError: No module named 'numpy'");
        fs::remove_file(tree.0.path().join("nixl/__init__.py")).unwrap();
        assert_eq!(tree.words(None).as_deref(), Some("ModuleNotFoundError: No module named 'nixl._api'"));
        fs::remove_dir(tree.0.path().join("nixl")).unwrap();
        assert_eq!(tree.words(None).as_deref(), Some("ModuleNotFoundError: No module named 'nixl'"));
    }
}
