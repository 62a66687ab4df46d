//! From text to syntax tree.

use std::iter;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustpython_parser::text_size::TextSize;
use rustpython_parser::{Parse, ParseError, ast};

use crate::source::lines::position;
use crate::threads::beside;

/// A part to be parsed on its own has at least that many bytes: less is not worth it.
const PART: usize = 8 << 10;

/// Where a text is not Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line's text.
    pub text: String,
    /// What the parser says.
    pub message: String,
}

impl SyntaxError {
    fn new(text: &str, error: &ParseError) -> Self {
        let (line, column) = position(text, usize::from(error.offset).min(text.len()));
        let text = text.lines().nth(line - 1).unwrap_or_default().to_string();
        SyntaxError { line, column, text, message: error.error.to_string() }
    }
}

/// Parses a module's text; two parts of a long one at a time.
///
/// # Errors
/// Where it is not Python: the parser's own words, with their place.
pub(crate) fn parse(text: &str) -> Result<ast::Suite, SyntaxError> {
    let parts = divide(text);
    let module = if parts.len() > 1 { parse_parts(text, &parts) } else { None };
    module.map_or_else(|| parse_at(text, 0).map_err(|error| SyntaxError::new(text, &error)), Ok)
}

/// Parses a text that begins at `offset` of its file, at the start of a line of the outermost level.
///
/// # Errors
/// The parser's own.
pub(crate) fn parse_at(text: &str, offset: usize) -> Result<ast::Suite, ParseError> {
    // The parser's offsets have 32 bits; a longer text cannot be Python for it, which it says itself.
    ast::Suite::parse_starts_at(text, "", TextSize::new(u32::try_from(offset).unwrap_or(u32::MAX)))
}

/// Each part that parses on its own begins and ends outside all strings, parentheses and blocks, since each is a whole
/// module. So the statements of all together are those of the whole. Where one does not parse, the division was a bad
/// one, or the text is not Python: the whole tells.
fn parse_parts(text: &str, parts: &[Range<usize>]) -> Option<ast::Suite> {
    let next = AtomicUsize::new(0);
    // Whoever is done with a part takes the next one.
    let take = || -> Option<Vec<(usize, ast::Suite)>> {
        let numbers = iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let taken = numbers.map_while(|number| Some((number, parts.get(number)?.clone())));
        taken.map(|(number, part)| Some((number, parse_at(&text[part.clone()], part.start).ok()?))).collect()
    };
    let (here, aside) = beside(take, take);
    let mut suites = here?;
    suites.extend(aside?);
    suites.sort_by_key(|(number, _)| *number);
    Some(suites.into_iter().flat_map(|(_, suite)| suite).collect())
}

/// Parts of the text, each of which begins with what looks like a definition of the outermost level, after an empty
/// line. Only one where the text is too short to be divided.
fn divide(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut parts = Vec::new();
    let mut start = 0;
    while bytes.len() - start >= 2 * PART {
        let from = start + PART;
        let lines = memchr::memchr_iter(b'\n', &bytes[from..]).map(|newline| from + newline + 1);
        let Some(end) = lines.take_while(|line| *line < bytes.len()).find(|line| begins_definition(bytes, *line))
        else {
            break;
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with `middle` behind its middle, long enough to be divided.
    fn around(middle: &str) -> String {
        let filler = "x = [1, 2,\n    3]  # comment\n\n\n".repeat(PART / 15);
        format!("{filler}{filler}y = 1\n{middle}{filler}")
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
            assert_eq!(parse(&text).unwrap(), parse_at(&text, 0).unwrap(), "{middle}");
            let crlf = text.replace('\n', "\r\n");
            assert_eq!(parse(&crlf).unwrap(), parse_at(&crlf, 0).unwrap(), "{middle}");
        }
    }

    #[test]
    fn a_definition_in_the_middle_does_divide() {
        let text = around("\n\ndef f():\n    return 1\n");
        let parts = divide(&text);
        assert!(parts.len() > 1 && parts[1..].iter().all(|part| text[part.start..].starts_with("def f")), "{parts:?}");
        assert!(parse_parts(&text, &parts).is_some());
        let string = around("s = '''\n\ndef f():\n'''\n");
        assert!(parse_parts(&string, &divide(&string)).is_none(), "inside a string");
    }

    #[test]
    fn an_error_has_its_place_in_the_whole() {
        let text = around("\n\ndef f(:\n    pass\n");
        let line = text[..text.find("def f(:").unwrap()].matches('\n').count() + 1;
        let error = parse(&text).unwrap_err();
        assert_eq!((error.line, error.text.as_str()), (line, "def f(:"));
    }
}
