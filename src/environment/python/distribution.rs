//! The distribution that installed a file: its name, version and RECORD.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::record::{Record, normal};
use crate::shown::Shown;
use crate::source::regular;

/// An installed distribution whose RECORD lists a given file.
#[derive(Clone, Debug)]
pub(crate) struct Distribution {
    /// Its name: `ai-dynamo-runtime`.
    pub name: String,
    /// Its version: `1.6.1`.
    pub version: String,
    /// Its RECORD.
    pub record: Record,
    /// The file as RECORD has it: relative to the site-packages folder, with slashes.
    pub entry: Vec<u8>,
}

impl Distribution {
    /// The name of its dist-info folder.
    pub(crate) fn folder_name(&self) -> String {
        let folder = self.record.path.parent().and_then(Path::file_name).unwrap_or_default();
        folder.shown().to_string()
    }
}

/// For each of the files, given with a folder above it, the distributions in these site-packages folders whose RECORD lists
/// it. Several may list the same file, also from another folder (`../../../lib64/…` in a RECORD below `lib`).
///
/// # Errors
/// When a folder cannot be listed or a RECORD cannot be read: it might be the one.
pub(crate) fn owners(site_packages: &[&Path], files: &[(&Path, &Path)]) -> Result<Vec<Vec<Distribution>>> {
    let mut found = vec![Vec::new(); files.len()];
    for site in site_packages {
        for dist_info in dist_infos(site)? {
            let Some(record) = record_of(&dist_info)? else { continue };
            for ((file, home), owners) in files.iter().zip(&mut found) {
                owners.extend(owner(site, &dist_info, &record, (file, home)));
            }
        }
    }
    Ok(found)
}

/// Folder names of the dist-infos beside an owner's that are of the same distribution, as a broken upgrade leaves them.
pub(crate) fn others_of(owner: &Distribution) -> Vec<String> {
    let Some(own) = owner.record.path.parent() else { return Vec::new() };
    let Some(site) = own.parent() else { return Vec::new() };
    let beside = dist_infos(site).unwrap_or_default().into_iter().filter(|dist_info| dist_info != own);
    let same = beside.filter(|dist_info| normalized(&identity(dist_info).0) == normalized(&owner.name));
    same.filter_map(|dist_info| Some(dist_info.file_name()?.shown().to_string())).collect()
}

/// The RECORD of a distribution; some installers write none.
fn record_of(dist_info: &Path) -> Result<Option<Record>> {
    let path = dist_info.join("RECORD");
    let absent = |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    if fs::metadata(&path).is_err_and(|error| absent(&error)) {
        return Ok(None);
    }
    let record = Record::read(&path).map_err(|error| {
        anyhow!(
            "{error:#}; it may list the module\n\
             help: run this as a user who can read it, or reinstall the distribution"
        )
    })?;
    Ok(Some(record))
}

fn owner(site_packages: &Path, dist_info: &Path, record: &Record, (file, home): (&Path, &Path)) -> Vec<Distribution> {
    let Ok(ending) = file.strip_prefix(home) else { return Vec::new() };
    let entries = record.entries_ending(ending.as_os_str().as_bytes()).into_iter();
    let own: Vec<_> =
        entries.filter(|entry| is_same(&site_packages.join(OsStr::from_bytes(&normal(entry))), file)).collect();
    if own.is_empty() {
        return Vec::new();
    }
    let (name, version) = identity(dist_info);
    let owner = |entry| Distribution { name: name.clone(), version: version.clone(), record: record.clone(), entry };
    own.into_iter().map(owner).collect()
}

/// The files that a distribution installed below these site-packages folders, by its name as pip takes it; None where it is
/// not installed or has no RECORD.
///
/// # Errors
/// When a folder cannot be listed or its RECORD cannot be read.
pub(crate) fn files_of(site_packages: &[&Path], name: &str) -> Result<Option<Vec<PathBuf>>> {
    for site in site_packages {
        for dist_info in dist_infos(site)? {
            if normalized(&identity(&dist_info).0) != normalized(name) {
                continue;
            }
            let Some(record) = record_of(&dist_info)? else { continue };
            let path = |entry: Vec<u8>| site.join(OsStr::from_bytes(&normal(&entry)));
            return Ok(Some(record.entries().map(path).collect()));
        }
    }
    Ok(None)
}

/// The version of a distribution in a site-packages folder, by its name as pip takes it; None where it is not installed
/// there.
pub(crate) fn version_of(site_packages: &Path, name: &str) -> Option<String> {
    let found = dist_infos(site_packages).unwrap_or_default();
    let identities = found.iter().filter(|it| it.join("METADATA").is_file()).map(|dist_info| identity(dist_info));
    identities.into_iter().find(|(own, _)| normalized(own) == normalized(name)).map(|(_, version)| version)
}

/// What a distribution in a site-packages folder requires, each as its METADATA says it: `nixl (<=0.7.0) ; extra == "x"`.
pub(crate) fn requirements(site_packages: &Path, name: &str) -> Vec<String> {
    let found = dist_infos(site_packages).unwrap_or_default();
    let Some(dist_info) = found.iter().find(|it| normalized(&identity(it).0) == normalized(name)) else {
        return Vec::new();
    };
    let metadata = regular::read(&dist_info.join("METADATA")).unwrap_or_default();
    let metadata = String::from_utf8_lossy(&metadata);
    let headers = metadata.lines().take_while(|line| !line.is_empty());
    headers.filter_map(|line| line.strip_prefix("Requires-Dist:")).map(|value| value.trim().to_string()).collect()
}

/// A distribution's name as names are compared (packaging.python.org/specifications/name-normalization).
fn normalized(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// Name and version of the distribution in a site-packages folder that installed each of these files; None where no RECORD
/// lists it. Each RECORD is read once.
pub(crate) fn identities(site_packages: &Path, files: &[&Path]) -> Vec<Option<(String, String)>> {
    let entries: Vec<Option<&[u8]>> = files
        .iter()
        .map(|file| file.strip_prefix(site_packages).ok().map(|entry| entry.as_os_str().as_bytes()))
        .collect();
    let mut found = vec![None; files.len()];
    for dist_info in dist_infos(site_packages).unwrap_or_default() {
        // Without a RECORD that can be read, nothing says what is the distribution's.
        let Ok(record) = Record::read(&dist_info.join("RECORD")) else { continue };
        for (found, entry) in found.iter_mut().zip(&entries) {
            let lists = |entry: &[u8]| record.entries_ending(entry).iter().any(|listed| normal(listed) == entry);
            if found.is_none() && entry.is_some_and(lists) {
                *found = Some(identity(&dist_info));
            }
        }
    }
    found
}

/// Whether two paths are the same file.
fn is_same(one: &Path, other: &Path) -> bool {
    one == other
        || fs::canonicalize(one).ok().zip(fs::canonicalize(other).ok()).is_some_and(|(one, other)| one == other)
}

/// The dist-info folders in a folder, sorted by name; none where it does not exist.
fn dist_infos(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = || -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().as_bytes().ends_with(b".dist-info") {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    };
    match listed() {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        outcome => outcome.with_context(|| {
            format!("{}: cannot be listed, and a distribution in it may own the module", folder.shown())
        }),
    }
}

/// Name and version from METADATA, or else from the folder's name (`NAME-VERSION.dist-info`).
fn identity(dist_info: &Path) -> (String, String) {
    let folder = dist_info.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (folder_name, folder_version) = folder.split_once('-').unwrap_or((&folder, ""));
    let metadata = regular::read(&dist_info.join("METADATA")).unwrap_or_default();
    let metadata = String::from_utf8_lossy(&metadata);
    let headers = || metadata.lines().take_while(|line| !line.is_empty());
    let header = |key: &str| headers().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_string());
    let name = header("Name:").unwrap_or_else(|| folder_name.replace('_', "-"));
    (name, header("Version:").unwrap_or_else(|| folder_version.to_string()))
}

/// The site-packages folder that a file was installed into: the nearest one above it with dist-info folders.
///
/// # Errors
/// When a folder above it cannot be listed.
pub(crate) fn site_packages_of(file: &Path) -> Result<Option<&Path>> {
    for folder in file.ancestors().skip(1) {
        if has_any(folder)? {
            return Ok(Some(folder));
        }
    }
    Ok(None)
}

/// Whether distributions are installed into a folder: it has dist-info folders.
///
/// # Errors
/// When it cannot be listed.
pub(crate) fn has_any(folder: &Path) -> Result<bool> {
    Ok(!dist_infos(folder)?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_may_list_a_file_of_another_folder() {
        let prefix = tempfile::tempdir().unwrap();
        let (lib, lib64) = (prefix.path().join("lib/site-packages"), prefix.path().join("lib64/site-packages"));
        let file = lib64.join("dynamo/nixl_connect/__init__.py");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        let dist_info = lib.join("a-1.dist-info");
        fs::create_dir_all(&dist_info).unwrap();
        let entry = "../../lib64/site-packages/dynamo/nixl_connect/__init__.py";
        fs::write(dist_info.join("RECORD"), format!("x/dynamo/nixl_connect/__init__.py,,\n{entry},sha256=a,1\n"))
            .unwrap();
        let found = owners(&[&lib64, &lib], &[(&file, &lib64)]).unwrap().remove(0);
        assert_eq!(found.iter().map(|owner| owner.entry.as_slice()).collect::<Vec<_>>(), [entry.as_bytes()]);
    }

    #[test]
    fn owners_are_found_through_record() {
        let site = tempfile::tempdir().unwrap();
        let dist_info = site.path().join("ai_dynamo_runtime-1.6.1.dist-info");
        fs::create_dir(&dist_info).unwrap();
        fs::write(dist_info.join("RECORD"), "dynamo/nixl_connect/__init__.py,sha256=a,1\n").unwrap();
        let file = site.path().join("dynamo/nixl_connect/__init__.py");
        let found = owners(&[site.path()], &[(&file, site.path())]).unwrap().remove(0);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].version.as_str()), ("ai-dynamo-runtime", "1.6.1"));
        let other = site.path().join("dynamo/other.py");
        assert!(owners(&[site.path()], &[(&other, site.path())]).unwrap()[0].is_empty());
        assert_eq!(files_of(&[site.path()], "AI_Dynamo.Runtime").unwrap(), Some(vec![file.clone()]));
        assert_eq!(files_of(&[site.path()], "ai-dynamo").unwrap(), None);
        assert_eq!(site_packages_of(&file).unwrap(), Some(site.path()));
    }
}
