//! Simple statements, and the headers of blocks.

use rustpython_parser::Tok;

use super::{Accepted, Acceptor, Clause, Form, begins_expression};

impl Acceptor<'_> {
    /// A whole line.
    pub(super) fn line(mut self) -> Option<Form> {
        let form = self.start()?;
        self.expect(&Tok::Newline)?;
        (self.at == self.line.len()).then_some(form)
    }

    fn start(&mut self) -> Option<Form> {
        let Some(clause) = self.clause()? else {
            if self.eat(&Tok::At) {
                self.named_test()?;
                return Some(Form::Decorator);
            }
            self.simple_statements()?;
            return Some(Form::Simple);
        };
        self.expect(&Tok::Colon)?;
        let inline = !matches!(self.peek(), Tok::Newline);
        if inline {
            self.simple_statements()?;
        }
        Some(Form::Clause { clause, inline })
    }

    /// The header of a block up to its colon; Some(None) for other lines.
    fn clause(&mut self) -> Option<Option<Clause>> {
        if matches!(self.peek(), Tok::Async) {
            self.at += 1;
            if !matches!(self.peek(), Tok::Def | Tok::For | Tok::With) {
                return None;
            }
        }
        let token = self.peek();
        self.at += 1;
        let clause = match token {
            Tok::Def => self.function().map(|()| Clause::Definition),
            Tok::Class => self.class().map(|()| Clause::Definition),
            Tok::If => self.named_test().map(|()| Clause::If),
            Tok::Elif => self.named_test().map(|()| Clause::Elif),
            Tok::While => self.named_test().map(|()| Clause::Loop),
            Tok::For => self.for_loop().map(|()| Clause::Loop),
            Tok::With => self.with_items().map(|()| Clause::With),
            Tok::Except => self.except(),
            Tok::Else => Some(Clause::Else),
            Tok::Try => Some(Clause::Try),
            Tok::Finally => Some(Clause::Finally),
            Tok::Match | Tok::Case | Tok::Type => None,
            _ => {
                self.at -= 1;
                return Some(None);
            }
        };
        clause.map(Some)
    }

    fn function(&mut self) -> Accepted {
        self.name()?;
        self.expect(&Tok::Lpar)?;
        self.parameters(&Tok::Rpar, true)?;
        if self.eat(&Tok::Rarrow) { self.test() } else { Some(()) }
    }

    fn class(&mut self) -> Accepted {
        self.name()?;
        if self.eat(&Tok::Lpar) { self.arguments() } else { Some(()) }
    }

    fn for_loop(&mut self) -> Accepted {
        self.targets()?;
        self.expect(&Tok::In)?;
        self.tests()
    }

    fn with_items(&mut self) -> Accepted {
        // Parentheses may be around all items or around an expression.
        if matches!(self.peek(), Tok::Lpar) {
            return None;
        }
        loop {
            self.test()?;
            if self.eat(&Tok::As) {
                self.expression()?;
            }
            if !self.eat(&Tok::Comma) {
                return Some(());
            }
        }
    }

    fn except(&mut self) -> Option<Clause> {
        let clause = if self.eat(&Tok::Star) { Clause::ExceptStar } else { Clause::Except };
        if clause == Clause::Except && matches!(self.peek(), Tok::Colon) {
            return Some(clause);
        }
        self.test()?;
        if self.eat(&Tok::As) {
            self.name()?;
        }
        Some(clause)
    }

    fn simple_statements(&mut self) -> Accepted {
        loop {
            self.simple_statement()?;
            if !self.eat(&Tok::Semi) || matches!(self.peek(), Tok::Newline) {
                return Some(());
            }
        }
    }

    fn simple_statement(&mut self) -> Accepted {
        let token = self.peek();
        if matches!(token, Tok::Yield) {
            return self.yielded();
        }
        if begins_expression(token) {
            return self.expression_statement();
        }
        self.at += 1;
        match token {
            Tok::Pass | Tok::Break | Tok::Continue => Some(()),
            Tok::Del => self.targets(),
            Tok::Return if begins_expression(self.peek()) => self.tests(),
            Tok::Return => Some(()),
            Tok::Raise => self.raise(),
            Tok::Global | Tok::Nonlocal => self.names(),
            Tok::Assert => {
                self.test()?;
                if self.eat(&Tok::Comma) { self.test() } else { Some(()) }
            }
            Tok::Import => self.import(),
            Tok::From => self.import_from(),
            _ => None,
        }
    }

    fn raise(&mut self) -> Accepted {
        if !begins_expression(self.peek()) {
            return Some(());
        }
        self.test()?;
        if self.eat(&Tok::From) { self.test() } else { Some(()) }
    }

    fn names(&mut self) -> Accepted {
        loop {
            self.name()?;
            if !self.eat(&Tok::Comma) {
                return Some(());
            }
        }
    }

    fn import(&mut self) -> Accepted {
        loop {
            self.dotted_name()?;
            self.alias()?;
            if !self.eat(&Tok::Comma) {
                return Some(());
            }
        }
    }

    fn import_from(&mut self) -> Accepted {
        let dots = self.at;
        while matches!(self.peek(), Tok::Dot | Tok::Ellipsis) {
            self.at += 1;
        }
        if self.at == dots || !matches!(self.peek(), Tok::Import) {
            self.dotted_name()?;
        }
        self.expect(&Tok::Import)?;
        let parenthesized = self.eat(&Tok::Lpar);
        loop {
            self.name()?;
            self.alias()?;
            if !self.eat(&Tok::Comma) || parenthesized && matches!(self.peek(), Tok::Rpar) {
                break;
            }
        }
        if parenthesized { self.expect(&Tok::Rpar) } else { Some(()) }
    }

    fn dotted_name(&mut self) -> Accepted {
        self.name()?;
        while self.eat(&Tok::Dot) {
            self.name()?;
        }
        Some(())
    }

    fn alias(&mut self) -> Accepted {
        if self.eat(&Tok::As) { self.name() } else { Some(()) }
    }

    /// An expression, an assignment, or an annotated name.
    fn expression_statement(&mut self) -> Accepted {
        let starred = matches!(self.peek(), Tok::Star);
        let commas = self.list(Self::test_or_star)?;
        if matches!(self.peek(), Tok::Colon) && !starred && !commas {
            self.at += 1;
            self.test()?;
            return if self.eat(&Tok::Equal) { self.assigned() } else { Some(()) };
        }
        if is_augmented(self.peek()) {
            self.at += 1;
            return self.assigned();
        }
        while self.eat(&Tok::Equal) {
            self.assigned()?;
        }
        Some(())
    }

    fn assigned(&mut self) -> Accepted {
        if matches!(self.peek(), Tok::Yield) { self.yielded() } else { self.tests() }
    }
}

/// Whether it is the operator of an augmented assignment.
pub(in crate::python::syntax) fn is_augmented(token: &Tok) -> bool {
    matches!(
        token,
        Tok::PlusEqual
            | Tok::MinusEqual
            | Tok::StarEqual
            | Tok::AtEqual
            | Tok::SlashEqual
            | Tok::PercentEqual
            | Tok::AmperEqual
            | Tok::VbarEqual
            | Tok::CircumflexEqual
            | Tok::LeftShiftEqual
            | Tok::RightShiftEqual
            | Tok::DoubleStarEqual
            | Tok::DoubleSlashEqual
    )
}
