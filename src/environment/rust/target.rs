//! A TARGET of the command line that is Rust: a source, a Cargo package, or a workspace.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use ignore::{DirEntry, WalkBuilder};

use super::package::{self, MANIFEST, Manifest, Package};

use crate::shown::Shown;

/// Dynamo's package with agents that name their backend.
const PACKAGE: &str = "dynamo-llm";
/// How deep below a workspace its packages lie: `lib/llm/Cargo.toml`, `lib/bindings/python/Cargo.toml`.
const DEPTH: usize = 4;

/// Sources, and the package that they are of.
pub(crate) struct Sources {
    /// The files.
    pub files: Vec<PathBuf>,
    /// The package; of a file that was named by its path, the one around it, if there is one.
    pub package: Option<Package>,
    /// How they were found, for `-v`.
    pub found_by: String,
    /// Whether TARGET is the source itself, so that it is reported whatever it holds.
    pub named: bool,
}

/// Whether a TARGET is Rust: a file called `*.rs` or `Cargo.toml`, or a folder with a `Cargo.toml`.
pub(crate) fn is_rust(target: &Path) -> bool {
    if target.is_dir() {
        return target.join(MANIFEST).is_file();
    }
    target.extension() == Some(OsStr::new("rs")) || target.file_name() == Some(OsStr::new(MANIFEST))
}

/// The sources of a TARGET for which [`is_rust`] holds.
///
/// # Errors
/// When it does not exist or cannot be read, or is a package without such agents.
pub(crate) fn resolve(target: &Path) -> Result<Sources> {
    if target.is_dir() {
        return of_folder(target);
    }
    if target.file_name() == Some(OsStr::new(MANIFEST)) {
        return of_folder(target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    }
    std::fs::metadata(target).map_err(|error| {
        anyhow!(
            "{}: cannot be accessed: {error}\nhelp: pass a Rust source, or the folder of a Cargo package or workspace",
            target.shown()
        )
    })?;
    let package = package::of_file(target);
    Ok(Sources {
        files: vec![target.to_path_buf()],
        package,
        found_by: "named on the command line".into(),
        named: true,
    })
}

fn of_folder(folder: &Path) -> Result<Sources> {
    let manifest = package::manifest(folder)?;
    let own = manifest.as_ref().and_then(|manifest| manifest.package.as_ref());
    if let Some(own) = own.filter(|own| own.name == PACKAGE) {
        return of_package(own.clone(), "the package named on the command line".into());
    }
    if !manifest.as_ref().is_some_and(|manifest: &Manifest| manifest.is_workspace) {
        bail!(
            "{}: the package is `{}`; only `{PACKAGE}` is known to create NIXL agents\n\
             help: pass the folder of `{PACKAGE}`, or a source file",
            folder.shown(),
            own.map_or("unnamed", |own| own.name.as_str())
        );
    }
    for found in manifests(folder) {
        let member = found.parent().unwrap_or(folder);
        let package = package::manifest(member)?.and_then(|manifest| manifest.package);
        if let Some(package) = package.filter(|package| package.name == PACKAGE) {
            return of_package(package, format!("in the workspace `{}`", folder.shown()));
        }
    }
    bail!(
        "{}: no package `{PACKAGE}` in this workspace\nhelp: pass the folder of `{PACKAGE}`, or a source file",
        folder.shown()
    )
}

fn of_package(package: Package, found_by: String) -> Result<Sources> {
    let root = package.root.join("src");
    let mut files = Vec::new();
    for entry in walk(&root).build() {
        let entry = entry.with_context(|| format!("{}: cannot be listed", root.shown()))?;
        if is_file(&entry) && entry.path().extension() == Some(OsStr::new("rs")) {
            files.push(entry.into_path());
        }
    }
    let package = Package { root: std::path::absolute(&package.root).unwrap_or(package.root), ..package };
    Ok(Sources { files, package: Some(package), found_by, named: false })
}

/// The manifests below a workspace, in order. A folder that cannot be listed is passed by: its packages are not found.
fn manifests(folder: &Path) -> Vec<PathBuf> {
    let mut walk = walk(folder);
    walk.max_depth(Some(DEPTH)).filter_entry(|entry| {
        // Builds and hidden folders have manifests of other packages.
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name == "target" || name.starts_with('.'))
    });
    let found = walk.build().flatten().filter(|entry| is_file(entry) && entry.file_name() == MANIFEST);
    found.map(DirEntry::into_path).collect()
}

/// Every file counts, those that git ignores too; links are not followed.
fn walk(folder: &Path) -> WalkBuilder {
    let mut walk = WalkBuilder::new(folder);
    walk.standard_filters(false).sort_by_file_name(OsStr::cmp);
    walk
}

fn is_file(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_file())
}
