//! Python sources that contain a word: of an import path, a package, a distribution, a folder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use ignore::WalkBuilder;
use memchr::memmem::Finder;

use super::distribution;
use super::site_packages::ImportFolder;
use crate::source::regular;

/// What a name on the command line means in an environment.
pub(crate) enum Named {
    /// Folders and files of an import package or a module.
    Package(Vec<PathBuf>),
    /// The files that a distribution installed.
    Distribution(Vec<PathBuf>),
}

/// The import package, module or distribution of that name; None where there is none.
///
/// # Errors
/// When a folder cannot be listed or a RECORD cannot be read.
pub(crate) fn named(import_path: &[ImportFolder], name: &str) -> Result<Option<Named>> {
    if is_import_name(name) {
        let relative = name.replace('.', "/");
        let places = |folder: &ImportFolder| [folder.path.join(&relative), folder.path.join(format!("{relative}.py"))];
        let found: Vec<PathBuf> = import_path.iter().flat_map(places).filter(|path| path.exists()).collect();
        if !found.is_empty() {
            return Ok(Some(Named::Package(found)));
        }
    }
    let sites: Vec<&Path> = import_path.iter().map(|folder| folder.path.as_path()).collect();
    Ok(distribution::files_of(&sites, name)?.map(Named::Distribution))
}

fn is_import_name(name: &str) -> bool {
    let is_identifier = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    name.split('.').all(is_identifier)
}

impl Named {
    /// The folders and sources that it consists of.
    pub(crate) fn places(self) -> Vec<PathBuf> {
        match self {
            Named::Package(places) => places,
            Named::Distribution(files) => files.into_iter().filter(|file| is_source(file) && file.is_file()).collect(),
        }
    }
}

/// The sources of an import path that contain the word; sorted. What cannot be read is left out: nobody asked for it by name.
pub(crate) fn containing_anywhere(import_path: &[ImportFolder], word: &str) -> Vec<PathBuf> {
    let finder = Finder::new(word);
    let entries = import_path.iter().flat_map(|folder| WalkBuilder::new(&folder.path).standard_filters(false).build());
    let files = entries.flatten().filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()));
    let sources = files.map(ignore::DirEntry::into_path).filter(|path| is_source(path));
    let contains = |path: &PathBuf| regular::read(path).is_ok_and(|bytes| finder.find(&bytes).is_some());
    let mut found: Vec<PathBuf> = sources.filter(contains).collect();
    found.sort();
    found.dedup();
    found
}

fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "py")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_name_is_a_package_a_module_or_a_distribution() {
        let site = tempfile::tempdir().unwrap();
        let path = |name: &str| site.path().join(name);
        for folder in ["vllm/deep", "other", "some_dist-1.dist-info"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        for name in ["vllm/deep/a.py", "vllm/b.py", "vllm/c.txt", "single.py", "other/d.py"] {
            fs::write(path(name), "word").unwrap();
        }
        fs::write(path("vllm/without.py"), "").unwrap();
        fs::write(path("some_dist-1.dist-info/RECORD"), "other/d.py,,\nother/gone.py,,\n").unwrap();
        let import_path = [ImportFolder::new(site.path())];
        let found = |name: &str| named(&import_path, name).unwrap().map(Named::places);
        assert_eq!(found("vllm"), Some(vec![path("vllm")]));
        assert_eq!(found("vllm.deep"), Some(vec![path("vllm/deep")]));
        assert_eq!(found("single"), Some(vec![path("single.py")]));
        assert_eq!(found("Some.Dist"), Some(vec![path("other/d.py")]));
        assert_eq!(found("nothing"), None);
        assert_eq!(found("../vllm"), None);
        assert_eq!(containing_anywhere(&import_path, "word").len(), 4);
    }
}
