//! Expressions.

use rustpython_parser::{StringKind, Tok};

use super::{Accepted, Acceptor, begins_expression};

impl Acceptor<'_> {
    /// `x`, `x if y else z` or a lambda.
    pub(super) fn test(&mut self) -> Accepted {
        self.nested(|inner| {
            if inner.eat(&Tok::Lambda) {
                return inner.lambda();
            }
            inner.disjunction()?;
            if !inner.eat(&Tok::If) {
                return Some(());
            }
            inner.disjunction()?;
            inner.expect(&Tok::Else)?;
            inner.test()
        })
    }

    fn lambda(&mut self) -> Accepted {
        self.parameters(&Tok::Colon, false)?;
        self.test()
    }

    /// `x := y`, or a test.
    pub(super) fn named_test(&mut self) -> Accepted {
        if matches!(self.peek(), Tok::Name { .. }) && matches!(self.peek_at(1), Tok::ColonEqual) {
            self.at += 2;
        }
        self.test()
    }

    /// `*x`, or a test.
    pub(super) fn test_or_star(&mut self) -> Accepted {
        if self.eat(&Tok::Star) { self.expression() } else { self.test() }
    }

    fn named_test_or_star(&mut self) -> Accepted {
        if self.eat(&Tok::Star) { self.expression() } else { self.named_test() }
    }

    /// An expression, or several with commas.
    pub(super) fn tests(&mut self) -> Accepted {
        self.list(Self::test_or_star).map(|_| ())
    }

    /// The targets of `for` and `del`.
    pub(super) fn targets(&mut self) -> Accepted {
        self.list(|inner| {
            inner.eat(&Tok::Star);
            inner.expression()
        })
        .map(|_| ())
    }

    /// `yield`, without parentheses.
    pub(super) fn yielded(&mut self) -> Accepted {
        self.expect(&Tok::Yield)?;
        if self.eat(&Tok::From) {
            return self.test();
        }
        if begins_expression(self.peek()) { self.tests() } else { Some(()) }
    }

    /// Comparisons with `not`, `and` and `or` between them, which bind less tightly.
    pub(super) fn disjunction(&mut self) -> Accepted {
        loop {
            while self.eat(&Tok::Not) {}
            self.comparison()?;
            if !matches!(self.peek(), Tok::And | Tok::Or) {
                return Some(());
            }
            self.at += 1;
        }
    }

    fn comparison(&mut self) -> Accepted {
        loop {
            self.expression()?;
            self.at += match (self.peek(), self.peek_at(1)) {
                (Tok::Is, Tok::Not) | (Tok::Not, Tok::In) => 2,
                (Tok::Is | Tok::In | Tok::EqEqual | Tok::NotEqual, _) => 1,
                (Tok::Less | Tok::LessEqual | Tok::Greater | Tok::GreaterEqual, _) => 1,
                _ => return Some(()),
            };
        }
    }

    /// Operands with the operators of numbers between them.
    pub(super) fn expression(&mut self) -> Accepted {
        loop {
            while matches!(self.peek(), Tok::Plus | Tok::Minus | Tok::Tilde) {
                self.at += 1;
            }
            self.eat(&Tok::Await);
            self.primary()?;
            if !is_binary(self.peek()) {
                return Some(());
            }
            self.at += 1;
        }
    }

    /// An atom with calls, attributes and elements of it.
    fn primary(&mut self) -> Accepted {
        self.atom()?;
        loop {
            match self.peek() {
                Tok::Dot => {
                    self.at += 1;
                    self.name()?;
                }
                Tok::Lpar => {
                    self.at += 1;
                    self.nested(Self::arguments)?;
                }
                Tok::Lsqb => {
                    self.at += 1;
                    self.nested(Self::subscripts)?;
                }
                _ => return Some(()),
            }
        }
    }

    fn atom(&mut self) -> Accepted {
        match self.peek() {
            Tok::String { .. } => return self.strings(),
            Tok::Lpar => {
                self.at += 1;
                return self.nested(Self::parenthesized);
            }
            Tok::Lsqb => {
                self.at += 1;
                return self.nested(Self::bracketed);
            }
            Tok::Lbrace => {
                self.at += 1;
                return self.nested(Self::braced);
            }
            Tok::Name { .. } | Tok::Int { .. } | Tok::Float { .. } | Tok::Complex { .. } => {}
            Tok::True | Tok::False | Tok::None | Tok::Ellipsis => {}
            _ => return None,
        }
        self.at += 1;
        Some(())
    }

    /// Adjacent strings: all of them bytes or none, with escapes that are known.
    fn strings(&mut self) -> Accepted {
        let mut bytes = None;
        while let Tok::String { value, kind, .. } = self.peek() {
            let is_bytes = kind.is_any_bytes();
            if *bytes.get_or_insert(is_bytes) != is_bytes || !is_decoded(value, *kind) {
                return None;
            }
            self.at += 1;
        }
        Some(())
    }

    /// After `(`, to `)`.
    fn parenthesized(&mut self) -> Accepted {
        if self.eat(&Tok::Rpar) {
            return Some(());
        }
        if matches!(self.peek(), Tok::Yield) {
            self.yielded()?;
            return self.expect(&Tok::Rpar);
        }
        let starred = matches!(self.peek(), Tok::Star);
        self.named_test_or_star()?;
        match self.peek() {
            Tok::For | Tok::Async if !starred => self.comprehension()?,
            Tok::Comma => self.more()?,
            _ if starred => return None,
            _ => {}
        }
        self.expect(&Tok::Rpar)
    }

    /// After `[`, to `]`.
    fn bracketed(&mut self) -> Accepted {
        if self.eat(&Tok::Rsqb) {
            return Some(());
        }
        let starred = matches!(self.peek(), Tok::Star);
        self.named_test_or_star()?;
        match self.peek() {
            Tok::For | Tok::Async if !starred => self.comprehension()?,
            _ => self.more()?,
        }
        self.expect(&Tok::Rsqb)
    }

    /// Further elements, each after a comma.
    fn more(&mut self) -> Accepted {
        if self.eat(&Tok::Comma) && begins_expression(self.peek()) {
            self.list(Self::named_test_or_star)?;
        }
        Some(())
    }

    /// After `{`, to `}`.
    fn braced(&mut self) -> Accepted {
        if self.eat(&Tok::Rbrace) {
            return Some(());
        }
        if matches!(self.peek(), Tok::DoubleStar) {
            self.entries()?;
            return self.expect(&Tok::Rbrace);
        }
        let first = self.at;
        let starred = matches!(self.peek(), Tok::Star);
        self.named_test_or_star()?;
        match self.peek() {
            Tok::Colon => {
                self.at = first;
                self.dictionary()?;
            }
            Tok::For | Tok::Async if !starred => self.comprehension()?,
            _ => self.more()?,
        }
        self.expect(&Tok::Rbrace)
    }

    fn dictionary(&mut self) -> Accepted {
        self.entry()?;
        match self.peek() {
            Tok::For | Tok::Async => self.comprehension(),
            Tok::Comma => {
                self.at += 1;
                if matches!(self.peek(), Tok::Rbrace) { Some(()) } else { self.entries() }
            }
            _ => Some(()),
        }
    }

    fn entries(&mut self) -> Accepted {
        loop {
            if self.eat(&Tok::DoubleStar) {
                self.expression()?;
            } else {
                self.entry()?;
            }
            if !self.eat(&Tok::Comma) || matches!(self.peek(), Tok::Rbrace) {
                return Some(());
            }
        }
    }

    fn entry(&mut self) -> Accepted {
        self.test()?;
        self.expect(&Tok::Colon)?;
        self.test()
    }

    fn comprehension(&mut self) -> Accepted {
        while matches!(self.peek(), Tok::For | Tok::Async) {
            self.eat(&Tok::Async);
            self.expect(&Tok::For)?;
            self.targets()?;
            self.expect(&Tok::In)?;
            self.disjunction()?;
            while self.eat(&Tok::If) {
                self.disjunction()?;
            }
        }
        Some(())
    }

    /// After `[`, to `]`.
    fn subscripts(&mut self) -> Accepted {
        loop {
            self.subscript()?;
            if !self.eat(&Tok::Comma) || matches!(self.peek(), Tok::Rsqb) {
                return self.expect(&Tok::Rsqb);
            }
        }
    }

    fn subscript(&mut self) -> Accepted {
        if !matches!(self.peek(), Tok::Colon) {
            let plain = !matches!(self.peek(), Tok::Star) && !matches!(self.peek_at(1), Tok::ColonEqual);
            self.named_test_or_star()?;
            if !matches!(self.peek(), Tok::Colon) {
                return Some(());
            }
            plain.then_some(())?;
        }
        for _ in 0..2 {
            if !self.eat(&Tok::Colon) {
                return Some(());
            }
            if !matches!(self.peek(), Tok::Colon | Tok::Comma | Tok::Rsqb) {
                self.test()?;
            }
        }
        Some(())
    }

    /// After `(`, to `)`: what may follow what, and no keyword twice.
    pub(super) fn arguments(&mut self) -> Accepted {
        let before = self.keywords.len();
        let (mut keyword, mut double) = (false, false);
        while !self.eat(&Tok::Rpar) {
            match (self.peek(), self.peek_at(1)) {
                (Tok::Name { .. }, Tok::Equal) => {
                    self.keyword(before)?;
                    keyword = true;
                }
                (Tok::DoubleStar, _) => {
                    self.at += 1;
                    self.test()?;
                    (keyword, double) = (true, true);
                }
                (Tok::Star, _) if !double => {
                    self.at += 1;
                    self.test()?;
                }
                _ if !keyword => {
                    self.named_test()?;
                    self.comprehension()?;
                }
                _ => return None,
            }
            if !self.eat(&Tok::Comma) {
                self.expect(&Tok::Rpar)?;
                break;
            }
        }
        self.keywords.truncate(before);
        Some(())
    }

    /// A keyword argument of a call whose keywords begin at `before`.
    fn keyword(&mut self, before: usize) -> Accepted {
        /// More of them take too long to compare.
        const MOST: usize = 256;
        let line = self.line;
        let is_known = |at: &usize| line[*at].0 == line[self.at].0;
        if self.keywords.len() - before == MOST || self.keywords[before..].iter().any(is_known) {
            return None;
        }
        self.keywords.push(self.at);
        self.at += 2;
        self.test()
    }
}

fn is_binary(token: &Tok) -> bool {
    matches!(
        token,
        Tok::Plus
            | Tok::Minus
            | Tok::Star
            | Tok::Slash
            | Tok::DoubleSlash
            | Tok::Percent
            | Tok::At
            | Tok::DoubleStar
            | Tok::Vbar
            | Tok::Amper
            | Tok::CircumFlex
            | Tok::LeftShift
            | Tok::RightShift
    )
}

/// Whether the grammar decodes a string without an error. Of escapes, it refuses some of `\x`, `\u`, `\U` and `\N`.
fn is_decoded(value: &str, kind: StringKind) -> bool {
    if kind.is_any_bytes() && !value.is_ascii() {
        return false;
    }
    let mut rest = if kind.is_raw() { &[] } else { value.as_bytes() };
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let is_digit = |distance: usize| rest.get(at + distance).is_some_and(u8::is_ascii_hexdigit);
        match rest.get(at + 1) {
            None | Some(b'u' | b'U' | b'N') => return false,
            Some(b'x') if !is_digit(2) || !is_digit(3) => return false,
            Some(_) => rest = &rest[at + 2..],
        }
    }
    true
}
