//! Reads a module's bindings from its statements.

use rustc_hash::{FxHashMap, FxHashSet};
use rustpython_parser::ast::{
    Arguments, ExceptHandler, Expr, Stmt, StmtAnnAssign, StmtAssign, StmtAugAssign, StmtClassDef, StmtIf, StmtImport,
    StmtImportFrom, StmtMatch, StmtWhile, WithItem,
};

use super::{Binding, Bindings, Branch, MODULE_SCOPE, Placed, Scope, ScopeId, ScopeKind, Value};
use crate::python::span::{end, start};
use crate::python::walk;
use crate::source::offset::TextOffset;

/// The statement of the path outside all branches: no statement starts there.
const NO_STATEMENT: TextOffset = TextOffset(usize::MAX);

impl<'a> Bindings<'a> {
    /// Reads a module.
    pub(crate) fn of(module: &'a [Stmt]) -> Self {
        let mut bindings = Bindings::default();
        bindings.paths.push(Branch { parent: None, statement: NO_STATEMENT, arm: 0, exclusive: false, test: None });
        bindings.open(ScopeKind::Module, "", None);
        bindings.scope = MODULE_SCOPE;
        bindings.body(module);
        bindings
    }

    pub(super) fn open(&mut self, kind: ScopeKind, name: &'a str, first_parameter: Option<&'a str>) -> ScopeId {
        let parent = (!self.scopes.is_empty()).then_some(self.scope);
        self.scopes.push(Scope {
            kind,
            parent,
            name,
            first_parameter,
            bindings: FxHashMap::default(),
            attributes: FxHashMap::default(),
            star_imports: Vec::new(),
            globals: FxHashSet::default(),
            nonlocals: FxHashSet::default(),
        });
        self.scopes.len() - 1
    }

    pub(super) fn within(&mut self, scope: ScopeId, work: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.scope, scope);
        work(self);
        self.scope = outer;
    }

    pub(super) fn branch(
        &mut self,
        statement: TextOffset,
        arm: usize,
        exclusive: bool,
        test: Option<&'a Expr>,
        work: impl FnOnce(&mut Self),
    ) {
        self.paths.push(Branch { parent: Some(self.path), statement, arm, exclusive, test });
        let outer = std::mem::replace(&mut self.path, self.paths.len() - 1);
        work(self);
        self.path = outer;
    }

    pub(super) fn bind(&mut self, name: &'a str, value: Value<'a>, position: TextOffset) {
        let binding = Binding { value, position, path: self.path, scope: self.scope };
        if matches!(value, Value::Expression(_) | Value::Element(..) | Value::Member { name: "nixl_agent", .. }) {
            self.aliases.insert(name);
        }
        let scope = self.owner_of(name);
        self.scopes[scope].bindings.entry(name).or_default().push(binding);
    }

    fn owner_of(&self, name: &str) -> ScopeId {
        let here = &self.scopes[self.scope];
        if here.globals.contains(name) {
            return MODULE_SCOPE;
        }
        if !here.nonlocals.contains(name) {
            return self.scope;
        }
        let outer = std::iter::successors(here.parent, |&id| self.scopes[id].parent);
        outer
            .into_iter()
            .find(|&id| self.scopes[id].kind == ScopeKind::Function && self.scopes[id].bindings.contains_key(name))
            .unwrap_or(self.scope)
    }

    fn body(&mut self, statements: &'a [Stmt]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &'a Stmt) {
        let (at, after) = (start(statement), end(statement));
        match statement {
            Stmt::FunctionDef(node) => {
                self.expressions(&node.decorator_list);
                self.function(&node.name, &node.args, node.returns.as_deref(), &node.body, at);
            }
            Stmt::AsyncFunctionDef(node) => {
                self.expressions(&node.decorator_list);
                self.function(&node.name, &node.args, node.returns.as_deref(), &node.body, at);
            }
            Stmt::ClassDef(node) => self.class(node, after),
            Stmt::Return(node) => node.value.iter().for_each(|value| self.returned(value)),
            Stmt::Delete(node) => node.targets.iter().for_each(|target| self.target(target, None, after, "deleted")),
            Stmt::Assign(node) => self.assignment(node, after),
            Stmt::AnnAssign(node) => self.annotated_assignment(node, after),
            Stmt::AugAssign(node) => self.augmented_assignment(node, at, after),
            Stmt::TypeAlias(node) => self.target(&node.name, None, after, "a type alias"),
            Stmt::For(node) => self.for_loop(&node.target, &node.iter, &node.body, &node.orelse, at),
            Stmt::AsyncFor(node) => self.for_loop(&node.target, &node.iter, &node.body, &node.orelse, at),
            Stmt::While(node) => self.while_loop(node, at),
            Stmt::If(node) => self.if_statement(node, at),
            Stmt::With(node) => self.with_statement(&node.items, &node.body),
            Stmt::AsyncWith(node) => self.with_statement(&node.items, &node.body),
            Stmt::Match(node) => self.match_statement(node, at),
            Stmt::Raise(node) => node.exc.iter().chain(&node.cause).for_each(|child| self.expression(child)),
            Stmt::Try(node) => self.try_statement(at, &node.body, &node.handlers, &node.orelse, &node.finalbody),
            Stmt::TryStar(node) => self.try_statement(at, &node.body, &node.handlers, &node.orelse, &node.finalbody),
            Stmt::Assert(node) => {
                self.expression(&node.test);
                node.msg.iter().for_each(|message| self.expression(message));
            }
            Stmt::Import(node) => self.import(node, after),
            Stmt::ImportFrom(node) => self.import_from(node, after),
            Stmt::Global(node) => {
                self.scopes[self.scope].globals.extend(node.names.iter().map(rustpython_ast::Identifier::as_str));
            }
            Stmt::Nonlocal(node) => {
                self.scopes[self.scope].nonlocals.extend(node.names.iter().map(rustpython_ast::Identifier::as_str));
            }
            Stmt::Expr(node) => self.expression(&node.value),
            Stmt::Pass(_) | Stmt::Break(_) | Stmt::Continue(_) => {}
        }
    }

    fn class(&mut self, node: &'a StmtClassDef, after: TextOffset) {
        self.expressions(&node.decorator_list);
        self.expressions(&node.bases);
        node.keywords.iter().for_each(|keyword| self.expression(&keyword.value));
        let scope = self.open(ScopeKind::Class, &node.name, None);
        self.within(scope, |inner| inner.body(&node.body));
        self.bind(&node.name, Value::Class, after);
    }

    fn returned(&mut self, value: &'a Expr) {
        self.returns.push(Placed { node: value, scope: self.scope, path: self.path });
        self.expression(value);
    }

    fn assignment(&mut self, node: &'a StmtAssign, after: TextOffset) {
        self.expression(&node.value);
        node.targets.iter().for_each(|target| self.target(target, Some(&node.value), after, "assigned"));
    }

    fn annotated_assignment(&mut self, node: &'a StmtAnnAssign, after: TextOffset) {
        self.expression(&node.annotation);
        let Some(value) = node.value.as_deref() else { return };
        self.expression(value);
        self.target(&node.target, Some(value), after, "assigned");
    }

    /// In a branch of its own: the name may still be what it was before, changed.
    fn augmented_assignment(&mut self, node: &'a StmtAugAssign, at: TextOffset, after: TextOffset) {
        self.expression(&node.value);
        let how = "changed by an augmented assignment";
        self.branch(at, 0, false, None, |inner| inner.target(&node.target, None, after, how));
    }

    fn while_loop(&mut self, node: &'a StmtWhile, at: TextOffset) {
        self.expression(&node.test);
        self.branch(at, 0, false, None, |inner| inner.body(&node.body));
        self.branch(at, 1, false, None, |inner| inner.body(&node.orelse));
    }

    fn if_statement(&mut self, node: &'a StmtIf, at: TextOffset) {
        self.expression(&node.test);
        self.branch(at, 0, true, Some(&node.test), |inner| inner.body(&node.body));
        self.branch(at, 1, true, Some(&node.test), |inner| inner.body(&node.orelse));
    }

    fn with_statement(&mut self, items: &'a [WithItem], body: &'a [Stmt]) {
        for item in items {
            let (context, target) = (&item.context_expr, item.optional_vars.as_deref());
            self.expression(context);
            let how = "bound by a `with` statement";
            target.into_iter().for_each(|target| self.target(target, None, end(context), how));
        }
        self.body(body);
    }

    fn match_statement(&mut self, node: &'a StmtMatch, at: TextOffset) {
        self.expression(&node.subject);
        for (arm, case) in node.cases.iter().enumerate() {
            self.branch(at, arm, true, None, |inner| {
                inner.pattern(&case.pattern);
                case.guard.iter().for_each(|guard| inner.expression(guard));
                inner.body(&case.body);
            });
        }
    }

    fn import(&mut self, node: &'a StmtImport, after: TextOffset) {
        for alias in &node.names {
            let module = alias.name.as_str();
            match &alias.asname {
                Some(name) => self.bind(name, Value::Module(module), after),
                None => {
                    let top = module.split('.').next().unwrap_or(module);
                    self.bind(top, Value::Module(top), after);
                }
            }
        }
    }

    fn import_from(&mut self, node: &'a StmtImportFrom, after: TextOffset) {
        let relative = node.level.as_ref().is_some_and(|level| level.to_u32() > 0);
        // A relative import names a module of the package itself, never NIXL.
        let module = if relative { "." } else { node.module.as_ref().map_or("", |name| name.as_str()) };
        for alias in &node.names {
            let name = alias.name.as_str();
            if name == "*" {
                self.scopes[self.scope].star_imports.push(module);
                continue;
            }
            let bound = alias.asname.as_ref().map_or(name, |name| name.as_str());
            self.bind(bound, Value::Member { module, name }, after);
        }
    }

    fn function(
        &mut self,
        name: &'a str,
        arguments: &'a Arguments,
        returns: Option<&'a Expr>,
        body: &'a [Stmt],
        at: TextOffset,
    ) {
        returns.into_iter().for_each(|annotation| self.expression(annotation));
        let scope = self.function_scope(name, arguments);
        self.bind(name, Value::Function(scope), at);
        self.within(scope, |inner| inner.branch(at, 0, false, None, |inner| inner.body(body)));
    }

    pub(super) fn function_scope(&mut self, name: &'a str, arguments: &'a Arguments) -> ScopeId {
        walk::defaults(arguments).for_each(|default| self.expression(default));
        let annotations = walk::parameters(arguments).filter_map(|argument| argument.annotation.as_deref());
        annotations.for_each(|annotation| self.expression(annotation));
        let first = walk::parameters(arguments).next().map(|argument| argument.arg.as_str());
        let scope = self.open(ScopeKind::Function, name, first);
        self.within(scope, |inner| {
            walk::parameters(arguments).for_each(|argument| inner.bind(&argument.arg, Value::Parameter, TextOffset(0)));
        });
        scope
    }

    fn for_loop(&mut self, target: &'a Expr, iterable: &'a Expr, body: &'a [Stmt], orelse: &'a [Stmt], at: TextOffset) {
        self.expression(iterable);
        self.branch(at, 0, false, None, |inner| {
            inner.target(target, None, end(iterable), "a loop variable");
            inner.body(body);
        });
        self.branch(at, 1, false, None, |inner| inner.body(orelse));
    }

    fn try_statement(
        &mut self,
        at: TextOffset,
        body: &'a [Stmt],
        handlers: &'a [ExceptHandler],
        orelse: &'a [Stmt],
        last: &'a [Stmt],
    ) {
        self.branch(at, 0, false, None, |inner| {
            inner.body(body);
            inner.body(orelse);
        });
        for (number, ExceptHandler::ExceptHandler(handler)) in handlers.iter().enumerate() {
            self.branch(at, number + 1, false, None, |inner| {
                handler.type_.iter().for_each(|kind| inner.expression(kind));
                let name = handler.name.as_ref().map(rustpython_ast::Identifier::as_str);
                name.into_iter().for_each(|name| inner.bind(name, Value::Opaque("an exception"), start(handler)));
                inner.body(&handler.body);
            });
        }
        self.body(last);
    }
}
