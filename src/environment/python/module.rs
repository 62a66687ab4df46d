//! Dynamo's modules that create NIXL agents: their source files, and the distributions that these belong to.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::distribution::{self, Distribution};
use super::site_packages::{self, ImportFolder};

use crate::shown::Shown;

/// The import name of [`DynamoModule::NixlConnect`].
pub(crate) const MODULE: &str = "dynamo.nixl_connect";
/// Its source, relative to a folder of the import path. `dynamo` is a namespace package of several distributions.
pub(crate) const SOURCE: &str = "dynamo/nixl_connect/__init__.py";

/// A module of Dynamo's that creates NIXL agents. A list, because searching the 943 files of ai-dynamo 1.6.1 would take
/// several times what the rest of `check` takes; `audit` searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DynamoModule {
    /// `dynamo.nixl_connect`, of ai-dynamo-runtime since 0.4.0.
    NixlConnect,
    /// `dynamo.common.multimodal.embedding_transfer`, of ai-dynamo since 1.0.0.
    EmbeddingTransfer,
}

impl DynamoModule {
    /// All of them, in the order of reports.
    const ALL: [DynamoModule; 2] = [DynamoModule::NixlConnect, DynamoModule::EmbeddingTransfer];

    /// Its source, relative to a folder of the import path.
    pub(crate) fn source(self) -> &'static str {
        match self {
            DynamoModule::NixlConnect => SOURCE,
            DynamoModule::EmbeddingTransfer => "dynamo/common/multimodal/embedding_transfer.py",
        }
    }

    /// The package that its source lies in.
    fn package(self) -> &'static str {
        match self {
            DynamoModule::NixlConnect => MODULE,
            DynamoModule::EmbeddingTransfer => "dynamo.common.multimodal",
        }
    }
}

/// Whether a file without a call to rewrite is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Always: the user named it, or expects it.
    Always,
    /// Only where a call in it is rewritten, reads the environment or cannot be judged.
    WithCalls,
    /// Where any call in it may create an agent: the user named what it is in.
    WithSites,
}

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
    /// Whether it is reported without a call to rewrite.
    pub listed: Listed,
}

impl Module {
    /// A file given by its path.
    pub(crate) fn of_file(path: &Path, found_by: &str) -> Self {
        Module {
            path: path.to_path_buf(),
            home: None,
            installer: None,
            found_by: found_by.to_string(),
            listed: Listed::Always,
        }
    }

    /// A file that was found by searching, below a folder of the import path or anywhere else.
    pub(crate) fn searched(path: PathBuf, import_path: &[ImportFolder], found_by: &str) -> Self {
        let folder = import_path.iter().map(|folder| &folder.path).find(|folder| path.starts_with(folder));
        let home = folder.map(|folder| (folder.clone(), folders(import_path)));
        Module { path, home, installer: None, found_by: found_by.to_string(), listed: Listed::WithCalls }
    }

    /// Adds to the owners those of the tree that the file really lies in, where a symbolic link leads to it.
    fn with_real_owners(&self, owners: Vec<Distribution>) -> Result<Vec<Distribution>> {
        let absolute = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        let mut owners = owners;
        let real =
            std::fs::canonicalize(&absolute).with_context(|| format!("{}: cannot be found", absolute.shown()))?;
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

    /// The folder that an import path would name: the one that it was found in, that of its RECORD, or the one that has
    /// `dynamo/nixl_connect`.
    pub(crate) fn root(&self, owners: &[Distribution]) -> Option<PathBuf> {
        let home = self.home.iter().map(|(home, _)| home.clone());
        let sites = owners.iter().filter_map(|owner| owner.record.path.parent()?.parent().map(Path::to_path_buf));
        let package = DynamoModule::ALL.into_iter().filter_map(|module| {
            let depth = Path::new(module.source()).components().count();
            self.path.ends_with(module.source()).then(|| self.path.ancestors().nth(depth).map(Path::to_path_buf))?
        });
        home.chain(sites).chain(package).find(|folder| self.path.starts_with(folder))
    }

    /// The file in a cache that it is a link to, where the cache is none of its own folders. uv in its symlink mode installs
    /// that way, so that all environments share the file: <https://docs.astral.sh/uv/reference/settings/#link-mode>. A cache
    /// has a tag: <https://bford.info/cachedir/>.
    pub(crate) fn in_shared_cache(&self) -> Option<PathBuf> {
        if !std::fs::symlink_metadata(&self.path).ok()?.is_symlink() {
            return None;
        }
        let real = std::fs::canonicalize(&self.path).ok()?;
        let folder = std::fs::canonicalize(self.path.parent()?).ok()?;
        let mut above = real.ancestors().skip(1);
        above.any(|cache| cache.join("CACHEDIR.TAG").is_file() && !folder.starts_with(cache)).then_some(real)
    }

    /// How it was found, for `-v`.
    pub(crate) fn found_by(&self, owners: &[Distribution]) -> String {
        owners.first().map_or(self.found_by.clone(), |owner| format!("listed in `{}`", owner.record.path.shown()))
    }

    /// Name and version of its distribution.
    pub(crate) fn distribution(&self, owners: &[Distribution]) -> Option<(String, String)> {
        owners.first().map(|owner| (owner.name.clone(), owner.version.clone())).or_else(|| self.installer.clone())
    }
}

/// The distributions whose RECORD lists each module; usually one. Each RECORD is read once for all modules of an import path.
///
/// # Errors
/// When a RECORD or a folder that may have one cannot be read.
pub(crate) fn owners(modules: &[&Module]) -> Result<Vec<Vec<Distribution>>> {
    let mut all = Vec::new();
    let sites = |module: &Module| module.home.as_ref().map(|(_, sites)| sites.clone());
    for group in modules.chunk_by(|one, next| sites(one).is_some() && sites(one) == sites(next)) {
        let homes: Vec<_> =
            group.iter().filter_map(|module| Some((module.path.as_path(), module.home.as_ref()?))).collect();
        let found = match homes.first() {
            Some((_, (_, sites))) => {
                let sites: Vec<&Path> = sites.iter().map(PathBuf::as_path).collect();
                let files: Vec<_> = homes.iter().map(|(path, (home, _))| (*path, home.as_path())).collect();
                distribution::owners(&sites, &files)?
            }
            None => vec![owners_above(&std::path::absolute(&group[0].path).unwrap_or_else(|_| group[0].path.clone()))?],
        };
        for (module, owners) in group.iter().zip(found) {
            all.push(module.with_real_owners(owners)?);
        }
    }
    Ok(all)
}

/// The distributions in any folder above a file whose RECORD lists it: a package may bring others' dist-info folders, and a
/// RECORD below `lib` may list files below `lib64`.
fn owners_above(file: &Path) -> Result<Vec<Distribution>> {
    let mut owners = Vec::new();
    for folder in file.ancestors().skip(1) {
        let sibling = library_beside(folder);
        let sites: Vec<&Path> = std::iter::once(folder).chain(sibling.as_deref()).collect();
        match distribution::owners(&sites, &[(file, folder)]) {
            Ok(found) => owners.extend(found.into_iter().flatten()),
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

/// Dynamo's modules that imports would load: each from the first folder which has it. Their distributions' RECORDs may be in
/// any folder of the path.
pub(crate) fn find_all(import_path: &[ImportFolder]) -> Vec<Module> {
    DynamoModule::ALL.into_iter().filter_map(|module| find(import_path, module)).collect()
}

/// One of Dynamo's modules, as [`find_all`].
pub(crate) fn find(import_path: &[ImportFolder], module: DynamoModule) -> Option<Module> {
    let Located { path, folder, editable } = import_path.iter().find_map(|folder| locate(folder, module))?;
    let (installer, found_by) = match editable {
        None => (None, format!("in `{}`", folder.path.shown())),
        Some(editable) => (installer(&editable), format!("through the editable install `{}`", editable.shown())),
    };
    let home = Some((folder.path.clone(), folders(import_path)));
    let listed = if module == DynamoModule::NixlConnect { Listed::Always } else { Listed::WithCalls };
    Some(Module { path, home, installer, found_by, listed })
}

fn folders(import_path: &[ImportFolder]) -> Vec<PathBuf> {
    import_path.iter().map(|folder| folder.path.clone()).collect()
}

/// Whether an import would find `dynamo.nixl_connect`.
pub(crate) fn is_there(import_path: &[ImportFolder]) -> bool {
    import_path.iter().any(|folder| locate(folder, DynamoModule::NixlConnect).is_some())
}

/// The other copies of one of Dynamo's modules on the path, which an import does not load.
pub(crate) fn shadowed(import_path: &[ImportFolder], used: &Module) -> Vec<PathBuf> {
    let absolute = std::path::absolute(&used.path).unwrap_or_else(|_| used.path.clone());
    let Some(module) = DynamoModule::ALL.into_iter().find(|module| absolute.ends_with(module.source())) else {
        return Vec::new();
    };
    let copies = import_path.iter().filter_map(|folder| locate(folder, module)).map(|located| located.path);
    copies.filter(|path| *path != used.path).collect()
}

/// A distribution whose RECORD lists `dynamo.nixl_connect`, for use where no folder has it.
pub(crate) fn owner_of_missing(import_path: &[ImportFolder]) -> Option<Distribution> {
    let mut sites = import_path.iter().map(|folder| folder.path.as_path());
    sites.find_map(|site| {
        distribution::owners(&[site], &[(&site.join(SOURCE), site)]).ok()?.into_iter().flatten().next()
    })
}

/// The sources of NIXL's Python binding on an import path: of the packages `nixl`, `nixl_cu12`, …
pub(crate) fn nixl_sources(import_path: &[ImportFolder]) -> Vec<PathBuf> {
    let of_folder = |folder: &ImportFolder| NIXL_PACKAGES.map(|package| folder.path.join(package).join("_api.py"));
    import_path.iter().flat_map(of_folder).filter(|path| path.is_file()).collect()
}

fn locate(folder: &ImportFolder, module: DynamoModule) -> Option<Located<'_>> {
    let path = folder.path.join(module.source());
    // What cannot be looked at is found, and then an error; Python, too, passes by a folder that it may not enter.
    let may_enter = || folder.path.join(".").try_exists().is_ok();
    if path.try_exists().unwrap_or_else(|error| error.kind() != io::ErrorKind::PermissionDenied || may_enter()) {
        return Some(Located { path, folder, editable: folder.added_by.clone() });
    }
    let (package, finder) = site_packages::editable_mapping(&folder.path, module.package())?;
    let path = package.join(Path::new(module.source()).file_name()?);
    path.exists().then_some(Located { path, folder, editable: Some(finder) })
}

/// Name and version of the distribution that installed a file directly into site-packages.
fn installer(file: &Path) -> Option<(String, String)> {
    let site_packages = file.parent()?;
    let owner = distribution::owners(&[site_packages], &[(file, site_packages)]).ok()?.into_iter().flatten().next()?;
    Some((owner.name, owner.version))
}
