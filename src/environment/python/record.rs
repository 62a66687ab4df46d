//! A distribution's RECORD: the files that it installed, with hashes.
//!
//! Source: "Recording installed projects", packaging.python.org/specifications/recording-installed-packages. Two lines
//! of ai-dynamo-runtime's:
//!
//! ```text
//! ai_dynamo_runtime-1.6.1.dist-info/RECORD,,
//! dynamo/nixl_connect/__init__.py,sha256=4C1…,76402
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A RECORD file.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Its path.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// One line of a RECORD: a file, its hash and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// The line's byte range in RECORD, including the line terminator.
    start: usize,
    end: usize,
    /// `sha256=` and URL-safe base64 without padding; empty for files that may change, such as RECORD itself.
    hash: String,
    /// The file's size in bytes, as text; may be empty.
    size: String,
}

impl Record {
    /// Reads a RECORD.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        Ok(Record { path: path.to_path_buf(), bytes })
    }

    /// The paths in it that end with `ending`, as RECORD has them.
    pub(crate) fn entries_ending(&self, ending: &str) -> Vec<String> {
        // Parsing is slow: some RECORDs have tens of thousands of lines, and most have no such path.
        if memchr::memmem::find(&self.bytes, ending.as_bytes()).is_none() {
            return Vec::new();
        }
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&self.bytes[..]);
        let rows = reader.byte_records().filter_map(Result::ok);
        let paths = rows.filter_map(|row| row.get(0).map(|path| String::from_utf8_lossy(path).into_owned()));
        paths.filter(|path| path.ends_with(ending)).collect()
    }

    /// Its bytes with the line for `entry` updated to `content`. A line without a hash stays as it is.
    ///
    /// # Errors
    /// When the line has a hash of an unsupported algorithm, or unsupported quoting.
    pub(crate) fn with_content(&self, entry: &str, content: &[u8]) -> Result<Vec<u8>> {
        let Some(line) = self.line(entry).filter(|line| !line.hash.is_empty()) else { return Ok(self.bytes.clone()) };
        let algorithm = line.hash.split_once('=').map_or("", |(algorithm, _)| algorithm);
        let hash = hash(algorithm, content).with_context(|| {
            let (path, hash) = (self.path.display(), &line.hash);
            format!("{path}: unsupported hash `{hash}` for `{entry}`; supported: sha256, sha384, sha512")
        })?;
        let size = if line.size.is_empty() { String::new() } else { content.len().to_string() };
        let old = &self.bytes[line.start..line.end];
        let tail = format!(",{},{}", line.hash, line.size);
        let at = memchr::memmem::rfind(old, tail.as_bytes())
            .with_context(|| format!("{}: unsupported quoting in the line for `{entry}`", self.path.display()))?;
        let mut bytes = self.bytes[..line.start + at].to_vec();
        bytes.extend_from_slice(format!(",{hash},{size}").as_bytes());
        bytes.extend_from_slice(&self.bytes[line.start + at + tail.len()..]);
        Ok(bytes)
    }

    fn line(&self, entry: &str) -> Option<Line> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&self.bytes[..]);
        let mut row = csv::ByteRecord::new();
        loop {
            let start = reader.position().byte() as usize;
            if !reader.read_byte_record(&mut row).ok()? {
                return None;
            }
            if row.get(0) == Some(entry.as_bytes()) {
                let field =
                    |index| row.get(index).map(|field| String::from_utf8_lossy(field).into_owned()).unwrap_or_default();
                return Some(Line { start, end: reader.position().byte() as usize, hash: field(1), size: field(2) });
            }
        }
    }
}

fn hash(algorithm: &str, content: &[u8]) -> Option<String> {
    let digest = match algorithm {
        "sha256" => Sha256::digest(content).to_vec(),
        "sha384" => Sha384::digest(content).to_vec(),
        "sha512" => Sha512::digest(content).to_vec(),
        _ => return None,
    };
    Some(format!("{algorithm}={}", URL_SAFE_NO_PAD.encode(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        Record { path: "RECORD".into(), bytes: text.into() }
    }

    #[test]
    fn one_line_changes_and_changes_back_exactly() {
        for newline in ["\n", "\r\n"] {
            let text = ["a.py,,", "\"b,c.py\",sha256=x,1", "d.py,sha256=y,2", ""].join(newline);
            for entry in ["b,c.py", "d.py"] {
                let original = record(&text).with_content(entry, b"old").unwrap();
                let changed =
                    record(&String::from_utf8(original.clone()).unwrap()).with_content(entry, b"longer").unwrap();
                assert_ne!(original, changed);
                assert!(String::from_utf8_lossy(&changed).contains(",6"), "{changed:?}");
                assert_eq!(Record { path: "R".into(), bytes: changed }.with_content(entry, b"old").unwrap(), original);
            }
        }
    }

    #[test]
    fn the_hash_is_urlsafe_base64_without_padding() {
        let bytes = record("x.py,sha256=,0").with_content("x.py", b"").unwrap();
        assert_eq!(bytes, b"x.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0");
    }

    #[test]
    fn lines_without_a_hash_stay_and_unknown_hashes_are_refused() {
        assert_eq!(record("x.py,,\n").with_content("x.py", b"1").unwrap(), b"x.py,,\n");
        assert!(
            record("x.py,md4=abc,3\n")
                .with_content("x.py", b"1")
                .is_err_and(|error| error.to_string().contains("`md4=abc`"))
        );
        assert_eq!(record("y/x.py,,\nx.pyc,,\n").entries_ending("x.py"), ["y/x.py"]);
    }
}
