//! The comment that the tool leaves in a file it has rewritten: enough to know it again and to undo it exactly.
//!
//! ```text
//! # >>> nixl-retrofit 0.1.0 default=UCX allow=UCX,LIBFABRIC on-unknown=fallback env-var=NIXL_BACKEND
//! # >>> original sha256=… inserted=1187+001893,23456+71
//! ```
//!
//! `inserted` lists, in the original's bytes, where something was put in and how much.

use sha2::{Digest, Sha256};

use super::edit::{self, InsertedSpan};

const FIRST: &str = "# >>> nixl-retrofit ";
const SECOND: &str = "# >>> original sha256=";
/// The line after what is inserted at module level.
pub(crate) const LAST: &str = "# <<< nixl-retrofit";
/// Digits of the helper's length, which is written before it is known.
const LENGTH_DIGITS: usize = 6;

/// A marker, as read from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The version of the tool that wrote it.
    pub version: String,
    /// The options, as the marker writes them.
    pub options: String,
    /// Of the original, in hexadecimal digits.
    pub sha256: String,
    /// What was inserted.
    pub inserted: Vec<InsertedSpan>,
}

/// A digest in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The marker's lines, each with `\n`. `spans` are those of the calls; the helper's own is `helper`, and its length is
/// a number of fixed width, since the marker is part of it.
pub(crate) fn lines(
    version: &str,
    options: &str,
    sha256: &str,
    helper: InsertedSpan,
    spans: &[InsertedSpan],
) -> String {
    let helper_span = (helper, format!("{}+{:0width$}", helper.offset, helper.length, width = LENGTH_DIGITS));
    let mut all: Vec<(InsertedSpan, String)> = spans.iter().map(|span| (*span, span.to_string())).collect();
    all.push(helper_span);
    all.sort_by_key(|(span, _)| span.offset);
    let inserted: Vec<String> = all.into_iter().map(|(_, text)| text).collect();
    format!("{FIRST}{version} {options}\n{SECOND}{} inserted={}\n", sha256, inserted.join(","))
}

impl Marker {
    /// The marker in a file, if there is one.
    pub(crate) fn find(bytes: &[u8]) -> Option<Self> {
        memchr::memmem::find_iter(bytes, FIRST.as_bytes())
            .filter(|&at| at == 0 || bytes[at - 1] == b'\n' || bytes[at - 1] == b'\r')
            .find_map(|at| Marker::read(&bytes[at..]))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut lines = bytes.split(|&byte| byte == b'\n').map(|line| std::str::from_utf8(line).ok());
        let first = lines.next()??.trim_end_matches('\r').strip_prefix(FIRST)?;
        let second = lines.next()??.trim_end_matches('\r').strip_prefix(SECOND)?;
        let (version, options) = first.split_once(' ')?;
        let (sha256, inserted) = second.split_once(" inserted=")?;
        let inserted: Option<Vec<InsertedSpan>> = inserted.split(',').map(span).collect();
        let marker =
            Marker { version: version.into(), options: options.into(), sha256: sha256.into(), inserted: inserted? };
        marker.inserted.is_sorted_by_key(|span| span.offset).then_some(marker)
    }

    /// The original bytes, where taking out what was inserted gives a file with the original's SHA-256.
    pub(crate) fn original(&self, patched: &[u8]) -> Option<Vec<u8>> {
        edit::remove(patched, &self.inserted).filter(|original| sha256(original) == self.sha256)
    }
}

fn span(text: &str) -> Option<InsertedSpan> {
    let (offset, length) = text.split_once('+')?;
    Some(InsertedSpan { offset: offset.parse().ok()?, length: length.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let helper = InsertedSpan { offset: 5, length: 77 };
        let call = InsertedSpan { offset: 2, length: 3 };
        let text = lines("0.1.0", "default=UCX", "abc", helper, &[call]);
        let marker = Marker::find(format!("x\n{text}y\n").as_bytes()).unwrap();
        assert_eq!(marker.version, "0.1.0");
        assert_eq!(marker.options, "default=UCX");
        assert_eq!(marker.inserted, [call, helper]);
        assert!(text.contains("inserted=2+3,5+000077\n"));
        assert_eq!(Marker::find(format!("x = '{text}'").as_bytes()), None, "in the middle of a line");
        assert_eq!(Marker::find(b"# >>> nixl-retrofit 0.1.0 x\n# something else\n"), None);
    }
}
