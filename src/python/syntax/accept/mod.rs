//! Whether the grammar of rustpython-parser accepts a logical line, without a tree.
//!
//! A yes is certain: what is accepted here, rustpython-parser accepts. A no only says that this does not know, so that the
//! rare and the difficult (patterns, type parameters, parenthesized `with` items) can be left to the grammar.

pub(super) mod clauses;
mod expression;
mod parameters;
pub(super) mod statement;

use std::mem::discriminant;

use rustpython_parser::Tok;
use rustpython_parser::lexer::Spanned;

/// How deeply expressions may be nested in one another.
const DEPTH: usize = 64;

/// Some where the grammar accepts it, for the `?` operator.
type Accepted = Option<()>;

/// What a logical line is, as far as the lines around it depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Simple statements.
    Simple,
    /// A decorator.
    Decorator,
    /// The header of a block.
    Clause {
        /// Its keyword.
        clause: Clause,
        /// Whether the block is on the same line.
        inline: bool,
    },
}

/// The keyword of a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    /// `def` or `class`.
    Definition,
    /// `with`.
    With,
    /// `if`.
    If,
    /// `elif`.
    Elif,
    /// `for` or `while`.
    Loop,
    /// `else`.
    Else,
    /// `try`.
    Try,
    /// `except`.
    Except,
    /// `except*`.
    ExceptStar,
    /// `finally`.
    Finally,
}

/// The form of a line, its newline included; None where it may not be accepted.
pub(super) fn form(line: &[Spanned]) -> Option<Form> {
    Acceptor { line, at: 0, depth: 0, keywords: Vec::new() }.line()
}

/// Reads a line.
struct Acceptor<'t> {
    line: &'t [Spanned],
    at: usize,
    depth: usize,
    /// Where the names of keyword arguments of the open calls are.
    keywords: Vec<usize>,
}

impl<'t> Acceptor<'t> {
    fn peek(&self) -> &'t Tok {
        self.peek_at(0)
    }

    fn peek_at(&self, distance: usize) -> &'t Tok {
        self.line.get(self.at + distance).map_or(&Tok::Newline, |(token, _)| token)
    }

    /// Takes a token of this kind, if it is the next one.
    fn eat(&mut self, wanted: &Tok) -> bool {
        let found = discriminant(self.peek()) == discriminant(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &Tok) -> Accepted {
        self.eat(wanted).then_some(())
    }

    fn name(&mut self) -> Accepted {
        let found = matches!(self.peek(), Tok::Name { .. });
        self.at += usize::from(found);
        found.then_some(())
    }

    /// Reads something that is nested in something else.
    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Accepted) -> Accepted {
        if self.depth == DEPTH {
            return None;
        }
        self.depth += 1;
        let accepted = read(self);
        self.depth -= 1;
        accepted
    }

    /// Reads one or more items with commas between them, and perhaps one at the end. Returns whether there is a comma.
    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Accepted) -> Option<bool> {
        let mut commas = false;
        loop {
            item(self)?;
            if !self.eat(&Tok::Comma) {
                return Some(commas);
            }
            commas = true;
            if !begins_expression(self.peek()) {
                return Some(true);
            }
        }
    }
}

/// Whether an expression can begin with a token, or what else can be an item of a list.
pub(super) fn begins_expression(token: &Tok) -> bool {
    matches!(
        token,
        Tok::Name { .. }
            | Tok::Int { .. }
            | Tok::Float { .. }
            | Tok::Complex { .. }
            | Tok::String { .. }
            | Tok::True
            | Tok::False
            | Tok::None
            | Tok::Ellipsis
            | Tok::Lpar
            | Tok::Lsqb
            | Tok::Lbrace
            | Tok::Plus
            | Tok::Minus
            | Tok::Tilde
            | Tok::Not
            | Tok::Await
            | Tok::Lambda
            | Tok::Star
    )
}

#[cfg(test)]
mod tests;
