//! Lines of a text.

use super::offset::TextOffset;

/// Where the lines of a text begin, for many positions in it.
#[derive(Debug)]
pub(crate) struct LineIndex<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    /// The lines of a text.
    pub(crate) fn new(text: &'a str) -> Self {
        let starts = memchr::memchr_iter(b'\n', text.as_bytes()).map(|newline| newline + 1);
        LineIndex { text, starts: std::iter::once(0).chain(starts).collect() }
    }

    /// Line and column (characters) of an offset, both from 1.
    pub(crate) fn position(&self, offset: TextOffset) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset.0);
        let before = &self.text.as_bytes()[self.starts[line - 1]..offset.0];
        (line, String::from_utf8_lossy(before).chars().count() + 1)
    }
}

/// Line and column (characters) of an offset, both from 1.
pub(crate) fn position(text: &str, offset: TextOffset) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.0];
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    (line, String::from_utf8_lossy(&before[line_start(text, offset).0..]).chars().count() + 1)
}

/// The start of the line that contains an offset.
pub(crate) fn line_start(text: &str, offset: TextOffset) -> TextOffset {
    TextOffset(memchr::memrchr(b'\n', &text.as_bytes()[..offset.0]).map_or(0, |newline| newline + 1))
}

/// The start of the line after the one that contains an offset, or the end of the text.
pub(crate) fn line_end(text: &str, offset: TextOffset) -> TextOffset {
    let newline = memchr::memchr(b'\n', &text.as_bytes()[offset.0..]);
    newline.map_or(TextOffset(text.len()), |newline| offset + newline + 1)
}
