//! Where a node of the syntax tree is in the text: the one place where the parser's offsets become this program's.

use rustpython_parser::ast::{Ranged, Stmt};
use rustpython_parser::text_size::TextSize;

use crate::source::lines::line_start;
use crate::source::offset::TextOffset;

/// A parser's offset as this program's.
pub(super) fn from_parser(offset: TextSize) -> TextOffset {
    TextOffset(usize::from(offset))
}

/// An offset as the parser's, which has 32 bits; the largest where that is too few.
pub(super) fn to_parser(offset: TextOffset) -> TextSize {
    TextSize::new(u32::try_from(offset.0).unwrap_or(u32::MAX))
}

/// The start of a node.
pub(super) fn start(node: &impl Ranged) -> TextOffset {
    from_parser(node.start())
}

/// The end of a node.
pub(super) fn end(node: &impl Ranged) -> TextOffset {
    from_parser(node.end())
}

/// The start of a statement, its decorators with their `@` included.
pub(super) fn first_offset(text: &str, statement: &Stmt) -> TextOffset {
    let decorators = match statement {
        Stmt::FunctionDef(node) => &node.decorator_list,
        Stmt::AsyncFunctionDef(node) => &node.decorator_list,
        Stmt::ClassDef(node) => &node.decorator_list,
        _ => return start(statement),
    };
    decorators.iter().map(start).min().map_or(start(statement), |decorator| at_sign(text, decorator))
}

/// The `@` before a decorator: the last one that is first on its line. Between the two can be parentheses, comments, and
/// newlines in both ways.
fn at_sign(text: &str, decorator: TextOffset) -> TextOffset {
    let before = &text[..decorator.0];
    let is_first = |at: &usize| {
        let line = &before[line_start(text, TextOffset(*at)).0..*at];
        line.trim_start_matches([' ', '\t', '\x0c']).is_empty()
    };
    memchr::memrchr_iter(b'@', before.as_bytes()).find(is_first).map_or(decorator, TextOffset)
}
