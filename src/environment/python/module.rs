//! The installed `dynamo.nixl_connect`: its source file, and the distribution that it belongs to.

use std::path::{Path, PathBuf};

use super::distribution::{self, Distribution};
use super::site_packages::{self, ImportFolder};

/// The module's import name.
pub(crate) const MODULE: &str = "dynamo.nixl_connect";
/// Its source, relative to a folder of the import path. `dynamo` is a namespace package of several distributions.
pub(crate) const SOURCE: &str = "dynamo/nixl_connect/__init__.py";

/// The packages with NIXL's Python binding; `nixl` itself is one of the others in releases since 0.7.1.
const NIXL_PACKAGES: [&str; 5] = ["nixl", "nixl_cu12", "nixl_cu13", "nixl_cu14", "nixl_rocm"];

/// A source file, and the distribution that installed it.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    /// The file.
    pub path: PathBuf,
    /// The distributions whose RECORD lists it; usually one.
    pub owners: Vec<Distribution>,
    /// The distribution's name and version, known also for an editable install, whose RECORD does not list the file.
    pub distribution: Option<(String, String)>,
    /// How it was found, for `-v`.
    pub found_by: String,
}

impl Module {
    /// A file given by its path.
    pub(crate) fn of_file(path: &Path, found_by: &str) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let owners = match distribution::site_packages_of(&absolute) {
            Some(site) => distribution::owners(&[site], &absolute, site),
            None => Vec::new(),
        };
        Module::new(path.to_path_buf(), owners, None, found_by.to_string())
    }

    fn new(path: PathBuf, owners: Vec<Distribution>, installer: Option<(String, String)>, found_by: String) -> Self {
        let owner = owners.first();
        let found_by = owner.map_or(found_by, |owner| format!("listed in `{}`", owner.record.path.display()));
        let distribution = owner.map(|owner| (owner.name.clone(), owner.version.clone())).or(installer);
        Module { path, owners, distribution, found_by }
    }
}

/// The module's source, and how it is on the import path.
struct Located<'a> {
    path: PathBuf,
    folder: &'a ImportFolder,
    /// The file of an editable install that points to it.
    editable: Option<PathBuf>,
}

/// The module that an import would load: that of the first folder which has one. Its distribution's RECORD may be in any
/// folder of the path.
pub(crate) fn find(import_path: &[ImportFolder]) -> Option<Module> {
    let located = import_path.iter().find_map(locate)?;
    let sites: Vec<&Path> = import_path.iter().map(|folder| folder.path.as_path()).collect();
    let owners = distribution::owners(&sites, &located.path, &located.folder.path);
    let Some(editable) = located.editable else {
        let found_by = format!("in `{}`", located.folder.path.display());
        return Some(Module::new(located.path, owners, None, found_by));
    };
    let found_by = format!("through the editable install `{}`", editable.display());
    Some(Module::new(located.path, owners, installer(&editable), found_by))
}

/// Whether an import would find the module.
pub(crate) fn is_there(import_path: &[ImportFolder]) -> bool {
    import_path.iter().any(|folder| locate(folder).is_some())
}

/// The other copies on the path, which an import does not load.
pub(crate) fn shadowed(import_path: &[ImportFolder], used: &Module) -> Vec<PathBuf> {
    let copies = import_path.iter().filter_map(locate).map(|located| located.path);
    copies.filter(|path| *path != used.path).collect()
}

/// A distribution whose RECORD lists the module, for use where no folder has it.
pub(crate) fn owner_of_missing(import_path: &[ImportFolder]) -> Option<Distribution> {
    let mut sites = import_path.iter().map(|folder| folder.path.as_path());
    sites.find_map(|site| distribution::owners(&[site], &site.join(SOURCE), site).into_iter().next())
}

/// The sources of NIXL's Python binding on an import path: of the packages `nixl`, `nixl_cu12`, …
pub(crate) fn nixl_sources(import_path: &[ImportFolder]) -> Vec<PathBuf> {
    let of_folder = |folder: &ImportFolder| NIXL_PACKAGES.map(|package| folder.path.join(package).join("_api.py"));
    import_path.iter().flat_map(of_folder).filter(|path| path.is_file()).collect()
}

fn locate(folder: &ImportFolder) -> Option<Located<'_>> {
    let path = folder.path.join(SOURCE);
    if path.exists() {
        return Some(Located { path, folder, editable: folder.added_by.clone() });
    }
    let (package, finder) = site_packages::editable_mapping(&folder.path, MODULE)?;
    let path = package.join("__init__.py");
    path.exists().then_some(Located { path, folder, editable: Some(finder) })
}

/// Name and version of the distribution that installed a file directly into site-packages.
fn installer(file: &Path) -> Option<(String, String)> {
    let site_packages = file.parent()?;
    let owner = distribution::owners(&[site_packages], file, site_packages).into_iter().next()?;
    Some((owner.name, owner.version))
}
