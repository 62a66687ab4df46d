//! Formatted strings: f-strings (PEP 498, PEP 701) and t-strings (PEP 750).
//!
//! A group of adjacent strings of which one is formatted becomes a set display of the expressions in it, which is as
//! opaque to the analysis as a formatted string: `f"{a!r:>{b}}" "c"` becomes `{(a), (b),}`.

use rustpython_parser::Tok;
use rustpython_parser::lexer::LexicalError;
use rustpython_parser::text_size::TextRange;

use super::lexer::Lexer;
use super::literal::Prefix;

/// CPython's MAXFSTRINGLEVEL: how many formatted strings can be nested.
const MAX_NESTED: usize = 150;

/// How a formatted string is written.
#[derive(Clone, Copy)]
struct Style {
    quote: u8,
    triple: bool,
    raw: bool,
    /// Where it starts.
    start: usize,
}

impl Lexer<'_> {
    /// Reads a formatted string, and joins it to the strings before it.
    pub(super) fn formatted_string(&mut self, prefix: &Prefix) -> Result<(), LexicalError> {
        let start = self.cursor.at;
        if self.formatted == MAX_NESTED {
            return Err(self.cursor.error(start, "f-string: expressions nested too deeply"));
        }
        let group = self.open_group(start);
        self.cursor.at += prefix.length + if prefix.triple { 3 } else { 1 };
        self.formatted += 1;
        let style = Style { quote: prefix.quote, triple: prefix.triple, raw: prefix.raw, start };
        self.literal_text(style, false)?;
        self.formatted -= 1;
        self.close_group(group);
        Ok(())
    }

    /// Begins a group, or continues the one that the line ends with. Returns the place of its opening brace.
    fn open_group(&mut self, start: usize) -> usize {
        if let Some(group) = self.group.take() {
            self.line.pop();
            return group;
        }
        let is_string = |(token, _): &&(Tok, TextRange)| matches!(token, Tok::String { .. });
        let strings = self.line.iter().rev().take_while(is_string).count();
        let group = self.line.len() - strings;
        let at = self.line.get(group).map_or(self.cursor.offset(start), |(_, range)| range.start());
        self.line.truncate(group);
        self.line.push((Tok::Lbrace, TextRange::empty(at)));
        group
    }

    /// Ends a group after the string that was read.
    fn close_group(&mut self, group: usize) {
        let end = TextRange::empty(self.cursor.offset(self.cursor.at));
        if self.line.len() == group + 1 {
            self.line.push((Tok::Ellipsis, end));
            self.line.push((Tok::Comma, end));
        }
        self.line.push((Tok::Rbrace, end));
        self.group = Some(group);
    }

    /// Takes the string that was read into the group before it.
    pub(super) fn extend_group(&mut self) {
        let end = TextRange::empty(self.cursor.offset(self.cursor.at));
        if let Some((_, range)) = self.line.last_mut() {
            *range = end;
        }
    }

    /// Reads up to the closing quote, which it takes; in a format specification, up to the closing brace, which it
    /// leaves.
    fn literal_text(&mut self, style: Style, specification: bool) -> Result<(), LexicalError> {
        loop {
            let Some(byte) = self.cursor.peek() else { return Err(self.unterminated(style)) };
            match byte {
                b'\\' => self.escape(style),
                b'{' if !specification && self.cursor.peek_at(1) == Some(b'{') => self.cursor.at += 2,
                b'{' => self.field(style)?,
                b'}' if specification => return Ok(()),
                b'}' if self.cursor.peek_at(1) == Some(b'}') => self.cursor.at += 2,
                b'}' => return Err(self.cursor.error(self.cursor.at, "f-string: single `}` is not allowed")),
                b'\n' | b'\r' if !style.triple && !specification => return Err(self.unterminated(style)),
                _ if self.closes(style) && specification => {
                    return Err(self.cursor.error(self.cursor.at, "f-string: expecting `}`"));
                }
                _ if self.closes(style) => {
                    self.cursor.at += if style.triple { 3 } else { 1 };
                    return Ok(());
                }
                _ => self.cursor.at += 1,
            }
        }
    }

    fn unterminated(&self, style: Style) -> LexicalError {
        self.cursor.error(style.start, "unterminated f-string literal")
    }

    fn closes(&self, style: Style) -> bool {
        let quotes = [style.quote; 3];
        self.cursor.sees(if style.triple { &quotes } else { &quotes[..1] })
    }

    /// Skips an escape sequence. A backslash escapes no brace, but `\N{...}` names a character.
    fn escape(&mut self, style: Style) {
        self.cursor.at += 1;
        match self.cursor.peek() {
            None | Some(b'{' | b'}') => {}
            Some(b'\n' | b'\r') => _ = self.cursor.skip_newline(),
            Some(b'N') if !style.raw && self.cursor.peek_at(1) == Some(b'{') => {
                let rest = &self.cursor.text.as_bytes()[self.cursor.at..];
                let end = memchr::memchr3(b'}', style.quote, b'\n', rest).unwrap_or(rest.len());
                self.cursor.at += end + usize::from(rest.get(end) == Some(&b'}'));
            }
            Some(_) => self.cursor.at += 1,
        }
    }

    /// Reads a replacement field: an expression, `=`, a conversion and a format specification. The expression becomes an
    /// element of the group, in parentheses.
    fn field(&mut self, style: Style) -> Result<(), LexicalError> {
        let start = self.cursor.at;
        self.cursor.at += 1;
        self.push(Tok::Lpar, start);
        self.enter(b'{', start)?;
        let level = self.brackets.len();
        let first = self.line.len();
        while !self.ends_expression(level) {
            if self.cursor.peek().is_none() {
                return Err(self.cursor.error(start, "f-string: expecting `}`"));
            }
            self.token()?;
        }
        if self.line.len() == first {
            return Err(self.cursor.error(start, "f-string: valid expression required before `}`"));
        }
        let end = TextRange::empty(self.cursor.offset(self.cursor.at));
        self.line.push((Tok::Rpar, end));
        self.line.push((Tok::Comma, end));
        self.group = None;
        self.conversion();
        if self.cursor.peek() == Some(b':') {
            self.cursor.at += 1;
            self.literal_text(style, true)?;
        }
        if self.cursor.peek() != Some(b'}') {
            return Err(self.cursor.error(self.cursor.at, "f-string: expecting `!`, `:` or `}`"));
        }
        self.leave();
        self.cursor.at += 1;
        Ok(())
    }

    /// Skips blanks, and says whether the field's expression ends there.
    fn ends_expression(&mut self, level: usize) -> bool {
        self.skip_blank();
        let alone = self.brackets.len() == level && self.cursor.peek_at(1) != Some(b'=');
        match self.cursor.peek() {
            Some(b'}' | b':') => self.brackets.len() == level,
            Some(b'!' | b'=') => alone,
            _ => false,
        }
    }

    /// Skips `=` and `!r`.
    fn conversion(&mut self) {
        if self.cursor.peek() == Some(b'=') {
            self.cursor.at += 1;
            self.skip_blank();
        }
        if self.cursor.peek() == Some(b'!') {
            self.cursor.at += 1;
            self.skip_blank();
            while self.cursor.peek().is_some_and(|byte| byte.is_ascii_alphanumeric()) {
                self.cursor.at += 1;
            }
            self.skip_blank();
        }
    }
}
