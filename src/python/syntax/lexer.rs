//! From text to tokens, as CPython's tokenizer reads it (Parser/tokenizer.c, Parser/lexer/): rustpython-parser's own
//! lexer refuses some of what Python accepts, and gives calls in some f-strings wrong offsets.

use std::collections::VecDeque;
use std::ops::Range;

use rustpython_parser::Tok;
use rustpython_parser::lexer::{LexResult, LexicalError, Spanned};
use rustpython_parser::text_size::{TextRange, TextSize};

use super::blocks::{Blocks, Change, Indentation};
use super::cursor::Cursor;
use super::literal::{self, Prefix};
use super::logical_line;

/// CPython's MAXLEVEL: how many brackets can be open.
const MAX_BRACKETS: usize = 200;

/// How many operators can be nested in one another. CPython gives up at 3,000 to 10,000 with a RecursionError; the
/// tree is visited by recursion here too.
const MAX_DEPTH: usize = 30_000;

/// A lexer that yields tokens for the grammar of rustpython-parser, one logical line at a time.
pub(super) struct Lexer<'a> {
    pub(super) cursor: Cursor<'a>,
    /// The tokens of the present logical line.
    pub(super) line: Vec<Spanned>,
    /// Open brackets, the outermost first.
    pub(super) brackets: Vec<Bracket>,
    /// Where in `line` the group of strings begins, one of them formatted, that `line` ends with.
    pub(super) group: Option<usize>,
    /// How many formatted strings are open.
    pub(super) formatted: usize,
    /// Operators that may be nested in one another, in the statement outside all brackets and in each open bracket.
    operators: usize,
    operators_of_statement: usize,
    blocks: Blocks,
    /// Where statements are left out, in order: from the first token of whole logical lines to the last one's end.
    left_out: &'a [Range<usize>],
    ready: VecDeque<Spanned>,
    done: bool,
}

/// An open bracket.
pub(super) struct Bracket {
    /// `(`, `[` or `{`.
    pub open: u8,
    /// Where it is in the text.
    pub at: usize,
    /// Operators in it since the last comma.
    operators: usize,
}

impl<'a> Lexer<'a> {
    /// A lexer for `text`, which begins at `base` of its module.
    pub(super) fn new(text: &'a str, base: TextSize) -> Self {
        Lexer {
            cursor: Cursor::new(text, base),
            line: Vec::new(),
            brackets: Vec::new(),
            group: None,
            formatted: 0,
            operators: 0,
            operators_of_statement: 0,
            blocks: Blocks::default(),
            left_out: &[],
            ready: VecDeque::new(),
            done: false,
        }
    }

    /// A lexer for a module, that reads `pass` in the place of some statements.
    pub(super) fn without(text: &'a str, left_out: &'a [Range<usize>]) -> Self {
        Lexer { left_out, ..Lexer::new(text, TextSize::default()) }
    }

    /// Reads the next logical line, or what ends the text, for the grammar.
    fn logical_line(&mut self) -> Result<(), LexicalError> {
        let Some((change, start)) = self.read_line()? else {
            self.done = true;
            let end = TextRange::empty(self.cursor.offset(self.cursor.at));
            self.ready.extend(self.blocks.close_all().map(|()| (Tok::Dedent, end)));
            return Ok(());
        };
        let here = TextRange::empty(self.cursor.offset(start));
        self.ready.extend(change.tokens().map(|token| (token, here)));
        self.ready.extend(self.line.drain(..));
        Ok(())
    }

    /// Reads the next logical line into `line`, its newline included. Returns how it changes the blocks, and where it
    /// starts; None at the end of the text.
    pub(super) fn read_line(&mut self) -> Result<Option<(Change, usize)>, LexicalError> {
        self.line.clear();
        let Some(indentation) = self.indentation()? else { return Ok(None) };
        self.operators = 0;
        self.operators_of_statement = 0;
        let start = self.cursor.at;
        let change = self.blocks.enter(indentation).map_err(|message| self.cursor.error(start, message))?;
        self.leave_out(start);
        while self.skip_blank() {
            self.token()?;
        }
        let end = self.cursor.at;
        if let Some(bracket) = self.brackets.last() {
            return Err(self.cursor.error(bracket.at, format!("`{}` is never closed", char::from(bracket.open))));
        }
        self.cursor.skip_newline();
        self.line.push((Tok::Newline, TextRange::new(self.cursor.offset(end), self.cursor.offset(self.cursor.at))));
        self.group = None;
        let header = logical_line::adapt(&mut self.line, self.blocks.holds_cases());
        if self.blocks.follow(header) > MAX_DEPTH {
            return Err(self.too_deep(start));
        }
        Ok(Some((change, start)))
    }

    /// Reads `pass` in the place of statements that are left out, if they begin here.
    fn leave_out(&mut self, start: usize) {
        let Some((first, rest)) = self.left_out.split_first().filter(|(first, _)| first.start == start) else { return };
        self.left_out = rest;
        self.cursor.at = first.end;
        self.push(Tok::Pass, start);
    }

    /// Skips empty lines and comments, and measures the indentation of the line that follows. None at the end.
    fn indentation(&mut self) -> Result<Option<Indentation>, LexicalError> {
        loop {
            let indentation = Indentation::measure(&mut self.cursor)?;
            match self.cursor.peek() {
                None => return Ok(None),
                Some(b'#') => self.cursor.skip_comment(),
                Some(b'\n' | b'\r') => {}
                Some(_) => return Ok(Some(indentation)),
            }
            self.cursor.skip_newline();
        }
    }

    /// Skips what separates tokens, newlines in brackets and comments included. Returns whether a token follows on the
    /// logical line.
    pub(super) fn skip_blank(&mut self) -> bool {
        loop {
            match self.cursor.peek() {
                Some(b' ' | b'\t' | b'\x0c') => self.cursor.at += 1,
                Some(b'#') => self.cursor.skip_comment(),
                Some(b'\n' | b'\r') if !self.brackets.is_empty() => _ = self.cursor.skip_newline(),
                Some(b'\\') if matches!(self.cursor.peek_at(1), Some(b'\n' | b'\r')) => {
                    self.cursor.at += 1;
                    self.cursor.skip_newline();
                }
                None | Some(b'\n' | b'\r') => return false,
                Some(_) => return true,
            }
        }
    }

    /// Reads one token, or one string with what is in it.
    pub(super) fn token(&mut self) -> Result<(), LexicalError> {
        let start = self.cursor.at;
        let Some(byte) = self.cursor.peek() else { return Ok(()) };
        if let Some(prefix) = Prefix::at(&self.cursor) {
            return self.string(&prefix);
        }
        let token = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => literal::name(&mut self.cursor)?,
            b'0'..=b'9' => literal::number(&mut self.cursor)?,
            b'.' if self.cursor.peek_at(1).is_some_and(|next| next.is_ascii_digit()) => {
                literal::number(&mut self.cursor)?
            }
            b'(' | b'[' | b'{' => return self.open(byte),
            b')' | b']' | b'}' => return self.close(byte),
            _ => literal::operator(&mut self.cursor)?,
        };
        self.count(&token, start)?;
        self.push(token, start);
        Ok(())
    }

    fn string(&mut self, prefix: &Prefix) -> Result<(), LexicalError> {
        if prefix.formatted {
            return self.formatted_string(prefix);
        }
        let start = self.cursor.at;
        let token = literal::string(&mut self.cursor, prefix)?;
        if self.group.is_some() {
            self.extend_group();
        } else {
            self.push(token, start);
        }
        Ok(())
    }

    /// Adds a token from `start` to what is read.
    pub(super) fn push(&mut self, token: Tok, start: usize) {
        self.line.push((token, self.cursor.range(start)));
        self.group = None;
    }

    fn open(&mut self, byte: u8) -> Result<(), LexicalError> {
        let start = self.cursor.at;
        self.cursor.at += 1;
        let token = match byte {
            b'(' => Tok::Lpar,
            b'[' => Tok::Lsqb,
            _ => Tok::Lbrace,
        };
        self.count(&token, start)?;
        self.push(token, start);
        self.enter(byte, start)
    }

    fn close(&mut self, byte: u8) -> Result<(), LexicalError> {
        let start = self.cursor.at;
        let (open, token) = match byte {
            b')' => (b'(', Tok::Rpar),
            b']' => (b'[', Tok::Rsqb),
            _ => (b'{', Tok::Rbrace),
        };
        if self.brackets.last().is_none_or(|bracket| bracket.open != open) {
            return Err(self.cursor.error(start, format!("`{}` closes no bracket", char::from(byte))));
        }
        self.leave();
        self.cursor.at += 1;
        self.push(token, start);
        Ok(())
    }

    /// Opens a bracket that is at `at`.
    pub(super) fn enter(&mut self, open: u8, at: usize) -> Result<(), LexicalError> {
        if self.brackets.len() == MAX_BRACKETS {
            return Err(self
                .cursor
                .error(at, format!("more than {MAX_BRACKETS} open brackets; Python itself refuses so many")));
        }
        self.brackets.push(Bracket { open, at, operators: 0 });
        Ok(())
    }

    /// Closes the innermost bracket.
    pub(super) fn leave(&mut self) {
        if let Some(bracket) = self.brackets.pop() {
            self.operators -= bracket.operators;
        }
    }

    /// Counts what may be nested in one another: every operator since the last comma, in every open bracket.
    fn count(&mut self, token: &Tok, at: usize) -> Result<(), LexicalError> {
        let here = self.brackets.last_mut().map_or(&mut self.operators_of_statement, |last| &mut last.operators);
        match token {
            Tok::Comma | Tok::Semi => {
                self.operators -= *here;
                *here = 0;
            }
            // Flat in the tree.
            Tok::Name { .. } | Tok::Int { .. } | Tok::Float { .. } | Tok::Complex { .. } | Tok::And | Tok::Or => {}
            Tok::Less | Tok::Greater | Tok::EqEqual | Tok::NotEqual | Tok::LessEqual | Tok::GreaterEqual => {}
            _ => {
                *here += 1;
                self.operators += 1;
            }
        }
        if self.operators > MAX_DEPTH { Err(self.too_deep(at)) } else { Ok(()) }
    }

    fn too_deep(&self, at: usize) -> LexicalError {
        self.cursor.error(at, format!("more than {MAX_DEPTH} nested operators; Python itself refuses so many"))
    }
}

impl Iterator for Lexer<'_> {
    type Item = LexResult;

    fn next(&mut self) -> Option<LexResult> {
        loop {
            if let Some(token) = self.ready.pop_front() {
                return Some(Ok(token));
            }
            if self.done {
                return None;
            }
            if let Err(error) = self.logical_line() {
                self.done = true;
                return Some(Err(error));
            }
        }
    }
}
