//! From text to syntax tree, and from an offset to a line and column.
#![forbid(unsafe_code)]

use std::thread;

use rustpython_parser::text_size::TextSize;
use rustpython_parser::{Parse, ParseError, ast};

/// Texts shorter than this, in bytes, are not worth a second thread.
const WORTH_DIVIDING: usize = 16 << 10;
/// A tree can be as deep as its source is long, and is taken apart by recursion; most of this is never touched.
pub const STACK_BYTES: usize = 512 << 20;

/// Where a text is not Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
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

/// Parses a module's text; a long one in two parts at the same time.
///
/// # Errors
/// Where it is not Python: the parser's own words, with their place.
pub fn parse(text: &str) -> Result<ast::Suite, SyntaxError> {
    match division(text).and_then(|middle| parse_halves(text, middle)) {
        Some(module) => Ok(module),
        None => parse_at(text, 0).map_err(|error| SyntaxError::new(text, &error)),
    }
}

/// Parses a text that begins at `offset` of its file, at the start of a line of the outermost level.
///
/// # Errors
/// The parser's own.
pub fn parse_at(text: &str, offset: usize) -> Result<ast::Suite, ParseError> {
    // The parser's offsets have 32 bits; a longer text cannot be Python for it, which it says itself.
    ast::Suite::parse_starts_at(text, "", TextSize::new(u32::try_from(offset).unwrap_or(u32::MAX)))
}

/// Each half that parses on its own begins and ends outside all strings, parentheses and blocks, since each is a whole
/// module. So the statements of both together are those of the whole. Where a half does not parse, the division was a
/// bad one, or the text is not Python: the whole tells.
fn parse_halves(text: &str, middle: usize) -> Option<ast::Suite> {
    thread::scope(|scope| {
        let second = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || parse_at(&text[middle..], middle).ok())
            .ok()?;
        let first = parse_at(&text[..middle], 0).ok();
        let (mut module, rest) = (first?, second.join().ok()??);
        module.extend(rest);
        Some(module)
    })
}

/// An offset near the middle that looks like the start of a definition of the outermost level, after an empty line.
/// Rather before the middle: what comes after the parsing is done by the thread that has the first part.
fn division(text: &str) -> Option<usize> {
    if text.len() < WORTH_DIVIDING {
        return None;
    }
    let bytes = text.as_bytes();
    let start = bytes.len() * 9 / 20;
    memchr::memmem::find_iter(&bytes[start..], b"\n").map(|newline| start + newline + 1).find(|&line| {
        let begins =
            ["class ", "def ", "async def ", "@"].iter().any(|word| bytes[line..].starts_with(word.as_bytes()));
        begins && (bytes[..line].ends_with(b"\n\n") || bytes[..line].ends_with(b"\n\r\n"))
    })
}

/// Line and column (characters) of an offset, both from 1.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset];
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    (line, String::from_utf8_lossy(&before[line_start(text, offset)..]).chars().count() + 1)
}

/// The start of the line that an offset is in.
pub fn line_start(text: &str, offset: usize) -> usize {
    memchr::memrchr(b'\n', &text.as_bytes()[..offset]).map_or(0, |newline| newline + 1)
}

/// The offset behind the end of the line that an offset is in.
pub fn line_end(text: &str, offset: usize) -> usize {
    memchr::memchr(b'\n', &text.as_bytes()[offset..]).map_or(text.len(), |newline| offset + newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with `middle` behind its middle, long enough to be divided.
    fn around(middle: &str) -> String {
        let filler = "x = [1, 2,\n    3]  # comment\n\n\n".repeat(WORTH_DIVIDING / 30);
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
        let middle = division(&text).unwrap();
        assert!(text[middle..].starts_with("def f"));
        assert!(parse_halves(&text, middle).is_some());
        let string = around("s = '''\n\ndef f():\n'''\n");
        assert!(parse_halves(&string, division(&string).unwrap()).is_none(), "inside a string");
    }

    #[test]
    fn an_error_has_its_place_in_the_whole() {
        let text = around("\n\ndef f(:\n    pass\n");
        let line = text[..text.find("def f(:").unwrap()].matches('\n').count() + 1;
        let error = parse(&text).unwrap_err();
        assert_eq!((error.line, error.text.as_str()), (line, "def f(:"));
    }
}
