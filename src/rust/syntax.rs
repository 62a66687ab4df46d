//! A source as text, its tokens and its syntax tree.

use std::ops::Range;

use proc_macro2::{Span, TokenStream};
use syn::File;
use thiserror::Error;

use super::tokens;
use crate::source::lines::{LineIndex, line_end, line_start};
use crate::source::offset::TextOffset;

/// U+FEFF in UTF-8, which a source may begin with.
const BYTE_ORDER_MARK: &str = "\u{feff}";
/// The deepest syntax tree: syn parses by recursion, and each level takes up to some 10 kB of the stack.
pub(super) const DEEPEST: usize = 8_000;

/// How much of a line an error shows, in characters.
const SHOWN: usize = 160;
/// What is wrong where proc-macro2 finds no tokens; it says no more.
const NOT_TOKENS: &str = "a bracket or a literal is not closed here, or this character begins no token";

/// Why a source has no syntax tree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum SyntaxError {
    /// It is not UTF-8.
    #[error("not UTF-8 at byte {0}, as Rust sources are\nhelp: store the file as UTF-8")]
    Encoding(usize),
    /// It is not Rust.
    #[error(
        "{line}:{column}: {message}\n    {}\n\
         help: correct the file; if rustc accepts it as it is, please report it to nixl-retrofit",
        .text.trim_end()
    )]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// The line's text, or its beginning.
        text: String,
        /// What is wrong.
        message: String,
    },
    /// Its expressions are nested deeper than any that people write.
    #[error(
        "its syntax tree may be {0} levels deep; at most {DEEPEST} are supported\nhelp: divide the deepest expression into several"
    )]
    TooDeep(usize),
}

/// A parsed source.
pub(super) struct Source<'a> {
    /// All of it.
    pub text: &'a str,
    /// Its tokens.
    pub tokens: TokenStream,
    /// Its syntax tree.
    pub file: File,
    /// Where the tokens' offsets begin: after a byte order mark and a `#!` line.
    pub base: usize,
}

impl<'a> Source<'a> {
    /// Parses a source.
    ///
    /// # Errors
    /// When it is not Rust, or too deep.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, SyntaxError> {
        let text = std::str::from_utf8(bytes).map_err(|error| SyntaxError::Encoding(error.valid_up_to()))?;
        let base = beginning(text);
        let wrong = |span: Span, message: String| {
            // An error at the end of the source has a span without a place.
            let offset = TextOffset((base + span.byte_range().start).min(text.len()));
            let (line, column) = LineIndex::new(text).position(offset);
            let text = &text[line_start(text, offset).0..line_end(text, offset).0];
            SyntaxError::Syntax { line, column, text: text.chars().take(SHOWN).collect(), message }
        };
        let tokens = lex(&text[base..]).map_err(|error| wrong(error.span(), NOT_TOKENS.into()))?;
        let depth = tokens::depth(&tokens);
        if depth > DEEPEST {
            return Err(SyntaxError::TooDeep(depth));
        }
        let file = syn::parse2(tokens.clone()).map_err(|error| wrong(error.span(), error.to_string()))?;
        Ok(Source { text, tokens, file, base })
    }

    /// Where a span lies in the text.
    pub(super) fn range(&self, span: Span) -> Range<usize> {
        let range = span.byte_range();
        self.base + range.start..self.base + range.end
    }
}

/// The tokens of a text.
///
/// # Errors
/// When it is not made of Rust's tokens.
pub(super) fn lex(text: &str) -> Result<TokenStream, proc_macro2::LexError> {
    // Earlier sources' texts are kept until then, on each thread.
    proc_macro2::extra::invalidate_current_thread_spans();
    text.parse()
}

/// The end of what precedes the first token and is none: a byte order mark, and a line for the shell, which is not an
/// attribute (<https://doc.rust-lang.org/reference/crates-and-source-files.html>).
fn beginning(text: &str) -> usize {
    let start = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let rest = &text[start..];
    if !rest.starts_with("#!") || rest[2..].trim_start().starts_with('[') {
        return start;
    }
    start + rest.find('\n').unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads;

    fn parsed(text: &str) -> Result<usize, SyntaxError> {
        let parse = || Source::parse(text.as_bytes()).map(|source| source.file.items.len());
        threads::join(parse, || ()).1
    }

    #[test]
    fn positions_are_those_of_the_file() {
        for start in ["", "\u{feff}", "#!/usr/bin/env run\n", "\u{feff}#!/run\r\n", "#![allow(x)]\r\n", "// \u{e9}\n"] {
            let text = format!("{start}fn one() {{}}\nfn two() {{}}\n");
            let source = Source::parse(text.as_bytes()).unwrap();
            let syn::Item::Fn(two) = &source.file.items[1] else { panic!("a function") };
            assert_eq!(&text[source.range(two.sig.ident.span())], "two", "{start:?}");
        }
    }

    #[test]
    fn errors_say_where() {
        let error = parsed("fn f() {}\nfn {}\n").expect_err("a function has a name");
        assert!(error.to_string().starts_with("2:4: expected identifier\n    fn {}\nhelp: "), "{error}");
        assert!(matches!(parsed("fn f() {\n"), Err(SyntaxError::Syntax { line: 1, .. })));
        assert_eq!(Source::parse(b"// \xff\n").err(), Some(SyntaxError::Encoding(3)));
    }

    #[test]
    fn depth_is_refused_before_the_stack_is_full() {
        let bodies: [(&str, &str, &str); 9] = [
            ("(", "1", ")"),
            ("[", "1", "]"),
            ("{", "1", "}"),
            ("!", "true", ""),
            ("&", "x", ""),
            ("x + ", "x", ""),
            ("|| ", "1", ""),
            ("if x {} else ", "{}", ""),
            ("x = ", "x", ""),
        ];
        for (open, middle, close) in bodies {
            let source = |depth: usize| format!("fn f() {{ {}{middle}{}; }}", open.repeat(depth), close.repeat(depth));
            assert_eq!(parsed(&source(1000)), Ok(1), "{open}");
            assert!(matches!(parsed(&source(100_000)), Err(SyntaxError::TooDeep(_))), "{open}");
        }
        for type_of in ["Vec<", "&'static ", "*const ", "fn() -> "] {
            let close = if type_of == "Vec<" { "> " } else { "" };
            let source = |depth: usize| format!("type T = {}u8{};", type_of.repeat(depth), close.repeat(depth));
            assert_eq!(parsed(&source(500)), Ok(1), "{type_of}");
            assert!(matches!(parsed(&source(100_000)), Err(SyntaxError::TooDeep(_))), "{type_of}");
        }
    }

    #[test]
    fn the_deepest_source_is_parsed() {
        let depth = DEEPEST - 20;
        for (open, close) in [("(", ")"), ("{", "}"), ("!", ""), ("x + ", ""), ("[", "]")] {
            let times = if open == "x + " { depth / 2 } else { depth };
            let text = format!("fn f() {{ {}x{}; }}", open.repeat(times), close.repeat(times));
            assert_eq!(parsed(&text), Ok(1), "{open}");
        }
    }
}
