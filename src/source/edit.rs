//! Insertions and how to undo them. Everything outside them keeps its bytes.

use std::borrow::Borrow;
use std::fmt;

use super::offset::{ByteOffset, Offset, TextOffset};

/// Something inserted into the original; nothing is ever removed from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Insertion<O: Offset> {
    /// Offset in the original.
    pub offset: O,
    /// What is inserted there.
    pub content: O::Owned,
}

impl<O: Offset> Insertion<O> {
    /// An insertion of `content` at `offset`.
    pub(crate) fn new(offset: O, content: impl Into<O::Owned>) -> Self {
        Insertion { offset, content: content.into() }
    }

    /// Its place and length.
    pub(crate) fn span(&self) -> InsertedSpan<O> {
        let content: &[u8] = self.content.as_ref();
        InsertedSpan { offset: self.offset, length: content.len() }
    }
}

/// Where an insertion was made: enough to remove it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InsertedSpan<O> {
    /// Offset in the original.
    pub offset: O,
    /// Length of what was inserted, in the unit of `offset`.
    pub length: usize,
}

/// As a marker writes it: `23456+71`.
impl fmt::Display for InsertedSpan<ByteOffset> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.offset.0, self.length)
    }
}

/// The original with the insertions made. They must be sorted by offset and lie inside the original.
pub(crate) fn insert<O: Offset>(original: &O::Slice, insertions: &[Insertion<O>]) -> O::Owned {
    let mut pieces: Vec<&O::Slice> = Vec::with_capacity(2 * insertions.len() + 1);
    let mut copied = 0;
    for insertion in insertions {
        pieces.push(&original[copied..insertion.offset.index()]);
        pieces.push(insertion.content.borrow());
        copied = insertion.offset.index();
    }
    pieces.push(&original[copied..]);
    O::concat(&pieces)
}

/// The file without what was inserted, or None where the spans do not fit it.
pub(crate) fn remove(patched: &[u8], spans: &[InsertedSpan<ByteOffset>]) -> Option<Vec<u8>> {
    let mut result = Vec::with_capacity(patched.len());
    let mut position = 0usize;
    for span in spans {
        let keep = span.offset.0.checked_sub(result.len())?;
        result.extend_from_slice(patched.get(position..position.checked_add(keep)?)?);
        position = position.checked_add(keep)?.checked_add(span.length)?;
    }
    result.extend_from_slice(patched.get(position..)?);
    Some(result)
}

/// Maps an offset in the patched text to the original; one inside an insertion to the insertion's own.
pub(crate) fn original_offset(patched: TextOffset, spans: &[InsertedSpan<TextOffset>]) -> TextOffset {
    let mut inserted = 0;
    for span in spans {
        let start = span.offset + inserted;
        if patched <= start {
            break;
        }
        if patched < start + span.length {
            return span.offset;
        }
        inserted += span.length;
    }
    TextOffset(patched.0 - inserted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insertions<O: Offset<Owned: for<'a> From<&'a str>>>(offset: impl Fn(usize) -> O) -> Vec<Insertion<O>> {
        vec![Insertion::new(offset(0), "<"), Insertion::new(offset(3), "--"), Insertion::new(offset(6), ">")]
    }

    #[test]
    fn removal_undoes_insertion() {
        let insertions = insertions(ByteOffset);
        let spans: Vec<_> = insertions.iter().map(Insertion::span).collect();
        let patched = insert(b"abcdef".as_slice(), &insertions);
        assert_eq!(patched, b"<abc--def>");
        assert_eq!(remove(&patched, &spans).as_deref(), Some(&b"abcdef"[..]));
    }

    #[test]
    fn spans_that_do_not_fit_are_refused() {
        let span = |offset, length| InsertedSpan { offset: ByteOffset(offset), length };
        assert_eq!(remove(b"abc", &[span(9, 1)]), None);
        assert_eq!(remove(b"abc", &[span(1, 9)]), None);
        assert_eq!(remove(b"abc", &[span(2, 0), span(1, 0)]), None);
        assert_eq!(remove(b"abc", &[span(1, usize::MAX)]), None);
    }

    #[test]
    fn offsets_map_back() {
        let insertions = insertions(TextOffset);
        let spans: Vec<_> = insertions.iter().map(Insertion::span).collect();
        assert_eq!(insert("abcdef", &insertions), "<abc--def>");
        let mapped: Vec<usize> = (0..=10).map(|offset| original_offset(TextOffset(offset), &spans).0).collect();
        assert_eq!(mapped, [0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 6]);
    }
}
