//! A place in a text that a lexer has read up to.

use rustpython_parser::lexer::{LexicalError, LexicalErrorType};
use rustpython_parser::text_size::{TextRange, TextSize};

/// A text and how far it is read.
pub(super) struct Cursor<'a> {
    /// The text.
    pub text: &'a str,
    /// The next byte to read.
    pub at: usize,
    /// Where the text begins in its module.
    base: TextSize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `text`, which begins at `base` of its module.
    pub(super) fn new(text: &'a str, base: TextSize) -> Self {
        Cursor { text, at: 0, base }
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.peek_at(0)
    }

    /// The byte `distance` after the next one.
    pub(super) fn peek_at(&self, distance: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + distance).copied()
    }

    /// Whether the text goes on with `word`.
    pub(super) fn sees(&self, word: &[u8]) -> bool {
        self.text.as_bytes()[self.at..].starts_with(word)
    }

    /// Skips one line ending, which is a line feed, a carriage return or both (Python translates all three before it
    /// reads tokens). Returns whether one was there.
    pub(super) fn skip_newline(&mut self) -> bool {
        let length = match self.peek() {
            Some(b'\r') if self.peek_at(1) == Some(b'\n') => 2,
            Some(b'\r' | b'\n') => 1,
            _ => return false,
        };
        self.at += length;
        true
    }

    /// Skips to the end of the line.
    pub(super) fn skip_comment(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
    }

    /// An offset in the text as one in the module, of the parser's type.
    pub(super) fn offset(&self, at: usize) -> TextSize {
        TextSize::new(u32::try_from(at).unwrap_or(u32::MAX).saturating_add(self.base.into()))
    }

    /// The range from `start` to what is read.
    pub(super) fn range(&self, start: usize) -> TextRange {
        TextRange::new(self.offset(start), self.offset(self.at))
    }

    /// An error at `at`.
    pub(super) fn error(&self, at: usize, message: impl Into<String>) -> LexicalError {
        LexicalError::new(LexicalErrorType::OtherError(message.into()), self.offset(at))
    }
}
