//! The names that a scope binds anywhere in its body: they are its own in all of it.

use rustpython_parser::ast::{ExceptHandler, Expr, Pattern, Stmt};

use crate::python::span::{end, start};
use crate::python::walk;

/// What a list of statements declares in its own scope.
#[derive(Debug, Default)]
pub(super) struct Declared<'a> {
    /// The names that it binds.
    pub bound: Vec<&'a str>,
    /// Those that it says belong to the module.
    pub globals: Vec<&'a str>,
    /// Those that it says belong to a function around it.
    pub nonlocals: Vec<&'a str>,
}

/// Collects what `body` declares.
pub(super) fn declared<'a>(text: &'a str, body: &'a [Stmt]) -> Declared<'a> {
    let mut collector = Collector { found: Declared::default(), text, named: true };
    let span = body.first().map(start).zip(body.last().map(end));
    // Assignment expressions are the only bindings inside expressions, and rare.
    collector.named = span.and_then(|(from, to)| text.get(from.0..to.0)).is_some_and(has_named_expression);
    collector.body(body);
    collector.found
}

/// Collects the names of assignment targets.
pub(super) fn of_target(target: &Expr) -> Vec<&str> {
    let mut collector = Collector { found: Declared::default(), text: "", named: true };
    collector.target(target);
    collector.found.bound
}

fn has_named_expression(text: &str) -> bool {
    // A searcher for both bytes takes longer to make than most bodies to look through.
    let bytes = text.as_bytes();
    memchr::memchr_iter(b':', bytes).any(|colon| bytes.get(colon + 1) == Some(&b'='))
}

struct Collector<'a> {
    found: Declared<'a>,
    text: &'a str,
    /// Whether to look for assignment expressions.
    named: bool,
}

impl<'a> Collector<'a> {
    fn bind(&mut self, name: &'a str) {
        self.found.bound.push(name);
    }

    fn body(&mut self, statements: &'a [Stmt]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::FunctionDef(node) => self.bind(&node.name),
            Stmt::AsyncFunctionDef(node) => self.bind(&node.name),
            Stmt::ClassDef(node) => self.bind(&node.name),
            Stmt::Delete(node) => node.targets.iter().for_each(|target| self.target(target)),
            Stmt::Assign(node) => node.targets.iter().for_each(|target| self.target(target)),
            Stmt::AnnAssign(node) => self.target(&node.target),
            Stmt::AugAssign(node) => self.target(&node.target),
            Stmt::TypeAlias(node) => self.target(&node.name),
            Stmt::For(node) => self.loop_of(Some(&node.target), &node.body, &node.orelse),
            Stmt::AsyncFor(node) => self.loop_of(Some(&node.target), &node.body, &node.orelse),
            Stmt::While(node) => self.loop_of(None, &node.body, &node.orelse),
            Stmt::If(node) => return self.if_chain(node),
            Stmt::With(node) => self.with(&node.items, &node.body),
            Stmt::AsyncWith(node) => self.with(&node.items, &node.body),
            Stmt::Match(node) => node.cases.iter().for_each(|case| {
                self.pattern(&case.pattern);
                self.body(&case.body);
            }),
            Stmt::Try(node) => self.try_of(&node.body, &node.handlers, &node.orelse, &node.finalbody),
            Stmt::TryStar(node) => self.try_of(&node.body, &node.handlers, &node.orelse, &node.finalbody),
            Stmt::Import(node) => node.names.iter().for_each(|alias| {
                let top = alias.name.split('.').next().unwrap_or_default();
                self.bind(alias.asname.as_ref().map_or(top, |name| name.as_str()));
            }),
            Stmt::ImportFrom(node) => node.names.iter().filter(|alias| alias.name.as_str() != "*").for_each(|alias| {
                self.bind(alias.asname.as_ref().unwrap_or(&alias.name));
            }),
            Stmt::Global(node) => self.found.globals.extend(node.names.iter().map(rustpython_ast::Identifier::as_str)),
            Stmt::Nonlocal(node) => {
                self.found.nonlocals.extend(node.names.iter().map(rustpython_ast::Identifier::as_str));
            }
            _ => {}
        }
        let text = self.text;
        let here = || text.get(start(statement).0..end(statement).0).is_some_and(has_named_expression);
        if self.named && here() {
            walk::expressions_of(statement, &mut |expression| self.expression(expression));
        }
    }

    /// An `elif` is an `if` inside the `else` before it: a loop, since there can be thousands.
    fn if_chain(&mut self, first: &'a rustpython_parser::ast::StmtIf) {
        for (test, body) in walk::if_arms(first) {
            if self.named {
                test.into_iter().for_each(|test| self.expression(test));
            }
            self.body(body);
        }
    }

    fn loop_of(&mut self, target: Option<&'a Expr>, body: &'a [Stmt], orelse: &'a [Stmt]) {
        target.into_iter().for_each(|target| self.target(target));
        self.body(body);
        self.body(orelse);
    }

    fn with(&mut self, items: &'a [rustpython_parser::ast::WithItem], body: &'a [Stmt]) {
        items.iter().filter_map(|item| item.optional_vars.as_deref()).for_each(|target| self.target(target));
        self.body(body);
    }

    fn try_of(&mut self, body: &'a [Stmt], handlers: &'a [ExceptHandler], orelse: &'a [Stmt], last: &'a [Stmt]) {
        self.body(body);
        for ExceptHandler::ExceptHandler(handler) in handlers {
            handler.name.iter().for_each(|name| self.bind(name));
            self.body(&handler.body);
        }
        self.body(orelse);
        self.body(last);
    }

    fn target(&mut self, target: &'a Expr) {
        match target {
            Expr::Name(name) => self.bind(&name.id),
            Expr::Tuple(node) => node.elts.iter().for_each(|element| self.target(element)),
            Expr::List(node) => node.elts.iter().for_each(|element| self.target(element)),
            Expr::Starred(node) => self.target(&node.value),
            _ => {}
        }
    }

    fn pattern(&mut self, pattern: &'a Pattern) {
        walk::pattern_names(pattern, &mut |name, _| self.bind(name));
    }

    /// Assignment expressions, also those in comprehensions, which bind in the scope around these.
    fn expression(&mut self, expression: &'a Expr) {
        if let Expr::NamedExpr(node) = expression {
            self.target(&node.target);
        }
        if matches!(expression, Expr::Lambda(_)) {
            return;
        }
        walk::comprehension_parts(expression).into_iter().for_each(|part| self.expression(part));
        walk::children(expression, &mut |child| self.expression(child));
    }
}
