//! Reads a module's bindings from its statements.

use rustpython_parser::ast::{
    Arguments, ExceptHandler, Expr, Stmt, StmtAnnAssign, StmtAssign, StmtAugAssign, StmtClassDef, StmtIf, StmtImport,
    StmtImportFrom, StmtMatch, StmtTry, StmtWhile, WithItem,
};

use super::declared::{declared, of_target};
use super::flow::{Arm, Reader};
use super::{Opaque, Returned, ScopeId, ScopeKind, StarImport, Use, Value, VariableId, level_of, module_of};
use crate::python::span::{end, start};
use crate::python::walk;

/// Context managers that are known to swallow exceptions, so that what follows runs although their body did not end.
const SWALLOWING: [&str; 4] = ["suppress", "ExitStack", "AsyncExitStack", "raises"];

/// The name of NIXL's agent class.
const AGENT: &str = "nixl_agent";
/// The name of NIXL's configuration class.
const CONFIGURATION: &str = "nixl_agent_config";
/// How many names of it are followed.
const CONFIGURATION_NAMES: usize = 4;

/// A function definition, `async` or not.
struct Definition<'a> {
    name: &'a str,
    arguments: &'a Arguments,
    body: &'a [Stmt],
    decorators: &'a [Expr],
    returns: Option<&'a Expr>,
    is_async: bool,
}

/// The parts of a `try` statement.
struct Try<'a> {
    body: &'a [Stmt],
    handlers: &'a [ExceptHandler],
    orelse: &'a [Stmt],
    last: &'a [Stmt],
}

impl<'a> Reader<'a> {
    pub(super) fn body(&mut self, statements: &'a [Stmt]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::FunctionDef(node) => self.function(&Definition {
                name: &node.name,
                arguments: &node.args,
                body: &node.body,
                decorators: &node.decorator_list,
                returns: node.returns.as_deref(),
                is_async: false,
            }),
            Stmt::AsyncFunctionDef(node) => self.function(&Definition {
                name: &node.name,
                arguments: &node.args,
                body: &node.body,
                decorators: &node.decorator_list,
                returns: node.returns.as_deref(),
                is_async: true,
            }),
            Stmt::ClassDef(node) => self.class(node),
            Stmt::Return(node) => self.returned(node.value.as_deref()),
            Stmt::Delete(node) => node.targets.iter().for_each(|target| self.delete(target)),
            Stmt::Assign(node) => self.assignment(node),
            Stmt::AnnAssign(node) => self.annotated_assignment(node),
            Stmt::AugAssign(node) => self.augmented_assignment(node),
            Stmt::TypeAlias(node) => self.target(&node.name, Value::Opaque(Opaque::TypeAlias)),
            Stmt::For(node) => self.for_loop(statement, &node.target, &node.iter, [&node.body, &node.orelse]),
            Stmt::AsyncFor(node) => self.for_loop(statement, &node.target, &node.iter, [&node.body, &node.orelse]),
            Stmt::While(node) => self.while_loop(statement, node),
            Stmt::If(node) => self.if_statement(statement, node),
            Stmt::With(node) => self.with_statement(&node.items, &node.body),
            Stmt::AsyncWith(node) => self.with_statement(&node.items, &node.body),
            Stmt::Match(node) => self.match_statement(statement, node),
            Stmt::Raise(node) => {
                node.exc.iter().chain(&node.cause).for_each(|child| self.expression(child, Use::Inert));
                self.reachable = false;
            }
            Stmt::Try(StmtTry { body, handlers, orelse, finalbody, .. }) => {
                self.try_statement(statement, &Try { body, handlers, orelse, last: finalbody });
            }
            Stmt::TryStar(node) => self.try_statement(
                statement,
                &Try { body: &node.body, handlers: &node.handlers, orelse: &node.orelse, last: &node.finalbody },
            ),
            Stmt::Assert(node) => {
                self.expression(&node.test, Use::Inert);
                node.msg.iter().for_each(|message| self.expression(message, Use::Inert));
            }
            Stmt::Import(node) => self.import(node),
            Stmt::ImportFrom(node) => self.import_from(node),
            Stmt::Expr(node) => self.expression(&node.value, Use::Value),
            Stmt::Break(_) | Stmt::Continue(_) => self.reachable = false,
            Stmt::Global(_) | Stmt::Nonlocal(_) | Stmt::Pass(_) => {}
        }
    }

    fn class(&mut self, node: &'a StmtClassDef) {
        node.decorator_list.iter().for_each(|decorator| self.expression(decorator, Use::Argument));
        node.bases.iter().for_each(|base| self.expression(base, Use::Base));
        node.keywords.iter().for_each(|keyword| self.expression(&keyword.value, Use::Base));
        let scope = self.open(ScopeKind::Class, &node.name);
        self.bindings.scopes[scope as usize].bases = &node.bases;
        self.within(scope, |inner| {
            inner.declare(&declared(inner.text, &node.body));
            inner.body(&node.body);
        });
        self.bind(&node.name, Value::Class(scope));
    }

    fn returned(&mut self, value: Option<&'a Expr>) {
        value.into_iter().for_each(|value| self.expression(value, Use::Returned));
        self.reachable = false;
        let path = self.path;
        if let Some(function) = &mut self.here().function {
            function.returns.push(Returned { value, path });
        }
    }

    fn delete(&mut self, target: &'a Expr) {
        match target {
            Expr::Name(name) => {
                self.load(&name.id, start(name));
                self.unbind(&name.id);
            }
            Expr::Tuple(node) => node.elts.iter().for_each(|element| self.delete(element)),
            Expr::List(node) => node.elts.iter().for_each(|element| self.delete(element)),
            other => {
                self.chosen_by_element(other, None);
                self.expression(other, Use::Inert);
            }
        }
    }

    fn assignment(&mut self, node: &'a StmtAssign) {
        let unpacked = node.targets.iter().all(takes_elements);
        let in_container = node.targets.iter().any(|target| matches!(target, Expr::Subscript(_)));
        let used_as = match self.use_of_assigned() {
            Use::Value if in_container => Use::Element,
            Use::Value if unpacked => Use::Unpacked,
            other => other,
        };
        self.expression(&node.value, used_as);
        node.targets.iter().for_each(|target| self.target(target, Value::Expression(&node.value)));
    }

    /// In a class's body, what is assigned is there for subclasses and instances to replace.
    fn use_of_assigned(&self) -> Use {
        let in_class = self.bindings.scope(self.scope).kind == ScopeKind::Class;
        if in_class { Use::ClassAttribute } else { Use::Value }
    }

    fn annotated_assignment(&mut self, node: &'a StmtAnnAssign) {
        self.expression(&node.annotation, Use::Inert);
        let Some(value) = node.value.as_deref() else { return };
        self.expression(value, self.use_of_assigned());
        self.target(&node.target, Value::Expression(value));
    }

    fn augmented_assignment(&mut self, node: &'a StmtAugAssign) {
        self.expression(&node.value, Use::Element);
        let augmented = Value::Opaque(Opaque::Augmented);
        match node.target.as_ref() {
            Expr::Name(name) => {
                self.load(&name.id, start(name));
                self.bind_perhaps(&name.id, augmented);
            }
            target => self.target(target, augmented),
        }
    }

    fn while_loop(&mut self, statement: &'a Stmt, node: &'a StmtWhile) {
        let branching = self.branching(vec![&node.test], end(statement));
        let mut bound = declared(self.text, &node.body).bound;
        bound.extend(declared_in_test(&node.test));
        self.repeated(branching, &distinct(bound), |inner| {
            inner.expression(&node.test, Use::Inert);
            inner.body(&node.body);
        });
        self.otherwise(&node.orelse);
    }

    fn for_loop(&mut self, statement: &'a Stmt, target: &'a Expr, iterable: &'a Expr, bodies: [&'a [Stmt]; 2]) {
        let [body, orelse] = bodies;
        // The elements of a literal are traced to the loop's variable.
        let literal = matches!(iterable, Expr::Tuple(_) | Expr::List(_));
        self.expression(iterable, if literal { Use::Unpacked } else { Use::Element });
        let branching = self.branching(Vec::new(), end(statement));
        let mut bound = declared(self.text, body).bound;
        bound.extend(of_target(target));
        self.repeated(branching, &distinct(bound), |inner| {
            inner.target(target, Value::Iteration(iterable));
            inner.body(body);
        });
        self.otherwise(orelse);
    }

    /// The `else` of a loop, which does not run after `break`.
    fn otherwise(&mut self, orelse: &'a [Stmt]) {
        let Some(last) = orelse.last() else { return };
        let branching = self.branching(Vec::new(), end(last));
        let arm = self.arm(branching, 0, |inner| inner.body(orelse));
        self.merge(branching, &[arm], true);
    }

    fn if_statement(&mut self, statement: &'a Stmt, node: &'a StmtIf) {
        let arms = walk::if_arms(node);
        let tests: Vec<&'a Expr> = arms.iter().filter_map(|(test, _)| *test).collect();
        tests.iter().for_each(|test| self.expression(test, Use::Inert));
        let branching = self.branching(tests, end(statement));
        let has_else = arms.last().is_some_and(|(test, _)| test.is_none());
        let arms: Vec<Arm> =
            (0..).zip(arms).map(|(number, (_, body))| self.arm(branching, number, |inner| inner.body(body))).collect();
        self.merge(branching, &arms, !has_else);
    }

    fn with_statement(&mut self, items: &'a [WithItem], body: &'a [Stmt]) {
        let from = self.next_version();
        let reachable = self.reachable;
        let branching = self.branching(Vec::new(), start(&items[0].context_expr));
        let arm = self.arm(branching, 0, |inner| {
            for item in items {
                inner.expression(&item.context_expr, Use::Argument);
                let target = item.optional_vars.as_deref();
                target.into_iter().for_each(|target| inner.target(target, Value::Context(&item.context_expr)));
            }
            inner.body(body);
        });
        // A context manager may swallow an exception from anywhere in its body.
        self.anywhere_in(&[&arm], from);
        self.reachable = reachable && (arm.reached() || items.iter().any(|item| swallows(&item.context_expr)));
    }

    fn match_statement(&mut self, statement: &'a Stmt, node: &'a StmtMatch) {
        let mut binds = false;
        node.cases.iter().for_each(|case| walk::pattern_names(&case.pattern, &mut |_, _| binds = true));
        self.expression(&node.subject, if binds { Use::Matched } else { Use::Inert });
        let branching = self.branching(Vec::new(), end(statement));
        let arms: Vec<Arm> = (0..)
            .zip(&node.cases)
            .map(|(number, case)| {
                self.arm(branching, number, |inner| {
                    walk::pattern_names(&case.pattern, &mut |name, attribute| {
                        let opaque = if attribute == Some(AGENT) { Opaque::AgentPattern } else { Opaque::Pattern };
                        inner.bind(name, Value::Opaque(opaque));
                    });
                    case.guard.iter().for_each(|guard| inner.expression(guard, Use::Inert));
                    inner.body(&case.body);
                })
            })
            .collect();
        self.merge(branching, &arms, true);
    }

    fn import(&mut self, node: &'a StmtImport) {
        for alias in &node.names {
            let module = alias.name.as_str();
            let top = module.split('.').next().unwrap_or(module);
            match &alias.asname {
                Some(name) => self.bind(name, Value::Module(module)),
                None => self.bind(top, Value::Module(top)),
            };
        }
    }

    fn import_from(&mut self, node: &'a StmtImportFrom) {
        for (number, alias) in (0..).zip(&node.names) {
            let name = alias.name.as_str();
            if name == "*" {
                self.star_import(StarImport { module: module_of(node), level: level_of(node) });
                continue;
            }
            let bound = alias.asname.as_ref().unwrap_or(&alias.name);
            let variable = self.bind(bound, Value::Member(node, number));
            if name == CONFIGURATION {
                self.note_configuration_name(bound, variable);
            }
        }
    }

    /// It may replace what was imported from NIXL.
    fn star_import(&mut self, import: StarImport<'a>) {
        self.bindings.star_imports.push(import);
        // A relative import names a module of the package itself, never NIXL.
        if import.level == 0 && import.module.starts_with("nixl") {
            return;
        }
        for name in [AGENT, CONFIGURATION] {
            if self.value_now(name).is_some() {
                self.bind_perhaps(name, Value::Opaque(Opaque::Star));
            }
        }
    }

    /// A private name means something else in a class, and more than a few names are not followed.
    fn note_configuration_name(&mut self, name: &'a str, variable: VariableId) {
        let symbol = self.bindings.variable(variable).symbol;
        let names = &mut self.bindings.configuration_names;
        if names.len() < CONFIGURATION_NAMES && !name.starts_with("__") && !names.contains(&(name, symbol)) {
            names.push((name, symbol));
        }
    }

    fn function(&mut self, definition: &Definition<'a>) {
        definition.decorators.iter().for_each(|decorator| self.expression(decorator, Use::Argument));
        definition.returns.into_iter().for_each(|annotation| self.expression(annotation, Use::Inert));
        self.defaults(definition.arguments);
        let class = (self.bindings.scope(self.scope).kind == ScopeKind::Class).then_some(self.scope);
        let scope = self.open(ScopeKind::Function, definition.name);
        if class.is_some() {
            let symbol = self.symbol(definition.name);
            self.bindings.methods.entry(symbol).or_default().push(scope);
        }
        self.bind(definition.name, Value::Function(scope));
        let first = class.and_then(|class| first_parameter(class, definition.decorators));
        self.deferred(scope, |inner| {
            if let Some(function) = &mut inner.here().function {
                function.decorators = definition.decorators;
                function.body = definition.body;
                function.is_async = definition.is_async;
                function.is_method = first.is_some();
            }
            inner.declare(&declared(inner.text, definition.body));
            inner.parameters(definition.arguments, first);
            inner.body(definition.body);
        });
    }

    /// The defaults and annotations of parameters, which are evaluated at the definition.
    pub(super) fn defaults(&mut self, arguments: &'a Arguments) {
        walk::defaults(arguments).for_each(|default| self.expression(default, Use::Default));
        let annotations = walk::parameters(arguments).filter_map(|parameter| parameter.annotation.as_deref());
        annotations.for_each(|annotation| self.expression(annotation, Use::Inert));
    }

    /// Binds the parameters; `first` is what the first one is where its caller is known.
    pub(super) fn parameters(&mut self, arguments: &'a Arguments, mut first: Option<Value<'a>>) {
        let positional = arguments.posonlyargs.iter().chain(&arguments.args);
        for parameter in positional.chain(&arguments.kwonlyargs) {
            let value = first.take().unwrap_or(Value::Parameter(parameter.default.as_deref()));
            let variable = self.bind(&parameter.def.arg, value);
            let symbol = self.bindings.variable(variable).symbol;
            if let Some(function) = &mut self.here().function {
                function.parameters.push((symbol, variable));
            }
        }
        for parameter in arguments.vararg.iter().chain(&arguments.kwarg) {
            self.bind(&parameter.arg, Value::Opaque(Opaque::Parameters));
        }
    }

    fn try_statement(&mut self, statement: &'a Stmt, parts: &Try<'a>) {
        let branching = self.branching(Vec::new(), end(statement));
        let from = self.next_version();
        let body = self.arm(branching, 0, |inner| {
            inner.body(parts.body);
            inner.body(parts.orelse);
        });
        let mut arms = vec![body];
        for (number, ExceptHandler::ExceptHandler(handler)) in (1..).zip(parts.handlers) {
            let arm = self.arm(branching, number, |inner| {
                inner.reachable = true;
                inner.anywhere_in(&[&arms[0]], from);
                handler.type_.iter().for_each(|kind| inner.expression(kind, Use::Inert));
                let name = handler.name.as_ref().map(rustpython_ast::Identifier::as_str);
                name.into_iter().for_each(|name| {
                    inner.bind(name, Value::Opaque(Opaque::Exception));
                });
                inner.body(&handler.body);
                name.into_iter().for_each(|name| inner.unbind(name));
            });
            arms.push(arm);
        }
        if parts.last.is_empty() {
            return self.merge(branching, &arms, false);
        }
        self.finally(branching, &arms, from, |inner| inner.body(parts.last));
    }
}

/// Whether a target takes the elements of a literal one by one.
fn takes_elements(target: &Expr) -> bool {
    let targets = match target {
        Expr::Tuple(node) => &node.elts,
        Expr::List(node) => &node.elts,
        _ => return false,
    };
    !targets.iter().any(rustpython_ast::Expr::is_starred_expr)
}

/// Names without duplicates.
fn distinct(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names.dedup();
    names
}

fn declared_in_test(test: &Expr) -> Vec<&str> {
    let mut found = Vec::new();
    named_targets(test, &mut found);
    found
}

fn named_targets<'a>(expression: &'a Expr, found: &mut Vec<&'a str>) {
    if let Expr::NamedExpr(node) = expression {
        found.extend(of_target(&node.target));
    }
    walk::children(expression, &mut |child| named_targets(child, found));
}

fn swallows(context: &Expr) -> bool {
    let callee = context.as_call_expr().map_or(context, |call| &call.func);
    let name = match callee {
        Expr::Name(name) => name.id.as_str(),
        Expr::Attribute(attribute) => attribute.attr.as_str(),
        _ => return false,
    };
    SWALLOWING.contains(&name)
}

/// What the first parameter of a function in a class is.
fn first_parameter<'a>(class: ScopeId, decorators: &[Expr]) -> Option<Value<'a>> {
    let decorated = |name: &str| decorators.iter().any(|it| it.as_name_expr().is_some_and(|it| it.id.as_str() == name));
    if decorated("staticmethod") {
        return None;
    }
    Some(if decorated("classmethod") { Value::ClassItself(class) } else { Value::Instance(class) })
}
