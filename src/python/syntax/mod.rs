//! From text to syntax tree: tokens from a lexer of its own, the grammar of rustpython-parser.

mod accept;
#[cfg(test)]
mod against_python;
mod blocks;
mod copies;
mod cursor;
pub(crate) mod form;
mod formatted;
mod lexer;
mod literal;
mod logical_line;
pub(crate) mod outline;

use std::iter;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustpython_parser::{Parse, ParseError, ast};
use thiserror::Error;

use self::copies::Copies;
pub(crate) use self::copies::{Alike, Judged, Kept, Statement, Step};
use self::lexer::Lexer;
#[cfg(any(test, nixl_retrofit_fuzzing))]
pub(crate) use self::literal::is_keyword;
use super::span;
use crate::source::lines::{LineIndex, line_end, line_start};
use crate::source::offset::TextOffset;
use crate::threads;

/// The least size, in bytes, of a part that is parsed on its own.
const PART: usize = 8 << 10;

/// The size, in bytes, from which a part ends before any statement.
const WIDE: usize = PART + PART / 2;

/// From this size of a text on, in bytes, a fifth less memory is worth a tenth of the time.
const LARGE: usize = 1 << 15;

/// A syntax error and its place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{line}:{column}: {message}\n    {}\n\
     help: correct the file; if Python accepts it as it is, please report it to nixl-retrofit",
    .text.trim_end()
)]
pub(crate) struct SyntaxError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line's text, or its beginning.
    pub text: String,
    /// The parser's message.
    pub message: String,
}

/// How much of a line an error shows, in characters.
const SHOWN: usize = 160;

impl SyntaxError {
    fn new(text: &str, error: &ParseError) -> Self {
        let offset = span::from_parser(error.offset).min(TextOffset(text.len()));
        let (line, column) = LineIndex::new(text).position(offset);
        let text = &text[line_start(text, offset).0..line_end(text, offset).0];
        let text = text.trim_end_matches(['\n', '\r']).chars().take(SHOWN).collect();
        SyntaxError { line, column, text, message: error.error.to_string() }
    }
}

/// Parses a module; a long one in parts, two at a time.
///
/// # Errors
/// Where it is not Python, as far as the parser knows it.
pub(crate) fn parse(text: &str) -> Result<ast::Suite, SyntaxError> {
    let parts = divide(text);
    let module = if parts.len() > 1 { parse_parts(text, &parts) } else { None };
    module.map_or_else(|| parse_at(text, TextOffset(0)).map_err(|error| SyntaxError::new(text, &error)), Ok)
}

/// Parses a module on this thread alone, where other threads parse others.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_alone(text: &str) -> Result<ast::Suite, SyntaxError> {
    parse_at(text, TextOffset(0)).map_err(|error| SyntaxError::new(text, &error))
}

/// Parses a text that begins at `offset` of its module, at the start of a top-level line.
///
/// # Errors
/// The parser's.
pub(crate) fn parse_at(text: &str, offset: TextOffset) -> Result<ast::Suite, ParseError> {
    ast::Suite::parse_tokens(Lexer::new(text, span::to_parser(offset)), "")
}

/// Parses a module without some of its statements: `pass` is read where they are, from the first token of whole logical
/// lines to the last one's end. None where the rest is not Python.
pub(crate) fn parse_without(text: &str, left_out: &[Range<usize>]) -> Option<ast::Suite> {
    ast::Suite::parse_tokens(Lexer::without(text, left_out), "").ok()
}

/// What is left of a module.
#[derive(Debug)]
pub(crate) struct Rest {
    /// Its statements, with `pass` in the place of others.
    pub module: ast::Suite,
    /// The others that have calls.
    pub alike: Alike,
}

/// As [`parse_without`]. Of the statements that are kept, those that differ in their names and strings alone are read once,
/// and where one says how the calls of another are judged, that is left out too.
pub(crate) fn parse_rest(text: &str, left_out: &[Range<usize>], kept: &[Kept]) -> Option<Rest> {
    let copies = Copies::among(text, kept);
    let mut module = parse_without(text, &copies.and(left_out))?;
    copies.add_to(&mut module)?;
    Some(Rest { module, alike: copies.alike })
}

/// The statements of all parts. A part that parses as a module begins and ends outside every string, parenthesis and
/// block, so the statements of the parts are those of the whole. None where a part does not parse: it was cut at a bad
/// place, or the text is not Python.
fn parse_parts(text: &str, parts: &[Range<usize>]) -> Option<ast::Suite> {
    let next = AtomicUsize::new(0);
    let parse_part = |part: &Range<usize>| {
        let Ok(suite) = parse_at(&text[part.clone()], TextOffset(part.start)) else {
            // The other thread need not go on.
            next.store(parts.len(), Ordering::Relaxed);
            return None;
        };
        // A list that was pushed to has room for at least four; its copy has none, and the next part takes the old one's.
        Some(if text.len() < LARGE { suite } else { suite.clone() })
    };
    // Work queue.
    let work = || -> Option<Vec<(usize, ast::Suite)>> {
        let numbers = iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let taken = numbers.map_while(|number| Some((number, parts.get(number)?)));
        taken.map(|(number, part)| Some((number, parse_part(part)?))).collect()
    };
    let (here, aside) = threads::join(work, work);
    let mut suites = here?;
    suites.extend(aside?);
    suites.sort_by_key(|(number, _)| *number);
    let mut module = Vec::with_capacity(suites.iter().map(|(_, suite)| suite.len()).sum());
    suites.into_iter().for_each(|(_, suite)| module.extend(suite));
    Some(module)
}

/// Cuts the text before lines that look like a top-level definition after an empty line; where there is none for long,
/// before one that looks like another statement. One part where the text is short.
fn divide(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut parts = Vec::new();
    let mut start = 0;
    while bytes.len() - start >= 2 * PART {
        let from = start + PART;
        let lines = memchr::memchr_iter(b'\n', &bytes[from..]).map(|newline| from + newline + 1);
        let ends = |line: &usize| {
            begins_definition(bytes, *line) || *line - start >= WIDE && begins_another_statement(bytes, *line)
        };
        let Some(end) = lines.take_while(|line| *line < bytes.len()).find(ends) else { break };
        parts.push(start..end);
        start = end;
    }
    parts.push(start..bytes.len());
    parts
}

fn begins_definition(bytes: &[u8], line: usize) -> bool {
    let begins = ["class ", "def ", "async def ", "@"].iter().any(|word| bytes[line..].starts_with(word.as_bytes()));
    begins && (bytes[..line].ends_with(b"\n\n") || bytes[..line].ends_with(b"\n\r\n"))
}

/// Whether a line looks like a top-level statement that goes on with none before it: neither its clause, nor what is
/// decorated, nor the rest of its line.
fn begins_another_statement(bytes: &[u8], line: usize) -> bool {
    const NOT: [&[u8]; 7] = [b"elif", b"else", b"except", b"finally", b"def", b"class", b"async"];
    let (before, here) = bytes.split_at(line);
    let goes_on = before.ends_with(b"\\\n") || before.ends_with(b"\\\r\n");
    let begins = here.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_');
    begins && !goes_on && !NOT.iter().any(|word| here.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with `middle` behind its middle, long enough to be divided, and nowhere else.
    fn around(middle: &str) -> String {
        let filler = "[1, 2,\n    3]  # comment\n\n\n".repeat(PART / 15);
        format!("{filler}{filler}[y]\n{middle}{filler}")
    }

    #[test]
    fn a_divided_module_has_the_same_tree() {
        for middle in [
            "\n\ndef f():\n    return 1\n",
            "\n\n@decorator\n\n\ndef f(): pass\n",
            "s = '''\n\ndef f():\n\n\nclass C:\n'''\n",
            "x = (\n\n\ndef_ := 1)\n",
            "if x:\n    pass\n\n\n\nelse:\n    pass\n\ndef f(): pass\n",
            "try:\n    pass\n\nfinally:\n    pass\n",
            "class C:\n    def f(self):\n        pass\n\n\nclass D: pass\n",
        ] {
            let text = around(middle);
            assert_eq!(parse(&text).unwrap(), parse_at(&text, TextOffset(0)).unwrap(), "{middle}");
            let crlf = text.replace('\n', "\r\n");
            assert_eq!(parse(&crlf).unwrap(), parse_at(&crlf, TextOffset(0)).unwrap(), "{middle}");
        }
    }

    #[test]
    fn a_definition_in_the_middle_does_divide() {
        let text = around("\n\ndef f():\n    return 1\n");
        let parts = divide(&text);
        assert!(parts.len() > 1 && parts[1..].iter().all(|part| text[part.start..].starts_with("def f")), "{parts:?}");
        assert!(parse_parts(&text, &parts).is_some());
        let string = around("('''\n\ndef f():\n''')\n");
        assert!(parse_parts(&string, &divide(&string)).is_none(), "inside a string");
    }

    #[test]
    fn a_module_without_definitions_is_divided_too() {
        for (piece, parts_hold) in [
            ("x = f(y)\n", true),
            ("if x:\n    pass\nelif y:\n    pass\nelse:\n    pass\n", true),
            ("try:\n    pass\nexcept E:\n    pass\nelse:\n    pass\nfinally:\n    pass\n", true),
            ("@decorator\ndef f(): pass\n@decorator\nasync def f(): pass\n@decorator\nclass C: pass\nx = 1\n", true),
            ("x = 1 + \\\ny\n", true),
            ("s = '''\nx = 1\ny = 2\nz = 3\n'''\n", false),
            ("x = [\ny,\nz,\nx]\n", false),
        ] {
            let text = piece.repeat(3 * WIDE / piece.len());
            let parts = divide(&text);
            assert!(parts.len() > 1, "{piece}");
            let crlf = text.replace('\n', "\r\n");
            assert!(
                !parts_hold || parse_parts(&text, &parts).is_some() && parse_parts(&crlf, &divide(&crlf)).is_some()
            );
            assert_eq!(parse(&text).unwrap(), parse_at(&text, TextOffset(0)).unwrap(), "{piece}");
            assert_eq!(parse(&crlf).unwrap(), parse_at(&crlf, TextOffset(0)).unwrap(), "{piece}");
        }
    }

    #[test]
    fn a_large_module_has_no_room_for_more() {
        let text = "def f(a):\n    return a\n\n".repeat(LARGE / 20);
        let bodies = parse(&text).unwrap().into_iter().map(|it| it.function_def_stmt().unwrap().body);
        assert!(bodies.into_iter().all(|body| body.capacity() == 1), "the grammar makes it four");
    }

    #[test]
    fn a_line_that_goes_on_is_not_cut() {
        let text = format!("{}x = 1 \\\ny\n", "x = f(y)\n".repeat(WIDE / 9));
        let text = format!("{text}{}", "x = f(y)\n".repeat(WIDE));
        assert!(parse(&text).is_err() && parse_at(&text, TextOffset(0)).is_err(), "`y` alone would be a statement");
    }

    #[test]
    fn an_error_has_its_place_in_the_whole() {
        let text = around("\n\ndef f(:\n    pass\n");
        let line = text[..text.find("def f(:").unwrap()].matches('\n').count() + 1;
        let error = parse(&text).unwrap_err();
        assert_eq!((error.line, error.text.as_str()), (line, "def f(:"));
    }
}
