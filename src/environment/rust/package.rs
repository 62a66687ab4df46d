//! Cargo packages, by their manifests. Cargo itself is never run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use toml::{Table, Value};

use crate::shown::Shown;
use crate::source::regular;

/// The manifest's name.
pub(crate) const MANIFEST: &str = "Cargo.toml";
/// Folders of a package whose sources are tests, benchmarks or examples.
const BESIDES: [&str; 3] = ["tests", "benches", "examples"];

/// A Cargo package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// The folder with its manifest.
    pub root: PathBuf,
    /// Its name.
    pub name: String,
    /// Its version, its workspace's where it inherits that.
    pub version: Option<String>,
}

/// What a manifest declares.
pub(crate) struct Manifest {
    /// The package, if it declares one.
    pub package: Option<Package>,
    /// Whether it declares a workspace.
    pub is_workspace: bool,
}

/// Reads the manifest in a folder; None where it has none.
///
/// # Errors
/// When it cannot be read, or is not TOML.
pub(crate) fn manifest(folder: &Path) -> Result<Option<Manifest>> {
    let path = folder.join(MANIFEST);
    if !path.exists() {
        return Ok(None);
    }
    let table = table(&path)?;
    let package = table.get("package").and_then(|package| {
        let name = package.get("name")?.as_str()?.to_string();
        let version = package.get("version").and_then(|version| version_of(version, folder));
        Some(Package { root: folder.to_path_buf(), name, version })
    });
    Ok(Some(Manifest { package, is_workspace: table.contains_key("workspace") }))
}

fn table(path: &Path) -> Result<Table> {
    let bytes = regular::read(path)?;
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("{}: not UTF-8, as manifests are", path.shown()))?;
    text.parse().map_err(|error: toml::de::Error| {
        let message = error.message().to_string();
        anyhow!("{}: not a manifest: {message}", path.shown())
    })
}

/// `version = "1.2"`, or `version.workspace = true`.
fn version_of(version: &Value, folder: &Path) -> Option<String> {
    if let Some(version) = version.as_str() {
        return Some(version.to_string());
    }
    version.get("workspace")?.as_bool().filter(|inherits| *inherits)?;
    let workspaces = folder.ancestors().filter_map(|above| table(&above.join(MANIFEST)).ok());
    let mut workspaces = workspaces.filter_map(|table| table.get("workspace").cloned());
    Some(workspaces.next()?.get("package")?.get("version")?.as_str()?.to_string())
}

/// The package that a file belongs to: that of the nearest manifest above it.
pub(crate) fn of_file(path: &Path) -> Option<Package> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().skip(1).find_map(|folder| manifest(folder).ok().flatten()?.package)
}

impl Package {
    /// Whether a file is one of its tests, benchmarks or examples.
    pub(crate) fn is_besides(&self, path: &Path) -> bool {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let below = absolute.strip_prefix(&self.root).ok();
        let first = below.and_then(|below| below.components().next());
        first.is_some_and(|first| BESIDES.iter().any(|folder| first.as_os_str() == *folder))
    }
}

/// The files that may declare the module of a file (`mod name;`), with that name; from the innermost module outwards.
pub(crate) fn declarations(path: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut at = path.to_path_buf();
    loop {
        let is_folder = at.file_name().is_some_and(|name| name == "mod.rs");
        let Some(parent) = at.parent().map(Path::to_path_buf) else { break };
        let module = if is_folder { parent } else { at.with_extension("") };
        let (Some(name), Some(folder)) = (module.file_name(), module.parent()) else { break };
        let Some(name) = name.to_str().filter(|name| !["lib", "main", "src"].contains(name)) else { break };
        let candidates =
            [folder.join("lib.rs"), folder.join("main.rs"), folder.join("mod.rs"), folder.with_extension("rs")];
        let Some(declaring) =
            candidates.into_iter().find(|candidate| fs::metadata(candidate).is_ok_and(|it| it.is_file()))
        else {
            break;
        };
        found.push((declaring.clone(), name.to_string()));
        at = declaring;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_package_inherits_its_workspaces_version() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "Cargo.toml", "[workspace]\nmembers = ['lib/*']\n[workspace.package]\nversion = '1.7.0'\n");
        write(root, "lib/llm/Cargo.toml", "[package]\nname = 'dynamo-llm'\nversion.workspace = true\n");
        write(root, "lib/llm/src/a/b.rs", "");
        let package = of_file(&root.join("lib/llm/src/a/b.rs")).unwrap();
        assert_eq!((package.name.as_str(), package.version.as_deref()), ("dynamo-llm", Some("1.7.0")));
        assert!(package.is_besides(&root.join("lib/llm/tests/x.rs")));
        assert!(!package.is_besides(&root.join("lib/llm/src/tests/x.rs")));
        assert!(manifest(root).unwrap().is_some_and(|manifest| manifest.is_workspace && manifest.package.is_none()));
    }

    #[test]
    fn declarations_lead_to_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let src = folder.path().join("src");
        for file in ["lib.rs", "a.rs", "a/b/mod.rs", "a/b/tests.rs", "lone/c.rs"] {
            write(&src, file, "");
        }
        let names = |path: &str| {
            let found = declarations(&src.join(path)).into_iter();
            found.map(|(file, name)| (file.strip_prefix(&src).unwrap().display().to_string(), name)).collect::<Vec<_>>()
        };
        let pair = |file: &str, name: &str| (file.to_string(), name.to_string());
        assert_eq!(names("a/b/tests.rs"), [pair("a/b/mod.rs", "tests"), pair("a.rs", "b"), pair("lib.rs", "a")]);
        assert_eq!((names("lib.rs"), names("lone/c.rs")), (vec![], vec![]));
    }
}
