//! Edits by byte range. Everything outside an edit stays the bytes that it was.

use std::fmt;

/// Text put in at an offset of the original; nothing is ever taken away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Insertion {
    /// Offset in the original, in bytes.
    pub offset: usize,
    /// What is put in there.
    pub content: Vec<u8>,
}

impl Insertion {
    /// An insertion of `content` at `offset`.
    pub(crate) fn new(offset: usize, content: impl Into<Vec<u8>>) -> Self {
        Insertion { offset, content: content.into() }
    }

    /// Where it is, without what it says.
    pub(crate) fn span(&self) -> InsertedSpan {
        InsertedSpan { offset: self.offset, length: self.content.len() }
    }
}

/// Where an insertion was made: enough to take it out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InsertedSpan {
    /// Offset in the original, in bytes.
    pub offset: usize,
    /// Length of what was put in, in bytes.
    pub length: usize,
}

impl fmt::Display for InsertedSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.offset, self.length)
    }
}

/// The original with the insertions made. They must be sorted by offset and lie inside the original.
pub(crate) fn insert(original: &[u8], insertions: &[Insertion]) -> Vec<u8> {
    let added: usize = insertions.iter().map(|insertion| insertion.content.len()).sum();
    let mut result = Vec::with_capacity(original.len() + added);
    let mut copied = 0;
    for insertion in insertions {
        result.extend_from_slice(&original[copied..insertion.offset]);
        result.extend_from_slice(&insertion.content);
        copied = insertion.offset;
    }
    result.extend_from_slice(&original[copied..]);
    result
}

/// The text without what was inserted, or None where the spans do not fit it.
pub(crate) fn remove(patched: &[u8], spans: &[InsertedSpan]) -> Option<Vec<u8>> {
    let mut result = Vec::with_capacity(patched.len());
    let mut position = 0usize;
    for span in spans {
        let keep = span.offset.checked_sub(result.len())?;
        result.extend_from_slice(patched.get(position..position.checked_add(keep)?)?);
        position = position.checked_add(keep)?.checked_add(span.length)?;
    }
    result.extend_from_slice(patched.get(position..)?);
    Some(result)
}

/// The offset in the original of an offset in the patched text; inside an insertion, the insertion's own.
pub(crate) fn original_offset(patched_offset: usize, spans: &[InsertedSpan]) -> usize {
    let mut inserted = 0;
    for span in spans {
        let start = span.offset + inserted;
        if patched_offset <= start {
            break;
        }
        if patched_offset < start + span.length {
            return span.offset;
        }
        inserted += span.length;
    }
    patched_offset - inserted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insertions() -> Vec<Insertion> {
        vec![Insertion::new(0, "<"), Insertion::new(3, "--"), Insertion::new(6, ">")]
    }

    fn spans() -> Vec<InsertedSpan> {
        insertions().iter().map(Insertion::span).collect()
    }

    #[test]
    fn removal_undoes_insertion() {
        let patched = insert(b"abcdef", &insertions());
        assert_eq!(patched, b"<abc--def>");
        assert_eq!(remove(&patched, &spans()).as_deref(), Some(&b"abcdef"[..]));
    }

    #[test]
    fn spans_that_do_not_fit_are_refused() {
        assert_eq!(remove(b"abc", &[InsertedSpan { offset: 9, length: 1 }]), None);
        assert_eq!(remove(b"abc", &[InsertedSpan { offset: 1, length: 9 }]), None);
        assert_eq!(
            remove(b"abc", &[InsertedSpan { offset: 2, length: 0 }, InsertedSpan { offset: 1, length: 0 }]),
            None
        );
        assert_eq!(remove(b"abc", &[InsertedSpan { offset: 1, length: usize::MAX }]), None);
    }

    #[test]
    fn offsets_map_back() {
        let mapped: Vec<usize> = (0..=10).map(|offset| original_offset(offset, &spans())).collect();
        assert_eq!(mapped, [0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 6]);
    }
}
