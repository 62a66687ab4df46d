//! The installed `dynamo.nixl_connect`: where its source is, and which distribution it belongs to.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::distribution::{self, Distribution};
use super::site_packages::{self, ImportFolder};

/// The module's import name.
pub const MODULE: &str = "dynamo.nixl_connect";
/// Its source, below a folder of the import path. `dynamo` is a namespace package: several distributions fill it.
pub const SOURCE: &str = "dynamo/nixl_connect/__init__.py";

/// A source file, and what is known of how it came here.
#[derive(Clone, Debug)]
pub struct Module {
    /// The file.
    pub path: PathBuf,
    /// The distributions whose RECORD lists it; normally one.
    pub owners: Vec<Distribution>,
    /// Name and version of the distribution, also where an editable install's RECORD does not list the file.
    pub distribution: Option<(String, String)>,
    /// How it was found, for `-v`.
    pub found_by: String,
}

impl Module {
    /// A file that was named itself.
    pub fn of_file(path: &Path, found_by: &str) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let owners = match distribution::site_packages_of(&absolute) {
            Some(site) => owners_of(site, &absolute),
            None => Vec::new(),
        };
        let distribution = owners.first().map(|owner| (owner.name.clone(), owner.version.clone()));
        Module { path: path.to_path_buf(), owners, distribution, found_by: found_by.to_string() }
    }
}

fn owners_of(site_packages: &Path, file: &Path) -> Vec<Distribution> {
    match file.strip_prefix(site_packages) {
        Ok(entry) => distribution::owners(site_packages, &entry.to_string_lossy()),
        Err(_) => Vec::new(),
    }
}

/// The module as an import would find it: the first folder of the path that has it. RECORD tells the distribution.
pub fn find(import_path: &[ImportFolder]) -> Option<Module> {
    import_path.iter().find_map(in_folder)
}

/// Further copies on the path, which an import does not reach.
pub fn shadowed(import_path: &[ImportFolder], used: &Module) -> Vec<PathBuf> {
    let copies = import_path.iter().filter_map(in_folder).map(|module| module.path);
    copies.filter(|path| *path != used.path).collect()
}

fn in_folder(folder: &ImportFolder) -> Option<Module> {
    let path = folder.path.join(SOURCE);
    let owners = distribution::owners(&folder.path, SOURCE);
    if let Some(owner) = owners.first().filter(|_| path.exists()) {
        let distribution = Some((owner.name.clone(), owner.version.clone()));
        let found_by = format!("listed in {}", owner.record.path.display());
        return Some(Module { path, owners, distribution, found_by });
    }
    if path.exists() {
        return Some(by_path(path, folder));
    }
    let (package, finder) = site_packages::editable_mapping(&folder.path, MODULE)?;
    let path = package.join("__init__.py");
    let found_by = format!("an editable install: {}", finder.display());
    let distribution = installer(&folder.path, &finder);
    path.exists().then_some(Module { path, owners: Vec::new(), distribution, found_by })
}

fn by_path(path: PathBuf, folder: &ImportFolder) -> Module {
    let Some(pth) = &folder.added_by else {
        return Module {
            path,
            owners: Vec::new(),
            distribution: None,
            found_by: format!("found in {}", folder.path.display()),
        };
    };
    let distribution = pth.parent().and_then(|site| installer(site, pth));
    let found_by = format!("an editable install: {}", pth.display());
    Module { path, owners: Vec::new(), distribution, found_by }
}

/// The distribution that installed a file of a site-packages folder itself.
fn installer(site_packages: &Path, file: &Path) -> Option<(String, String)> {
    let entry = file.file_name()?.to_string_lossy();
    let owner = distribution::owners(site_packages, &entry).into_iter().next()?;
    Some((owner.name, owner.version))
}
