//! The installed `dynamo.nixl_connect`: its source file, and the distribution that it belongs to.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::distribution::{self, Distribution};
use super::site_packages::{self, ImportFolder};

/// The module's import name.
pub(crate) const MODULE: &str = "dynamo.nixl_connect";
/// Its source, relative to a folder of the import path. `dynamo` is a namespace package of several distributions.
pub(crate) const SOURCE: &str = "dynamo/nixl_connect/__init__.py";

/// The packages with NIXL's Python binding; `nixl` itself is one of the others in releases since 0.7.1.
const NIXL_PACKAGES: [&str; 5] = ["nixl", "nixl_cu12", "nixl_cu13", "nixl_cu14", "nixl_rocm"];

/// A source file, and where the distributions that installed it are to be found.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    /// The file.
    pub path: PathBuf,
    /// The folder of the import path that it lies in, and all folders that may have its RECORD; None of a file that was
    /// named by its path.
    home: Option<(PathBuf, Vec<PathBuf>)>,
    /// The distribution that an editable install of the file belongs to, whose RECORD does not list it.
    installer: Option<(String, String)>,
    /// How it was found, for `-v`.
    found_by: String,
}

impl Module {
    /// A file given by its path.
    pub(crate) fn of_file(path: &Path, found_by: &str) -> Self {
        Module { path: path.to_path_buf(), home: None, installer: None, found_by: found_by.to_string() }
    }

    /// The distributions whose RECORD lists the file; usually one. Where a symbolic link leads to the file, those of the
    /// tree that it really lies in are among them.
    ///
    /// # Errors
    /// When a RECORD or a folder that may have one cannot be read.
    pub(crate) fn owners(&self) -> Result<Vec<Distribution>> {
        let absolute = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        let mut owners = match &self.home {
            Some((home, sites)) => {
                let sites: Vec<&Path> = sites.iter().map(PathBuf::as_path).collect();
                distribution::owners(&sites, &self.path, home)?
            }
            None => owners_above(&absolute)?,
        };
        let real =
            std::fs::canonicalize(&absolute).with_context(|| format!("{}: cannot be found", absolute.display()))?;
        if real != absolute {
            owners.extend(owners_above(&real)?);
        }
        let mut known: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        owners.retain(|owner| {
            let record = std::fs::canonicalize(&owner.record.path).unwrap_or_else(|_| owner.record.path.clone());
            let key = (record, owner.entry.clone());
            let new = !known.contains(&key);
            known.push(key);
            new
        });
        Ok(owners)
    }

    /// How it was found, for `-v`.
    pub(crate) fn found_by(&self, owners: &[Distribution]) -> String {
        owners.first().map_or(self.found_by.clone(), |owner| format!("listed in `{}`", owner.record.path.display()))
    }

    /// Name and version of its distribution.
    pub(crate) fn distribution(&self, owners: &[Distribution]) -> Option<(String, String)> {
        owners.first().map(|owner| (owner.name.clone(), owner.version.clone())).or_else(|| self.installer.clone())
    }
}

/// The distributions in any folder above a file whose RECORD lists it: a package may bring others' dist-info folders, and a
/// RECORD below `lib` may list files below `lib64`.
fn owners_above(file: &Path) -> Result<Vec<Distribution>> {
    let mut owners = Vec::new();
    for folder in file.ancestors().skip(1) {
        let sibling = library_beside(folder);
        let sites: Vec<&Path> = std::iter::once(folder).chain(sibling.as_deref()).collect();
        match distribution::owners(&sites, file, folder) {
            Ok(found) => owners.extend(found),
            // Above the folder with the owner, nothing is expected.
            Err(_) if !owners.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(owners)
}

/// The same folder below `lib` instead of `lib64`, or the other way round.
fn library_beside(folder: &Path) -> Option<PathBuf> {
    let mut parts: Vec<&OsStr> = folder.iter().collect();
    let at = parts.iter().rposition(|part| *part == "lib" || *part == "lib64")?;
    parts[at] = OsStr::new(if parts[at] == "lib" { "lib64" } else { "lib" });
    let beside: PathBuf = parts.iter().collect();
    // Usually one is a link to the other.
    let is_another = beside.canonicalize().ok()? != folder.canonicalize().ok()?;
    is_another.then_some(beside)
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
    let Located { path, folder, editable } = import_path.iter().find_map(locate)?;
    let sites = import_path.iter().map(|folder| folder.path.clone()).collect();
    let (installer, found_by) = match editable {
        None => (None, format!("in `{}`", folder.path.display())),
        Some(editable) => (installer(&editable), format!("through the editable install `{}`", editable.display())),
    };
    Some(Module { path, home: Some((folder.path.clone(), sites)), installer, found_by })
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
    sites.find_map(|site| distribution::owners(&[site], &site.join(SOURCE), site).ok()?.into_iter().next())
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
    let owner = distribution::owners(&[site_packages], file, site_packages).ok()?.into_iter().next()?;
    Some((owner.name, owner.version))
}
