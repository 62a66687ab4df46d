//! A distribution's RECORD: what it installed, with hashes.
//!
//! Source: «Recording installed projects», packaging.python.org/specifications/recording-installed-packages. Two lines
//! of a real one, of ai-dynamo-runtime:
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

/// A RECORD file, as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// One line of a RECORD: a file, its hash and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// Where the line is in RECORD, in bytes, its end of line included.
    start: usize,
    end: usize,
    /// `sha256=` and urlsafe base64 without padding; empty for files that change, such as RECORD itself.
    hash: String,
    /// In bytes; may be empty.
    size: String,
}

impl Record {
    /// Reads a RECORD.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        Ok(Record { path: path.to_path_buf(), bytes })
    }

    /// The paths in it that end with `ending`, as RECORD writes them.
    pub(crate) fn entries_ending(&self, ending: &str) -> Vec<String> {
        // Most RECORDs have no such line, and some have tens of thousands of others.
        if memchr::memmem::find(&self.bytes, ending.as_bytes()).is_none() {
            return Vec::new();
        }
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&self.bytes[..]);
        let rows = reader.byte_records().filter_map(Result::ok);
        let paths = rows.filter_map(|row| row.get(0).map(|path| String::from_utf8_lossy(path).into_owned()));
        paths.filter(|path| path.ends_with(ending)).collect()
    }

    /// Its bytes once `entry` has the content `content`. The same bytes where the line has no hash, or is right.
    ///
    /// # Errors
    /// Where the line's hash is of a kind that this program does not know: it could not be kept right.
    pub(crate) fn with_content(&self, entry: &str, content: &[u8]) -> Result<Vec<u8>> {
        let Some(line) = self.line(entry).filter(|line| !line.hash.is_empty()) else { return Ok(self.bytes.clone()) };
        let algorithm = line.hash.split_once('=').map_or("", |(algorithm, _)| algorithm);
        let hash = hash(algorithm, content)
            .with_context(|| format!("{}: «{}» for {entry} is no hash known here", self.path.display(), line.hash))?;
        let size = if line.size.is_empty() { String::new() } else { content.len().to_string() };
        let old = &self.bytes[line.start..line.end];
        let tail = format!(",{},{}", line.hash, line.size);
        let at = memchr::memmem::rfind(old, tail.as_bytes()).with_context(|| {
            format!("{}: the line for {entry} is quoted in a way not known here", self.path.display())
        })?;
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
    fn one_line_changes_and_the_way_back_is_exact() {
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
    fn the_hash_is_the_specifications() {
        let bytes = record("x.py,sha256=,0").with_content("x.py", b"").unwrap();
        assert_eq!(bytes, b"x.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0");
    }

    #[test]
    fn lines_without_a_hash_stay_and_unknown_hashes_are_refused() {
        assert_eq!(record("x.py,,\n").with_content("x.py", b"1").unwrap(), b"x.py,,\n");
        assert!(record("x.py,md4=abc,3\n").with_content("x.py", b"1").is_err());
        assert_eq!(record("y/x.py,,\nx.pyc,,\n").entries_ending("x.py"), ["y/x.py"]);
    }
}
