//! Lines of a text. A line feed, a carriage return or both end a line, as in Python.

use std::cell::Cell;

use super::near;
use super::offset::TextOffset;

/// Where the lines of a text begin, for many positions in it.
#[derive(Debug)]
pub(crate) struct LineIndex<'a> {
    text: &'a str,
    starts: Vec<usize>,
    /// The line that was asked for last.
    last: Cell<usize>,
}

impl<'a> LineIndex<'a> {
    /// The lines of a text.
    pub(crate) fn new(text: &'a str) -> Self {
        LineIndex { text, starts: starts(text.as_bytes()), last: Cell::new(0) }
    }

    /// Line and column (characters) of an offset, both from 1.
    pub(crate) fn position(&self, offset: TextOffset) -> (usize, usize) {
        let line = near::partition_point(&self.starts, self.last.get(), |start| *start <= offset.0);
        self.last.set(line - 1);
        let before = &self.text.as_bytes()[self.starts[line - 1]..offset.0];
        (line, String::from_utf8_lossy(before).chars().count() + 1)
    }
}

/// Where each line begins.
pub(crate) fn starts(bytes: &[u8]) -> Vec<usize> {
    let ends = memchr::memchr2_iter(b'\n', b'\r', bytes);
    let starts = ends.filter(|at| bytes[*at] == b'\n' || bytes.get(at + 1) != Some(&b'\n')).map(|end| end + 1);
    let lines = memchr::memchr2_iter(b'\n', b'\r', bytes).count() + 1;
    let mut all = Vec::with_capacity(lines);
    all.push(0);
    all.extend(starts);
    all
}

/// The start of the line that contains an offset.
pub(crate) fn line_start(text: &str, offset: TextOffset) -> TextOffset {
    TextOffset(memchr::memrchr2(b'\n', b'\r', &text.as_bytes()[..offset.0]).map_or(0, |end| end + 1))
}

/// The start of the line after the one that contains an offset, or the end of the text.
pub(crate) fn line_end(text: &str, offset: TextOffset) -> TextOffset {
    let rest = &text.as_bytes()[offset.0..];
    let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else { return TextOffset(text.len()) };
    offset + end + if rest[end..].starts_with(b"\r\n") { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_ending_ends_a_line() {
        let text = "a\nb\r\nc\rd";
        let index = LineIndex::new(text);
        assert_eq!([0, 2, 5, 7].map(|at| index.position(TextOffset(at))), [(1, 1), (2, 1), (3, 1), (4, 1)]);
        let ends: Vec<_> = [0, 2, 5, 7].map(|at| line_end(text, TextOffset(at)).0).into();
        assert_eq!(ends, [2, 5, 7, 8]);
        let starts: Vec<_> = [1, 3, 6, 8].map(|at| line_start(text, TextOffset(at)).0).into();
        assert_eq!(starts, [0, 2, 5, 7]);
    }
}
