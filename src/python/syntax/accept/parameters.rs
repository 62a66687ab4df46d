//! The parameters of functions and lambdas.

use rustpython_parser::Tok;

use super::{Accepted, Acceptor};

/// More parameters take too long to compare.
const MOST: usize = 256;

/// What was read of a list of parameters.
#[derive(Default)]
struct Read {
    /// Where their names are.
    names: Vec<usize>,
    /// Whether one before `*` has a default, so that those after it need one too.
    default: bool,
    /// After `/`.
    slash: bool,
    /// After `*`.
    star: bool,
    /// Directly after `*` without a name: another one must follow.
    bare: bool,
}

impl Acceptor<'_> {
    /// Reads parameters up to the token `end`, which it takes. `typed`: they can have annotations.
    pub(super) fn parameters(&mut self, end: &Tok, typed: bool) -> Accepted {
        let mut read = Read::default();
        while !self.eat(end) {
            let last = matches!(self.peek(), Tok::DoubleStar);
            self.one_parameter(&mut read, typed)?;
            if !self.eat(&Tok::Comma) || last {
                self.expect(end)?;
                break;
            }
        }
        (!read.bare).then_some(())
    }

    fn one_parameter(&mut self, read: &mut Read, typed: bool) -> Accepted {
        match self.peek() {
            Tok::Slash if !read.slash && !read.star && !read.names.is_empty() => {
                self.at += 1;
                read.slash = true;
                Some(())
            }
            Tok::Star if !read.star => {
                self.at += 1;
                read.star = true;
                read.bare = matches!(self.peek(), Tok::Comma);
                if read.bare { Some(()) } else { self.parameter_name(read, typed) }
            }
            Tok::DoubleStar if !read.bare => {
                self.at += 1;
                self.parameter_name(read, typed)
            }
            _ => {
                self.parameter_name(read, typed)?;
                read.bare = false;
                let given = self.eat(&Tok::Equal);
                if given {
                    self.test()?;
                }
                let follows = given || read.star || !read.default;
                read.default |= given && !read.star;
                follows.then_some(())
            }
        }
    }

    /// The name of a parameter, which no other has, and its annotation.
    fn parameter_name(&mut self, read: &mut Read, typed: bool) -> Accepted {
        let at = self.at;
        self.name()?;
        let is_known = read.names.iter().any(|known| self.line[*known].0 == self.line[at].0);
        if is_known || read.names.len() == MOST {
            return None;
        }
        read.names.push(at);
        if typed && self.eat(&Tok::Colon) {
            return self.test();
        }
        Some(())
    }
}
