//! The comment left in a rewritten file: enough to recognize the file and to restore its original exactly.
//!
//! ```text
//! # >>> nixl-retrofit 0.1.0 default=UCX allow=UCX,LIBFABRIC on-unknown=fallback env-var=NIXL_BACKEND
//! # >>> original sha256=… inserted=1187+001893,23456+71
//! ```
//!
//! `inserted` lists the insertions: offset in the original and length, both in bytes of the file as stored.

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::edit::{self, InsertedSpan};
use super::offset::ByteOffset;

/// What the marker's first line has after the comment's beginning.
pub(crate) const FIRST: &str = ">>> nixl-retrofit ";
const SECOND: &str = ">>> original sha256=";
const LAST: &str = "<<< nixl-retrofit";
/// The most comments in a file that may look like markers: its own, and copies of others.
const MOST: usize = 16;
/// Digits of the helper's length: a fixed number, since the length counts the digits themselves. The second is for code
/// with so many insertions that their list takes a megabyte.
const LENGTH_DIGITS: [usize; 2] = [6, 12];
/// The first length that the fewer digits do not hold.
const LONG: usize = 1_000_000;

/// How a language begins a comment that ends with its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comment {
    /// Python's.
    Hash,
    /// Rust's.
    Slashes,
}

impl Comment {
    fn prefix(self) -> &'static str {
        match self {
            Comment::Hash => "# ",
            Comment::Slashes => "// ",
        }
    }
}

/// A marker, as read from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The version of nixl-retrofit that wrote it.
    pub version: String,
    /// The rule, as `Rule` displays it.
    pub options: String,
    /// The original's SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// The insertions, sorted by offset.
    pub inserted: Vec<InsertedSpan<ByteOffset>>,
}

/// The SHA-256 of `bytes`, in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The marker's lines, each with `\n`. `calls` are the insertions into calls; `helper` is the inserted code that the
/// marker itself belongs to.
pub(crate) fn lines(
    comment: Comment,
    version: &str,
    options: &str,
    sha256: &str,
    helper: InsertedSpan<ByteOffset>,
    calls: &[InsertedSpan<ByteOffset>],
) -> String {
    let mut all: Vec<(InsertedSpan<ByteOffset>, usize)> = calls.iter().map(|span| (*span, 0)).collect();
    all.push((helper, digits(helper.length)));
    all.sort_by_key(|(span, _)| span.offset);
    let (mut inserted, mut number) = (String::new(), itoa::Buffer::new());
    for (span, width) in all {
        if !inserted.is_empty() {
            inserted.push(',');
        }
        inserted.push_str(number.format(span.offset.0));
        inserted.push('+');
        let length = number.format(span.length);
        inserted.extend(std::iter::repeat_n('0', width.saturating_sub(length.len())));
        inserted.push_str(length);
    }
    let prefix = comment.prefix();
    format!("{prefix}{FIRST}{version} {options}\n{prefix}{SECOND}{sha256} inserted={inserted}\n")
}

/// The last of the lines inserted at module level, without a newline.
pub(crate) fn last(comment: Comment) -> String {
    format!("{}{LAST}", comment.prefix())
}

fn digits(length: usize) -> usize {
    LENGTH_DIGITS[usize::from(length >= LONG)]
}

/// The marker of a patched file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    /// The marker.
    pub marker: Marker,
    /// The original that it leads back to; None where the file was edited since.
    pub original: Option<Vec<u8>>,
}

/// A file has more comments that look like markers than it can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "more than {MOST} comments look like markers of nixl-retrofit\n\
     help: reinstall the distribution to get the original, then run `apply` again"
)]
pub(crate) struct TooManyMarkers;

impl Marker {
    /// Everything in a file that looks like a marker, with its offset. A string can contain one too.
    pub(crate) fn all(bytes: &[u8], comment: Comment) -> Vec<(usize, Self)> {
        let first = format!("{}{FIRST}", comment.prefix());
        memchr::memmem::find_iter(bytes, first.as_bytes())
            .filter(|&at| at == 0 || bytes[at - 1] == b'\n' || bytes[at - 1] == b'\r')
            .filter_map(|at| Some((at, Marker::read(&bytes[at..], comment)?)))
            .collect()
    }

    fn read(bytes: &[u8], comment: Comment) -> Option<Self> {
        let mut lines = bytes.split(|&byte| byte == b'\n').map(|line| std::str::from_utf8(line).ok());
        let mut next =
            |start| lines.next()??.trim_end_matches('\r').strip_prefix(comment.prefix())?.strip_prefix(start);
        let first = next(FIRST)?;
        let second = next(SECOND)?;
        let (version, options) = first.split_once(' ')?;
        let (sha256, inserted) = second.split_once(" inserted=")?;
        let inserted: Option<Vec<_>> = inserted.split(',').map(span).collect();
        let marker =
            Marker { version: version.into(), options: options.into(), sha256: sha256.into(), inserted: inserted? };
        marker.inserted.is_sorted_by_key(|span| span.offset).then_some(marker)
    }

    /// A file's own one of the markers in it.
    ///
    /// # Errors
    /// Where there are more than a file ever has: each one takes time for the whole file.
    pub(crate) fn own(markers: impl Iterator<Item = Self>, patched: &[u8]) -> Result<Option<Own>, TooManyMarkers> {
        let markers: Vec<Self> = markers.take(MOST + 1).collect();
        if markers.len() > MOST {
            return Err(TooManyMarkers);
        }
        let intact = markers.iter().find_map(|marker| Some((marker, marker.original(patched)?)));
        Ok(match intact {
            Some((marker, original)) => Some(Own { marker: marker.clone(), original: Some(original) }),
            None => markers.into_iter().next().map(|marker| Own { marker, original: None }),
        })
    }

    /// The environment variable that the inserted code reads.
    pub(crate) fn variable(&self) -> Option<&str> {
        self.options.split(' ').find_map(|option| option.strip_prefix("env-var="))
    }

    /// The original bytes: `patched` without the insertions, where that has the original's SHA-256.
    pub(crate) fn original(&self, patched: &[u8]) -> Option<Vec<u8>> {
        edit::remove(patched, &self.inserted).filter(|original| sha256(original) == self.sha256)
    }
}

/// Whether the marker in `patched` that has this SHA-256 leads back to `original`.
pub(crate) fn leads_back(patched: &[u8], comment: Comment, sha256: &str, original: &[u8]) -> bool {
    let marker = Marker::all(patched, comment).into_iter().map(|(_, marker)| marker).find(|it| it.sha256 == sha256);
    marker.is_some_and(|marker| edit::leaves(patched, &marker.inserted, original))
}

fn span(text: &str) -> Option<InsertedSpan<ByteOffset>> {
    let (offset, length) = text.split_once('+')?;
    Some(InsertedSpan { offset: ByteOffset(offset.parse().ok()?), length: length.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let helper = InsertedSpan { offset: ByteOffset(5), length: 77 };
        let call = InsertedSpan { offset: ByteOffset(2), length: 3 };
        for comment in [Comment::Hash, Comment::Slashes] {
            let text = lines(comment, "0.1.0", "default=UCX", "abc", helper, &[call]);
            let marker = Marker::all(format!("x\n{text}y\n").as_bytes(), comment).remove(0).1;
            assert_eq!(marker.version, "0.1.0");
            assert_eq!(marker.options, "default=UCX");
            assert_eq!(marker.inserted, [call, helper]);
            assert!(text.contains("inserted=2+3,5+000077\n"));
            assert_eq!(Marker::all(format!("x = '{text}'").as_bytes(), comment), [], "in the middle of a line");
        }
        assert_eq!(Marker::all(b"# >>> nixl-retrofit 0.1.0 x\n# something else\n", Comment::Hash), []);
        let text = lines(Comment::Hash, "0.1.0", "default=UCX", "abc", helper, &[call]);
        assert_eq!(Marker::all(text.as_bytes(), Comment::Slashes), [], "another language's");
    }

    #[test]
    fn of_several_markers_the_one_that_leads_back_counts() {
        let helper = InsertedSpan { offset: ByteOffset(2), length: 3 };
        let marker = |sha256: &str| {
            let text = lines(Comment::Hash, "0.1.0", "default=UCX", sha256, helper, &[]);
            Marker::all(text.as_bytes(), Comment::Hash).remove(0).1
        };
        let (other, own) = (marker("abc"), marker(&sha256(b"x\ny\n")));
        let patched = b"x\n---y\n";
        let found = |markers: Vec<Marker>| Marker::own(markers.into_iter(), patched);
        assert_eq!(
            found(vec![other.clone(), own.clone()]),
            Ok(Some(Own { marker: own.clone(), original: Some(b"x\ny\n".to_vec()) }))
        );
        assert_eq!(found(vec![other.clone(), other.clone()]), Ok(Some(Own { marker: other.clone(), original: None })));
        assert_eq!(found(vec![]), Ok(None));
        assert_eq!(found([vec![other; MOST], vec![own]].concat()), Err(TooManyMarkers));
    }
}
