//! Reads a module's bindings.

use rustc_hash::{FxHashMap, FxHashSet};
use rustpython_parser::ast::{Arguments, Comprehension, ExceptHandler, Expr, Pattern, Stmt};

use super::{Binding, Bindings, Branch, MODULE_SCOPE, Placed, Scope, ScopeId, ScopeKind, Value};
use crate::python::{end, start, walk};

impl<'a> Bindings<'a> {
    /// Reads a module.
    pub(crate) fn of(module: &'a [Stmt]) -> Self {
        let mut bindings = Bindings::default();
        bindings.paths.push(Branch { parent: None, statement: usize::MAX, arm: 0, exclusive: false, test: None });
        bindings.open(ScopeKind::Module, "", None);
        bindings.scope = MODULE_SCOPE;
        bindings.body(module);
        bindings
    }

    fn open(&mut self, kind: ScopeKind, name: &'a str, first_parameter: Option<&'a str>) -> ScopeId {
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

    fn within(&mut self, scope: ScopeId, work: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.scope, scope);
        work(self);
        self.scope = outer;
    }

    fn branch(
        &mut self,
        statement: usize,
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

    fn bind(&mut self, name: &'a str, value: Value<'a>, position: usize) {
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
            Stmt::ClassDef(node) => {
                self.expressions(&node.decorator_list);
                self.expressions(&node.bases);
                node.keywords.iter().for_each(|keyword| self.expression(&keyword.value));
                let scope = self.open(ScopeKind::Class, &node.name, None);
                self.within(scope, |inner| inner.body(&node.body));
                self.bind(&node.name, Value::Class, after);
            }
            Stmt::Return(node) => {
                let Some(value) = node.value.as_deref() else { return };
                self.returns.push(Placed { node: value, scope: self.scope, path: self.path });
                self.expression(value);
            }
            Stmt::Delete(node) => node.targets.iter().for_each(|target| self.target(target, None, after, "deleted")),
            Stmt::Assign(node) => {
                self.expression(&node.value);
                node.targets.iter().for_each(|target| self.target(target, Some(&node.value), after, "assigned"));
            }
            Stmt::AnnAssign(node) => {
                self.expression(&node.annotation);
                let Some(value) = node.value.as_deref() else { return };
                self.expression(value);
                self.target(&node.target, Some(value), after, "assigned");
            }
            Stmt::AugAssign(node) => {
                self.expression(&node.value);
                self.branch(at, 0, false, None, |inner| {
                    inner.target(&node.target, None, after, "changed by an operator")
                });
            }
            Stmt::TypeAlias(node) => self.target(&node.name, None, after, "a type alias"),
            Stmt::For(node) => self.for_loop(&node.target, &node.iter, &node.body, &node.orelse, at),
            Stmt::AsyncFor(node) => self.for_loop(&node.target, &node.iter, &node.body, &node.orelse, at),
            Stmt::While(node) => {
                self.expression(&node.test);
                self.branch(at, 0, false, None, |inner| inner.body(&node.body));
                self.branch(at, 1, false, None, |inner| inner.body(&node.orelse));
            }
            Stmt::If(node) => {
                self.expression(&node.test);
                self.branch(at, 0, true, Some(&node.test), |inner| inner.body(&node.body));
                self.branch(at, 1, true, Some(&node.test), |inner| inner.body(&node.orelse));
            }
            Stmt::With(node) => {
                node.items.iter().for_each(|item| self.with_item(&item.context_expr, item.optional_vars.as_deref()));
                self.body(&node.body);
            }
            Stmt::AsyncWith(node) => {
                node.items.iter().for_each(|item| self.with_item(&item.context_expr, item.optional_vars.as_deref()));
                self.body(&node.body);
            }
            Stmt::Match(node) => {
                self.expression(&node.subject);
                for (arm, case) in node.cases.iter().enumerate() {
                    self.branch(at, arm, true, None, |inner| {
                        inner.pattern(&case.pattern);
                        case.guard.iter().for_each(|guard| inner.expression(guard));
                        inner.body(&case.body);
                    });
                }
            }
            Stmt::Raise(node) => {
                [&node.exc, &node.cause].into_iter().flatten().for_each(|child| self.expression(child))
            }
            Stmt::Try(node) => self.try_statement(at, &node.body, &node.handlers, &node.orelse, &node.finalbody),
            Stmt::TryStar(node) => self.try_statement(at, &node.body, &node.handlers, &node.orelse, &node.finalbody),
            Stmt::Assert(node) => {
                self.expression(&node.test);
                node.msg.iter().for_each(|message| self.expression(message));
            }
            Stmt::Import(node) => {
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
            Stmt::ImportFrom(node) => {
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
            Stmt::Global(node) => {
                self.scopes[self.scope].globals.extend(node.names.iter().map(|name| name.as_str()));
            }
            Stmt::Nonlocal(node) => {
                self.scopes[self.scope].nonlocals.extend(node.names.iter().map(|name| name.as_str()));
            }
            Stmt::Expr(node) => self.expression(&node.value),
            Stmt::Pass(_) | Stmt::Break(_) | Stmt::Continue(_) => {}
        }
    }

    fn function(
        &mut self,
        name: &'a str,
        arguments: &'a Arguments,
        returns: Option<&'a Expr>,
        body: &'a [Stmt],
        at: usize,
    ) {
        returns.into_iter().for_each(|annotation| self.expression(annotation));
        let scope = self.function_scope(name, arguments);
        self.bind(name, Value::Function(scope), at);
        self.within(scope, |inner| inner.branch(at, 0, false, None, |inner| inner.body(body)));
    }

    fn function_scope(&mut self, name: &'a str, arguments: &'a Arguments) -> ScopeId {
        walk::defaults(arguments).for_each(|default| self.expression(default));
        let annotations = walk::parameters(arguments).filter_map(|argument| argument.annotation.as_deref());
        annotations.for_each(|annotation| self.expression(annotation));
        let first = walk::parameters(arguments).next().map(|argument| argument.arg.as_str());
        let scope = self.open(ScopeKind::Function, name, first);
        self.within(scope, |inner| {
            walk::parameters(arguments).for_each(|argument| inner.bind(&argument.arg, Value::Parameter, 0));
        });
        scope
    }

    fn for_loop(&mut self, target: &'a Expr, iterable: &'a Expr, body: &'a [Stmt], orelse: &'a [Stmt], at: usize) {
        self.expression(iterable);
        self.branch(at, 0, false, None, |inner| {
            inner.target(target, None, end(iterable), "a loop's variable");
            inner.body(body);
        });
        self.branch(at, 1, false, None, |inner| inner.body(orelse));
    }

    fn with_item(&mut self, context: &'a Expr, variable: Option<&'a Expr>) {
        self.expression(context);
        variable.into_iter().for_each(|target| self.target(target, None, end(context), "bound by a with statement"));
    }

    fn try_statement(
        &mut self,
        at: usize,
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
                let name = handler.name.as_ref().map(|name| name.as_str());
                name.into_iter().for_each(|name| inner.bind(name, Value::Opaque("an exception"), start(handler)));
                inner.body(&handler.body);
            });
        }
        self.body(last);
    }

    /// Binds what an assignment's left side names.
    fn target(&mut self, target: &'a Expr, value: Option<&'a Expr>, position: usize, how: &'static str) {
        let bound = value.map_or(Value::Opaque(how), Value::Expression);
        match target {
            Expr::Name(name) => self.bind(&name.id, bound, position),
            Expr::Attribute(attribute) => {
                self.expression(&attribute.value);
                let Some(name) = attribute.value.as_name_expr() else { return };
                let binding = Binding { value: bound, position, path: self.path, scope: self.scope };
                let class = self.class_of_method(self.scope, &name.id).unwrap_or(self.scope);
                let key = (name.id.as_str(), attribute.attr.as_str());
                self.aliases.insert(key.1);
                self.scopes[class].attributes.entry(key).or_default().push(binding);
            }
            Expr::Tuple(node) => self.unpack(&node.elts, value, position, how),
            Expr::List(node) => self.unpack(&node.elts, value, position, how),
            Expr::Starred(node) => self.target(&node.value, None, position, "unpacked with a star"),
            other => self.expression(other),
        }
    }

    fn unpack(&mut self, targets: &'a [Expr], value: Option<&'a Expr>, position: usize, how: &'static str) {
        let starred = targets.iter().any(|target| target.is_starred_expr());
        for (number, target) in targets.iter().enumerate() {
            match (target, value) {
                (Expr::Name(name), Some(value)) if !starred => {
                    self.bind(&name.id, Value::Element(value, number), position)
                }
                _ => self.target(target, None, position, how),
            }
        }
    }

    fn pattern(&mut self, pattern: &'a Pattern) {
        let matched = Value::Opaque("bound by a match pattern");
        let position = end(pattern);
        match pattern {
            Pattern::MatchValue(node) => self.expression(&node.value),
            Pattern::MatchSingleton(_) => {}
            Pattern::MatchSequence(node) => node.patterns.iter().for_each(|inner| self.pattern(inner)),
            Pattern::MatchMapping(node) => {
                node.patterns.iter().for_each(|inner| self.pattern(inner));
                node.rest.iter().for_each(|name| self.bind(name, matched, position));
            }
            Pattern::MatchClass(node) => {
                node.patterns.iter().chain(&node.kwd_patterns).for_each(|inner| self.pattern(inner))
            }
            Pattern::MatchStar(node) => node.name.iter().for_each(|name| self.bind(name, matched, position)),
            Pattern::MatchAs(node) => {
                node.pattern.iter().for_each(|inner| self.pattern(inner));
                node.name.iter().for_each(|name| self.bind(name, matched, position));
            }
            Pattern::MatchOr(node) => node.patterns.iter().for_each(|inner| self.pattern(inner)),
        }
    }

    fn expressions(&mut self, expressions: &'a [Expr]) {
        expressions.iter().for_each(|expression| self.expression(expression));
    }

    fn expression(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Call(_) | Expr::Subscript(_) => {
                self.uses.push(Placed { node: expression, scope: self.scope, path: self.path });
            }
            Expr::NamedExpr(node) => return self.named(&node.target, &node.value, end(node)),
            Expr::Lambda(node) => {
                let scope = self.function_scope("", &node.args);
                return self.within(scope, |inner| inner.expression(&node.body));
            }
            Expr::ListComp(node) => return self.comprehension(&node.generators, &[&node.elt]),
            Expr::SetComp(node) => return self.comprehension(&node.generators, &[&node.elt]),
            Expr::GeneratorExp(node) => return self.comprehension(&node.generators, &[&node.elt]),
            Expr::DictComp(node) => return self.comprehension(&node.generators, &[&node.key, &node.value]),
            _ => {}
        }
        walk::children(expression, &mut |child| self.expression(child));
    }

    /// `name := value` binds in the scope around a comprehension.
    fn named(&mut self, target: &'a Expr, value: &'a Expr, position: usize) {
        self.expression(value);
        let mut scope = self.scope;
        while let (ScopeKind::Comprehension, Some(parent)) = (self.scopes[scope].kind, self.scopes[scope].parent) {
            scope = parent;
        }
        self.within(scope, |inner| {
            inner.branch(position, 0, false, None, |inner| inner.target(target, Some(value), position, ""))
        });
    }

    fn comprehension(&mut self, generators: &'a [Comprehension], results: &[&'a Expr]) {
        // The first iterable is evaluated outside.
        generators.iter().take(1).for_each(|generator| self.expression(&generator.iter));
        let scope = self.open(ScopeKind::Comprehension, "", None);
        self.within(scope, |inner| {
            for (number, generator) in generators.iter().enumerate() {
                if number > 0 {
                    inner.expression(&generator.iter);
                }
                // Known in the whole comprehension, whose result stands before its variables.
                inner.target(&generator.target, None, 0, "a comprehension's variable");
                inner.expressions(&generator.ifs);
            }
            results.iter().for_each(|result| inner.expression(result));
        });
    }
}
