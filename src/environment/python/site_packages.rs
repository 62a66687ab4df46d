//! The folders that Python imports from: site-packages and what its `.pth` files add.
//!
//! Source: Python Library Reference, `site`. A line of a `.pth` file that is not blank, a comment or an `import` names a
//! folder, relative to the folder of the `.pth` file.

use std::path::{Path, PathBuf};
use std::{env, fs};

use rustpython_parser::{Parse, ast};

use crate::environment::variables::Variables;
use crate::source::regular;

/// A folder of an import path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportFolder {
    /// Its path.
    pub path: PathBuf,
    /// The `.pth` file that added it, for example that of an editable install.
    pub added_by: Option<PathBuf>,
}

impl ImportFolder {
    /// A folder that no `.pth` file added.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        ImportFolder { path: path.into(), added_by: None }
    }
}

/// The import path of a Python: the folders of `PYTHONPATH`, then those of `sites` with what their `.pth` files add.
pub(crate) fn import_path<'a>(sites: impl Iterator<Item = &'a Path>, variables: &Variables) -> Vec<ImportFolder> {
    let python_path = variables.non_empty("PYTHONPATH").into_iter().flat_map(env::split_paths);
    let mut folders: Vec<ImportFolder> = python_path.filter(|path| path.is_dir()).map(ImportFolder::new).collect();
    for folder in sites.flat_map(expand) {
        if !folders.iter().any(|known| known.path == folder.path) {
            folders.push(folder);
        }
    }
    folders
}

/// The folder itself, then those that its `.pth` files add, in Python's order.
pub(crate) fn expand(site_packages: &Path) -> Vec<ImportFolder> {
    let mut folders = vec![ImportFolder::new(site_packages)];
    for pth in files_ending(site_packages, ".pth") {
        let Ok(text) = regular::read(&pth) else { continue };
        let text = String::from_utf8_lossy(&text).into_owned();
        for line in text.trim_start_matches('\u{feff}').lines().map(str::trim_end) {
            let is_path = !line.is_empty()
                && !line.starts_with('#')
                && !line.starts_with("import ")
                && !line.starts_with("import\t");
            let path = site_packages.join(line);
            if is_path && path.is_dir() && !folders.iter().any(|folder| folder.path == path) {
                folders.push(ImportFolder { path, added_by: Some(pth.clone()) });
            }
        }
    }
    folders
}

/// A module's folder according to setuptools' editable finders (`__editable___NAME_finder.py`), and the finder. Finders
/// are parsed, never run.
pub(crate) fn editable_mapping(site_packages: &Path, module: &str) -> Option<(PathBuf, PathBuf)> {
    files_ending(site_packages, "_finder.py")
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("__editable__")))
        .find_map(|finder| mapped(&finder, module).map(|folder| (folder, finder)))
}

fn mapped(finder: &Path, module: &str) -> Option<PathBuf> {
    let text = String::from_utf8(regular::read(finder).ok()?).ok()?;
    let statements = ast::Suite::parse(&text, &finder.to_string_lossy()).ok()?;
    let pairs = statements.iter().filter_map(mapping).flat_map(|dict| dict.keys.iter().zip(&dict.values));
    let mut found = pairs.filter_map(|(key, value)| {
        let (key, value) = (string(key.as_ref()?)?, string(value)?);
        let rest = module.strip_prefix(key)?;
        let inside = rest.is_empty() || rest.starts_with('.');
        inside.then(|| {
            rest.split('.').filter(|part| !part.is_empty()).fold(PathBuf::from(value), |path, part| path.join(part))
        })
    });
    found.find(|path| path.is_dir())
}

fn mapping(statement: &ast::Stmt) -> Option<&ast::ExprDict> {
    let (target, value) = match statement {
        ast::Stmt::AnnAssign(assign) => (assign.target.as_ref(), assign.value.as_deref()?),
        ast::Stmt::Assign(assign) => (assign.targets.first()?, assign.value.as_ref()),
        _ => return None,
    };
    let named = target.as_name_expr().is_some_and(|name| name.id.as_str() == "MAPPING");
    value.as_dict_expr().filter(|_| named)
}

fn string(expression: &ast::Expr) -> Option<&str> {
    match &expression.as_constant_expr()?.value {
        ast::Constant::Str(text) => Some(text),
        _ => None,
    }
}

/// A folder's entries whose name has this ending, sorted by name as Python sorts `.pth` files.
pub(crate) fn files_ending(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(ending))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pth_files_add_folders_and_are_never_run() {
        let site = tempfile::tempdir().unwrap();
        let source = tempfile::tempdir().unwrap();
        let text = format!("# comment\n\nimport os; os.abort()\n{}\nmissing\n", source.path().display());
        fs::write(site.path().join("project.pth"), text).unwrap();
        let folders = expand(site.path());
        assert_eq!(folders.len(), 2);
        assert_eq!(folders[1].path, source.path());
        assert_eq!(folders[1].added_by.as_deref(), Some(site.path().join("project.pth").as_path()));
    }

    #[test]
    fn setuptools_finders_are_read() {
        let site = tempfile::tempdir().unwrap();
        let source = tempfile::tempdir().unwrap();
        let package = source.path().join("dynamo/nixl_connect");
        fs::create_dir_all(&package).unwrap();
        let text = format!("MAPPING: dict[str, str] = {{'dynamo': '{}'}}\n", source.path().join("dynamo").display());
        fs::write(site.path().join("__editable___dynamo_1_0_finder.py"), text).unwrap();
        assert_eq!(editable_mapping(site.path(), "dynamo.nixl_connect").map(|found| found.0), Some(package));
        assert_eq!(editable_mapping(site.path(), "other"), None);
    }
}
