//! `.cargo-checksum.json` of a vendored package, by which Cargo refuses a source that was changed.
//!
//! ```text
//! {"files":{"Cargo.toml":"5ef0…","src/lib.rs":"92d1…"},"package":"69a2…"}
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use serde::Deserialize;

use super::package::Package;
use crate::shown::Shown;
use crate::source::{marker, regular};

/// The file's name.
const NAME: &str = ".cargo-checksum.json";

/// The checksums of a package, and the line of one file in them.
#[derive(Clone, Debug)]
pub(crate) struct Checksum {
    /// The file with the checksums.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
    /// The source's name in it, relative to the package.
    pub entry: String,
}

#[derive(Deserialize)]
struct Document {
    files: std::collections::HashMap<String, String>,
}

impl Checksum {
    /// The checksum of a source of a package; None where the package has none, or not that one.
    ///
    /// # Errors
    /// When the checksums cannot be read: they may list the source.
    pub(crate) fn of(package: &Package, source: &Path) -> Result<Option<Self>> {
        let path = package.root.join(NAME);
        if !path.exists() {
            return Ok(None);
        }
        let absolute = std::path::absolute(source).unwrap_or_else(|_| source.to_path_buf());
        let Some(entry) = absolute.strip_prefix(&package.root).ok().and_then(Path::to_str) else { return Ok(None) };
        let checksum = Checksum { bytes: regular::read(&path)?, path, entry: entry.to_string() };
        Ok(checksum.listed(&checksum.bytes)?.map(|_| checksum))
    }

    /// Whether the checksums have that of this content.
    pub(crate) fn agrees(&self, content: &[u8]) -> bool {
        self.listed(&self.bytes).is_ok_and(|listed| listed == Some(marker::sha256(content)))
    }

    /// Other bytes of the checksums, with the source's replaced by that of `content`. All else stays.
    ///
    /// # Errors
    /// When they are not what they were, or have the old one in an unusual way.
    pub(crate) fn with_content(&self, bytes: &[u8], content: &[u8]) -> Result<Vec<u8>> {
        let Some(old) = self.listed(bytes)? else {
            bail!("{}: no longer lists `{}`; nothing was changed", self.path.shown(), self.entry);
        };
        let text = std::str::from_utf8(bytes)?;
        let key = serde_json::to_string(&self.entry)?;
        // The key, a colon with blanks, the checksum.
        let at = text.find(&key).map(|at| at + key.len()).and_then(|after| Some(after + text[after..].find(&old)?));
        let Some(at) = at.filter(|_| text.matches(&key).count() == 1) else {
            bail!("{}: the checksum of `{}` cannot be replaced; nothing was changed", self.path.shown(), self.entry);
        };
        Ok([&text[..at], &marker::sha256(content), &text[at + old.len()..]].concat().into_bytes())
    }

    fn listed(&self, bytes: &[u8]) -> Result<Option<String>> {
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| anyhow!("{}: not the checksums of a package: {error}", self.path.shown()))?;
        Ok(document.files.get(&self.entry).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_checksum_changes_and_changes_back() {
        let folder = tempfile::tempdir().unwrap();
        let old =
            format!("{{\"files\":{{\"a.rs\":\"{0}\",\"b.rs\": \"{0}\"}},\"package\":\"9\"}}", marker::sha256(b"x"));
        std::fs::write(folder.path().join(NAME), &old).unwrap();
        let package = Package { root: folder.path().to_path_buf(), name: "p".into(), version: None };
        let checksum = Checksum::of(&package, &folder.path().join("b.rs")).unwrap().unwrap();
        assert!(checksum.agrees(b"x") && !checksum.agrees(b"y"));
        let new = checksum.with_content(&checksum.bytes, b"y").unwrap();
        let expected = old.replacen(&marker::sha256(b"x"), &marker::sha256(b"y"), 2).replacen(
            &marker::sha256(b"y"),
            &marker::sha256(b"x"),
            1,
        );
        assert_eq!(String::from_utf8(new.clone()).unwrap(), expected);
        assert_eq!(checksum.with_content(&new, b"x").unwrap(), old.as_bytes());
        assert!(Checksum::of(&package, &folder.path().join("c.rs")).unwrap().is_none());
    }
}
