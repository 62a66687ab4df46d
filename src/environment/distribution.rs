//! The distribution that installed a file: its dist-info folder, name and version.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use super::record::Record;
use super::site_packages::files_ending;

/// An installed distribution that lists a certain file.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// `ai-dynamo-runtime`.
    pub name: String,
    /// `1.6.1`.
    pub version: String,
    /// Its RECORD.
    pub record: Record,
    /// The file, as RECORD writes it: relative to the site-packages folder, with slashes.
    pub entry: String,
}

/// All distributions in a site-packages folder whose RECORD lists `entry`; more than one may claim a file.
pub fn owners(site_packages: &Path, entry: &str) -> Vec<Distribution> {
    dist_infos(site_packages).iter().filter_map(|dist_info| owner(dist_info, entry)).collect()
}

fn owner(dist_info: &Path, entry: &str) -> Option<Distribution> {
    let record = Record::read(&dist_info.join("RECORD")).ok().filter(|record| record.lists(entry))?;
    let (name, version) = identity(dist_info);
    Some(Distribution { name, version, record, entry: entry.to_string() })
}

fn dist_infos(site_packages: &Path) -> Vec<PathBuf> {
    files_ending(site_packages, ".dist-info")
}

/// Name and version, from METADATA, else from the folder's name (`NAME-VERSION.dist-info`).
pub fn identity(dist_info: &Path) -> (String, String) {
    let folder = dist_info.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (folder_name, folder_version) = folder.split_once('-').unwrap_or((&folder, ""));
    let metadata = fs::read(dist_info.join("METADATA")).unwrap_or_default();
    let metadata = String::from_utf8_lossy(&metadata);
    let headers = || metadata.lines().take_while(|line| !line.is_empty());
    let header = |key: &str| headers().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_string());
    let name = header("Name:").unwrap_or_else(|| folder_name.replace('_', "-"));
    (name, header("Version:").unwrap_or_else(|| folder_version.to_string()))
}

/// The site-packages folder that a file was installed into: the nearest folder above it with dist-info folders in it.
pub fn site_packages_of(file: &Path) -> Option<&Path> {
    file.ancestors().skip(1).take(6).find(|folder| !dist_infos(folder).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_found_through_record() {
        let site = tempfile::tempdir().unwrap();
        let dist_info = site.path().join("ai_dynamo_runtime-1.6.1.dist-info");
        fs::create_dir(&dist_info).unwrap();
        fs::write(dist_info.join("RECORD"), "dynamo/nixl_connect/__init__.py,sha256=a,1\n").unwrap();
        let found = owners(site.path(), "dynamo/nixl_connect/__init__.py");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].version.as_str()), ("ai-dynamo-runtime", "1.6.1"));
        assert!(owners(site.path(), "dynamo/other.py").is_empty());
        let file = site.path().join("dynamo/nixl_connect/__init__.py");
        assert_eq!(site_packages_of(&file), Some(site.path()));
    }
}
