//! Lines of a text. A line feed, a carriage return or both end a line, as in Python.

use std::cell::Cell;
use std::ops::Range;

use super::offset::TextOffset;

/// The line number is known at every so many bytes.
const BLOCK: usize = 1 << 12;

/// The lines of a text, for many positions in it.
#[derive(Debug)]
pub(crate) struct LineIndex<'a> {
    text: &'a str,
    /// How many lines end before each block.
    ended: Vec<usize>,
    /// What was asked for last.
    last: Cell<Position>,
}

/// A place in a text.
#[derive(Clone, Copy, Debug)]
struct Position {
    offset: usize,
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
}

/// Where a text begins.
const FIRST: Position = Position { offset: 0, line: 1, column: 1 };

impl<'a> LineIndex<'a> {
    /// The lines of a text.
    pub(crate) fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let mut ended = vec![0];
        for start in (0..bytes.len()).step_by(BLOCK) {
            ended.push(ended[start / BLOCK] + line_ends(bytes, start..bytes.len().min(start + BLOCK)));
        }
        LineIndex { text, ended, last: Cell::new(FIRST) }
    }

    /// Line and column (characters) of an offset, both from 1. Of offsets in order, it takes linear time.
    pub(crate) fn position(&self, offset: TextOffset) -> (usize, usize) {
        let (bytes, TextOffset(offset)) = (self.text.as_bytes(), offset);
        let last = Some(self.last.get()).filter(|last| last.offset <= offset).unwrap_or(FIRST);
        let block = offset / BLOCK;
        let (from, line) =
            if last.offset < block * BLOCK { (block * BLOCK, self.ended[block] + 1) } else { (last.offset, last.line) };
        let line = line + line_ends(bytes, from..offset);
        let column = match last_line_end(bytes, last.offset..offset) {
            Some(end) => 1 + characters(&bytes[end..offset]),
            None => last.column + characters(&bytes[last.offset..offset]),
        };
        self.last.set(Position { offset, line, column });
        (line, column)
    }
}

/// How many characters begin in some bytes.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (**byte as i8) >= -0x40).count()
}

/// How many lines end in a part of some bytes.
fn line_ends(bytes: &[u8], part: Range<usize>) -> usize {
    let start = part.start;
    let part = &bytes[part];
    let alone = |at: &usize| bytes.get(start + at + 1) != Some(&b'\n');
    memchr::memchr_iter(b'\n', part).count() + memchr::memchr_iter(b'\r', part).filter(alone).count()
}

/// Where the line after the last one begins that ends in a part of some bytes.
fn last_line_end(bytes: &[u8], part: Range<usize>) -> Option<usize> {
    let start = part.start;
    let mut ends = memchr::memrchr2_iter(b'\n', b'\r', &bytes[part]).map(|at| start + at);
    ends.find(|&at| bytes[at] == b'\n' || bytes.get(at + 1) != Some(&b'\n')).map(|at| at + 1)
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
    fn a_position_does_not_depend_on_those_before_it() {
        let piece = "äb\r\n\rc\nd\r\r\n".repeat(3);
        let text: String = (0..3 * BLOCK / 40).map(|number| format!("{piece}{}", "x".repeat(number % 90))).collect();
        let starts = starts(text.as_bytes());
        let expected = |at: usize| {
            let line = starts.partition_point(|start| *start <= at);
            (line, text[starts[line - 1]..at].chars().count() + 1)
        };
        let forward: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mixed = forward.iter().zip(forward.iter().rev().step_by(3)).flat_map(|(a, b)| [*a, *b]);
        let index = LineIndex::new(&text);
        for at in forward.iter().copied().chain(mixed).chain(forward.iter().rev().copied()) {
            assert_eq!(index.position(TextOffset(at)), expected(at), "{at}");
        }
    }

    #[test]
    fn every_line_ending_ends_a_line() {
        let text = "a\nb\r\nc\rd";
        let index = LineIndex::new(text);
        assert_eq!([0, 2, 5, 7].map(|at| index.position(TextOffset(at))), [(1, 1), (2, 1), (3, 1), (4, 1)]);
        assert_eq!([8, 4, 3, 1, 6].map(|at| index.position(TextOffset(at))), [(4, 2), (2, 3), (2, 2), (1, 2), (3, 2)]);
        let ends: Vec<_> = [0, 2, 5, 7].map(|at| line_end(text, TextOffset(at)).0).into();
        assert_eq!(ends, [2, 5, 7, 8]);
        let starts: Vec<_> = [1, 3, 6, 8].map(|at| line_start(text, TextOffset(at)).0).into();
        assert_eq!(starts, [0, 2, 5, 7]);
    }
}
