//! Indentation and the blocks that it makes.

use std::cmp::Ordering;

use rustpython_parser::Tok;
use rustpython_parser::lexer::LexicalError;

use super::cursor::Cursor;
use super::logical_line::Header;

/// CPython's MAXINDENT: how many blocks can be open.
const MAX_BLOCKS: usize = 100;

/// CPython's TABSIZE.
const TAB: usize = 8;

/// The width of a line's indentation, measured twice so that it never depends on how wide a tab is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Indentation {
    /// With tab stops every 8 columns.
    column: usize,
    /// With every tab one column wide.
    narrow: usize,
}

impl Indentation {
    /// Reads the blanks at the start of a line. A form feed sets the width to 0. Of blanks before backslashes at the end
    /// of the line, the first ones count, with tab stops in both measures (CPython's `cont_line_col`, from 3.10 on).
    pub(super) fn measure(cursor: &mut Cursor) -> Result<Self, LexicalError> {
        let mut here = Indentation::default();
        let mut before_backslash = 0;
        loop {
            match cursor.peek() {
                Some(b' ') => here = Indentation { column: here.column + 1, narrow: here.narrow + 1 },
                Some(b'\t') => here = Indentation { column: (here.column / TAB + 1) * TAB, narrow: here.narrow + 1 },
                Some(b'\x0c') => here = Indentation::default(),
                Some(b'\\') => {
                    if before_backslash == 0 {
                        before_backslash = here.column;
                    }
                    let at = cursor.at;
                    cursor.at += 1;
                    if !cursor.skip_newline() {
                        return Err(cursor.error(at, "unexpected character after the line continuation character"));
                    }
                    continue;
                }
                _ => break,
            }
            cursor.at += 1;
        }
        let split = before_backslash > 0;
        Ok(if split { Indentation { column: before_backslash, narrow: before_backslash } } else { here })
    }
}

/// A block: lines of the same indentation.
#[derive(Default)]
struct Block {
    indentation: Indentation,
    /// The block of a `match` statement, whose lines are its cases.
    holds_cases: bool,
    /// How many `elif` follow one another in it: the tree nests them.
    elifs: usize,
}

/// The open blocks.
pub(super) struct Blocks {
    open: Vec<Block>,
    elifs: usize,
    after_match: bool,
}

impl Default for Blocks {
    fn default() -> Self {
        Blocks { open: vec![Block::default()], elifs: 0, after_match: false }
    }
}

/// How a line's indentation changes the open blocks.
pub(super) struct Change {
    opened: bool,
    closed: usize,
}

impl Change {
    /// Whether it opens a block.
    pub(super) fn opens(&self) -> bool {
        self.opened
    }

    /// How many blocks it closes.
    pub(super) fn closes(&self) -> usize {
        self.closed
    }

    /// The tokens for it.
    pub(super) fn tokens(&self) -> impl Iterator<Item = Tok> {
        let opened = self.opened.then_some(Tok::Indent);
        std::iter::repeat_n(Tok::Dedent, self.closed).chain(opened)
    }
}

impl Blocks {
    /// Opens or closes blocks for a line with this indentation.
    ///
    /// # Errors
    /// Python's message.
    pub(super) fn enter(&mut self, new: Indentation) -> Result<Change, &'static str> {
        const MIXED: &str = "inconsistent use of tabs and spaces in indentation";
        let mut change = Change { opened: false, closed: 0 };
        loop {
            let current = self.open.last().map(|block| block.indentation).unwrap_or_default();
            match new.column.cmp(&current.column) {
                Ordering::Equal if new.narrow != current.narrow => return Err(MIXED),
                Ordering::Greater if change.closed > 0 => {
                    return Err("unindent does not match any outer indentation level");
                }
                Ordering::Greater if new.narrow <= current.narrow => return Err(MIXED),
                Ordering::Greater if self.open.len() == MAX_BLOCKS => return Err("too many levels of indentation"),
                Ordering::Equal => break,
                Ordering::Greater => {
                    change.opened = true;
                    let holds_cases = std::mem::take(&mut self.after_match);
                    self.open.push(Block { indentation: new, holds_cases, elifs: 0 });
                    break;
                }
                Ordering::Less => {
                    change.closed += 1;
                    self.close();
                }
            }
        }
        self.after_match = false;
        Ok(change)
    }

    fn close(&mut self) {
        let elifs = self.open.pop().map_or(0, |block| block.elifs);
        self.elifs -= elifs;
    }

    /// Closes all blocks but the module's own.
    pub(super) fn close_all(&mut self) -> impl Iterator<Item = ()> {
        let closed = self.open.len() - 1;
        self.open.truncate(1);
        std::iter::repeat_n((), closed)
    }

    /// Whether the present line is one of the cases of a `match` statement.
    pub(super) fn holds_cases(&self) -> bool {
        self.open.last().is_some_and(|block| block.holds_cases)
    }

    /// Notes what the line is. Returns how many `elif` clauses are nested in one another.
    pub(super) fn follow(&mut self, header: Header) -> usize {
        self.after_match = header == Header::Match;
        if let Some(block) = self.open.last_mut() {
            self.elifs -= block.elifs;
            block.elifs = if header == Header::Elif { block.elifs + 1 } else { 0 };
            self.elifs += block.elifs;
        }
        self.elifs
    }
}
