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

use crate::shown::Shown;
use crate::source::regular;

/// U+FEFF in UTF-8, which some editors write first.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
    /// The fields after the path, as a byte range of RECORD without the line terminator.
    rest: std::ops::Range<usize>,
    /// The path, as it is written.
    path: Vec<u8>,
    /// `sha256=` and URL-safe base64 without padding; empty for files that may change, such as RECORD itself.
    hash: String,
    /// The file's size in bytes, as text; may be empty.
    size: String,
    /// How many fields there are.
    fields: usize,
}

impl Record {
    /// Reads a RECORD.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Ok(Record { path: path.to_path_buf(), bytes: regular::read(path)? })
    }

    /// The paths in it that end with `ending`, as RECORD has them. Some installers on Windows wrote backslashes.
    pub(crate) fn entries_ending(&self, ending: &[u8]) -> Vec<Vec<u8>> {
        // Parsing is slow: some RECORDs have tens of thousands of lines, and most have no such path.
        let mut segments = ending.rsplit(|byte| *byte == b'/');
        let part = segments.find(|segment| *segment != b"__init__.py").unwrap_or(ending);
        // vLLM's `nixl_connector.py` is no `nixl_connect`.
        let is_whole = |at: usize| {
            matches!(self.bytes.get(at + part.len()), None | Some(b'/' | b'\\' | b',' | b'"' | b'\r' | b'\n'))
        };
        if !memchr::memmem::find_iter(&self.bytes, part).any(is_whole) {
            return Vec::new();
        }
        let mut entries: Vec<Vec<u8>> = self.entries().collect();
        entries.retain(|path| normal(path).ends_with(ending));
        entries.sort();
        entries.dedup();
        entries
    }

    /// The paths, as written.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Vec<u8>> {
        self.lines().map(|line| line.path)
    }

    /// Its bytes with every line for `entry` updated to `content`. A line without a hash stays as it is.
    ///
    /// # Errors
    /// When a line has a hash of an unsupported algorithm, or is not one of RECORD's.
    pub(crate) fn with_content(&self, entry: &[u8], content: &[u8]) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut copied = 0;
        for line in self.lines().filter(|line| line.path == entry && !line.hash.is_empty()) {
            bytes.extend_from_slice(&self.bytes[copied..line.rest.start]);
            bytes.extend_from_slice(&self.updated(&line, content)?);
            copied = line.rest.end;
        }
        bytes.extend_from_slice(&self.bytes[copied..]);
        Ok(bytes)
    }

    /// A line's fields after the path, for this content, quoted as they were.
    fn updated(&self, line: &Line, content: &[u8]) -> Result<Vec<u8>> {
        let path = self.path.shown();
        let algorithm = line.hash.split_once('=').map_or("", |(algorithm, _)| algorithm);
        let hash = hash(algorithm, content).with_context(|| {
            let (entry, hash) = (String::from_utf8_lossy(&line.path), &line.hash);
            format!("{path}: unsupported hash `{hash}` for `{entry}`; supported: sha256, sha384, sha512")
        })?;
        let rest = &self.bytes[line.rest.clone()];
        let (old_hash, old_size) = rest
            .strip_prefix(b",")
            .and_then(|fields| fields.split_at_checked(fields.iter().position(|byte| *byte == b',')?))
            .filter(|_| line.fields == 3)
            .with_context(|| {
                format!("{path}: the line for `{}` has not three fields", String::from_utf8_lossy(&line.path))
            })?;
        let quoted =
            |field: &[u8], text: &str| if field.starts_with(b"\"") { format!("\"{text}\"") } else { text.into() };
        let size = if line.size.is_empty() { String::new() } else { content.len().to_string() };
        let (hash, size) = (quoted(old_hash, &hash), quoted(&old_size[1..], &size));
        Ok(format!(",{hash},{size}").into_bytes())
    }

    /// Whether every line for `entry` that has a hash has that of `content`.
    pub(crate) fn agrees(&self, entry: &[u8], content: &[u8]) -> bool {
        self.with_content(entry, content).is_ok_and(|bytes| bytes == self.bytes)
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(self.bytes.as_slice());
        std::iter::from_fn(move || {
            let mut row = csv::ByteRecord::new();
            let start = reader.position().byte() as usize;
            if !reader.read_byte_record(&mut row).ok()? {
                return None;
            }
            let end = reader.position().byte() as usize;
            Some(self.line(&row, start..end))
        })
    }

    fn line(&self, row: &csv::ByteRecord, range: std::ops::Range<usize>) -> Line {
        let text = |index: usize| row.get(index).map(|field| String::from_utf8_lossy(field).into_owned());
        let field = |index| text(index).unwrap_or_default();
        let raw = &self.bytes[range.clone()];
        // csv skips blank lines before a record.
        let blank = raw.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(raw.len());
        let start = range.start + blank;
        let mark = if start == 0 && raw.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let ended = raw.iter().rev().take_while(|byte| b"\r\n".contains(byte)).count();
        let end = (range.end - ended).max(start);
        let path_end = start + mark + path_length(&self.bytes[start + mark..end]);
        let path = row.get(0).unwrap_or_default();
        Line {
            rest: path_end..end,
            path: unquoted(path.strip_prefix(BYTE_ORDER_MARK).unwrap_or(path)).to_vec(),
            hash: field(1),
            size: field(2),
            fields: row.len(),
        }
    }
}

/// The length of a line's first field, quotes included.
fn path_length(line: &[u8]) -> usize {
    let mut quoted = false;
    let end = line.iter().position(|byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    end.unwrap_or(line.len())
}

/// A quoted field behind a byte-order mark, which the reader does not take for one.
fn unquoted(field: &[u8]) -> &[u8] {
    field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\"")).unwrap_or(field)
}

/// A path with slashes, without empty segments and dots.
pub(crate) fn normal(path: &[u8]) -> Vec<u8> {
    let slashes: Vec<u8> = path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
    let segments = slashes.split(|byte| *byte == b'/').enumerate();
    // An absolute path begins with an empty one.
    let is_kept = |number: usize, segment: &[u8]| segment != b"." && (number == 0 || !segment.is_empty());
    let kept: Vec<&[u8]> = segments.filter(|(number, segment)| is_kept(*number, segment)).map(|(_, it)| it).collect();
    kept.join(&b'/')
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
            for entry in [&b"b,c.py"[..], b"d.py"] {
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
        let bytes = record("x.py,sha256=,0").with_content(b"x.py", b"").unwrap();
        assert_eq!(bytes, b"x.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0");
    }

    #[test]
    fn lines_without_a_hash_stay_and_unknown_hashes_are_refused() {
        assert_eq!(record("x.py,,\n").with_content(b"x.py", b"1").unwrap(), b"x.py,,\n");
        assert!(
            record("x.py,md4=abc,3\n")
                .with_content(b"x.py", b"1")
                .is_err_and(|error| error.to_string().contains("`md4=abc`"))
        );
        assert_eq!(record("y/x.py,,\nx.pyc,,\n").entries_ending(b"x.py"), [b"y/x.py"]);
        let beside = record("v/nixl_connector.py,,\n\"d/nixl_connect\\__init__.py\",,\n");
        assert_eq!(beside.entries_ending(b"nixl_connect/__init__.py"), [b"d/nixl_connect\\__init__.py"]);
    }

    #[test]
    fn every_way_to_write_a_line_is_kept() {
        for text in [
            "\u{feff}x/a.py,sha256=y,1\n",
            "\"x/a.py\",\"sha256=y\",\"1\"\r\n",
            "x\\a.py,sha256=y,1",
            "\n\nx/a.py,sha256=y,1\n\nx/a.py,sha256=z,2\n",
            "x/a.py,sha256=y,\n",
            "x/./a.py,sha256=y,1\n",
            "./x//a.py,sha256=y,1\n",
        ] {
            let old = record(text);
            let entries = old.entries_ending(b"x/a.py");
            assert_eq!(entries.len(), 1, "{text}");
            let new = old.with_content(&entries[0], b"1234567").unwrap();
            let new = Record { path: "R".into(), bytes: new };
            assert!(new.agrees(&entries[0], b"1234567") && !new.agrees(&entries[0], b"other"), "{new:?}");
            assert_eq!(new.with_content(&entries[0], b"1234567").unwrap(), new.bytes);
            let strip = |bytes: &[u8]| {
                String::from_utf8_lossy(bytes).replace(|c: char| c.is_alphanumeric() || "-_=".contains(c), "")
            };
            assert_eq!(strip(&new.bytes), strip(&old.bytes), "only the hash and the size change");
        }
        let odd = record("a.py,sha256=x,1,sha256=x,1\n").with_content(b"a.py", b"1");
        assert!(odd.is_err_and(|error| error.to_string().contains("not three fields")));
    }
}
