//! Insertions and how to undo them. Everything outside them keeps its bytes.

use std::borrow::Borrow;

use super::offset::{ByteOffset, Offset};

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
    Some(kept(patched, spans)?.concat())
}

/// Whether the file without what was inserted is `original`.
pub(crate) fn leaves(patched: &[u8], spans: &[InsertedSpan<ByteOffset>], original: &[u8]) -> bool {
    let rest = |pieces: Vec<&[u8]>| pieces.into_iter().try_fold(original, |rest, piece| rest.strip_prefix(piece));
    kept(patched, spans).and_then(rest).is_some_and(<[u8]>::is_empty)
}

/// The pieces between the insertions.
fn kept<'p>(patched: &'p [u8], spans: &[InsertedSpan<ByteOffset>]) -> Option<Vec<&'p [u8]>> {
    let mut pieces = Vec::with_capacity(spans.len() + 1);
    let (mut original, mut position) = (0_usize, 0_usize);
    for span in spans {
        let end = position.checked_add(span.offset.0.checked_sub(original)?)?;
        pieces.push(patched.get(position..end)?);
        original = span.offset.0;
        position = end.checked_add(span.length)?;
    }
    pieces.push(patched.get(position..)?);
    Some(pieces)
}

/// The places of sorted insertions in the patched file, so that offsets map in logarithmic time.
#[derive(Clone, Debug)]
pub(crate) struct Inserted<'s, O> {
    spans: &'s [InsertedSpan<O>],
    /// What was inserted before each of them, and before the end.
    before: Vec<usize>,
}

impl<'s, O: Offset> Inserted<'s, O> {
    /// The places of `spans`, which must be sorted.
    pub(crate) fn new(spans: &'s [InsertedSpan<O>]) -> Self {
        let mut total = 0;
        let mut before = vec![0];
        before.extend(spans.iter().map(|span| {
            total += span.length;
            total
        }));
        Inserted { spans, before }
    }

    /// Where an insertion begins in the patched file.
    pub(crate) fn start(&self, number: usize) -> usize {
        self.spans[number].offset.index() + self.before[number]
    }

    /// How many insertions begin before an offset in the patched file, or at it.
    fn count(&self, begins_before: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.spans.len());
        while low < high {
            let middle = low.midpoint(high);
            if begins_before(self.start(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// An offset of the patched file in the original; one inside an insertion becomes the insertion's own.
    pub(crate) fn original(&self, patched: usize) -> usize {
        let count = self.count(|start| start < patched);
        let Some(last) = count.checked_sub(1) else { return patched };
        let inside = patched < self.start(last) + self.spans[last].length;
        if inside { self.spans[last].offset.index() } else { patched - self.before[count] }
    }

    /// An offset of the original in the patched file: `behind` what was inserted there, or before it.
    pub(crate) fn patched(&self, original: usize, behind: bool) -> usize {
        let passed =
            |span: &InsertedSpan<O>| span.offset.index() < original || (behind && span.offset.index() == original);
        original + self.before[self.spans.partition_point(passed)]
    }

    /// Whether this range of the patched file lies in one insertion.
    pub(crate) fn contains(&self, start: usize, end: usize) -> bool {
        self.number(start, end).is_some()
    }

    /// The number of the insertion that this range of the patched file lies in.
    pub(crate) fn number(&self, start: usize, end: usize) -> Option<usize> {
        let last = self.count(|inserted| inserted <= start).checked_sub(1)?;
        (end <= self.start(last) + self.spans[last].length).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::offset::TextOffset;

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
        assert!(leaves(&patched, &spans, b"abcdef"));
        for other in [&b""[..], b"abcde", b"abcdefg", b"bcdef", b"abXdef", b"<abc--def>"] {
            assert!(!leaves(&patched, &spans, other), "{other:?}");
        }
    }

    #[test]
    fn spans_that_do_not_fit_are_refused() {
        let span = |offset, length| InsertedSpan { offset: ByteOffset(offset), length };
        assert_eq!(remove(b"abc", &[span(9, 1)]), None);
        assert_eq!(remove(b"abc", &[span(1, 9)]), None);
        assert_eq!(remove(b"abc", &[span(2, 0), span(1, 0)]), None);
        assert_eq!(remove(b"abc", &[span(1, usize::MAX)]), None);
        assert!(!leaves(b"abc", &[span(1, 9)], b"a"));
    }

    #[test]
    fn offsets_map_back() {
        let insertions = insertions(TextOffset);
        let spans: Vec<_> = insertions.iter().map(Insertion::span).collect();
        assert_eq!(insert("abcdef", &insertions), "<abc--def>");
        let inserted = Inserted::new(&spans);
        let mapped: Vec<usize> = (0..=10).map(|offset| inserted.original(offset)).collect();
        assert_eq!(mapped, [0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 6]);
        let patched = |behind| (0..=6).map(|offset| inserted.patched(offset, behind)).collect::<Vec<_>>();
        assert_eq!(patched(false), [0, 2, 3, 4, 7, 8, 9]);
        assert_eq!(patched(true), [1, 2, 3, 6, 7, 8, 10]);
        assert!(inserted.contains(4, 6) && inserted.contains(5, 6) && inserted.contains(0, 1));
        assert!(!inserted.contains(3, 6) && !inserted.contains(4, 7) && !inserted.contains(1, 2));
    }
}
