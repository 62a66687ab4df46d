//! What a module's `__getattr__` (PEP 562) gives for a name that nothing in the module binds:
//!
//! ```python
//! def __getattr__(name):
//!     target = {"Wrapper": "nixl_agent"}[name]
//!     return getattr(importlib.import_module("nixl._api"), target, None)
//! ```
//!
//! The function is followed with the name that is asked for, through conditions on it, tables that are written out and the
//! module's other functions. Loops are not followed: what comes from one is anything.

mod expression;
mod globals;
mod value;

use rustc_hash::FxHashMap;
use rustpython_parser::ast::{ExceptHandler, Expr, ExprCall, Stmt, StmtFunctionDef, StmtTry};

use self::globals::{Globals, imported};
pub(crate) use self::value::{Value, Values};
use super::meaning::Imports;
use super::walk;

/// How deeply statements and calls are followed.
const DEPTH: usize = 64;
/// How many statements are followed.
const STEPS: usize = 10_000;
/// Decorators that leave what a function returns as it is.
const TRANSPARENT: [&str; 2] = ["cache", "lru_cache"];

/// Everything that the module's `__getattr__` gives for the name; None where it has no such function.
pub(crate) fn values(text: &str, module: &[Stmt], name: &str, imports: &dyn Imports) -> Option<Values> {
    let globals = Globals::of(module, imports);
    let function = globals.function("__getattr__")?;
    let mut evaluator =
        Evaluator { text, globals, imports, name, stored: Values::default(), depth: 0, steps: 0, gave_up: false };
    let mut given = match function {
        Some(function) => evaluator.function(function, vec![Values::one(Value::Text(name.to_string()))], Vec::new()),
        None => Values::unknown(),
    };
    given.add(std::mem::take(&mut evaluator.stored));
    if evaluator.gave_up {
        given.add(Values::unknown());
    }
    Some(given)
}

/// The variables of a function that is followed.
type Locals<'a> = FxHashMap<&'a str, Values>;

/// Follows the functions of a module.
struct Evaluator<'a, 'i> {
    text: &'i str,
    globals: Globals<'a>,
    imports: &'i dyn Imports,
    /// The name that is asked for.
    name: &'i str,
    /// What was stored under that name by `globals()[name] = …`.
    stored: Values,
    depth: usize,
    steps: usize,
    /// Whether something was too deep, too long or of an unknown kind.
    gave_up: bool,
}

/// A function while it is followed.
#[derive(Default)]
struct Frame<'a> {
    locals: Locals<'a>,
    returned: Values,
}

impl<'a> Evaluator<'a, '_> {
    /// What a function returns for these arguments.
    fn function(
        &mut self,
        function: &'a StmtFunctionDef,
        positional: Vec<Values>,
        named: Vec<(&'a str, Values)>,
    ) -> Values {
        if self.depth >= DEPTH || !function.decorator_list.iter().all(is_transparent) {
            return Values::unknown();
        }
        self.depth += 1;
        let mut frame = Frame { locals: self.parameters(function, positional, named), returned: Values::default() };
        if self.body(&function.body, &mut frame) {
            frame.returned.add(Values::one(Value::None));
        }
        self.depth -= 1;
        frame.returned
    }

    fn parameters(
        &mut self,
        function: &'a StmtFunctionDef,
        positional: Vec<Values>,
        named: Vec<(&'a str, Values)>,
    ) -> Locals<'a> {
        let arguments = &function.args;
        let mut locals: Locals = walk::parameters(arguments).map(|it| (it.arg.as_str(), Values::unknown())).collect();
        let all = arguments.posonlyargs.iter().chain(&arguments.args);
        for parameter in all.clone().chain(&arguments.kwonlyargs) {
            let default = parameter.default.as_deref().map(|default| self.expression(default, &Locals::default()));
            locals.insert(parameter.def.arg.as_str(), default.unwrap_or_else(Values::unknown));
        }
        locals.extend(all.map(|parameter| parameter.def.arg.as_str()).zip(positional));
        locals.extend(named);
        locals
    }

    /// Follows statements; returns whether their end is reached.
    fn body(&mut self, statements: &'a [Stmt], frame: &mut Frame<'a>) -> bool {
        if self.depth >= DEPTH {
            self.gave_up = true;
            return false;
        }
        self.depth += 1;
        let goes_on = statements.iter().all(|statement| self.statement(statement, frame));
        self.depth -= 1;
        goes_on
    }

    fn statement(&mut self, statement: &'a Stmt, frame: &mut Frame<'a>) -> bool {
        self.steps += 1;
        if self.steps > STEPS {
            self.gave_up = true;
            return false;
        }
        match statement {
            Stmt::Return(node) => {
                let value = node.value.as_ref().map(|value| self.expression(value, &frame.locals));
                frame.returned.add(value.unwrap_or_else(|| Values::one(Value::None)));
                return false;
            }
            Stmt::Raise(_) => return false,
            Stmt::Assign(node) => {
                let value = self.expression(&node.value, &frame.locals);
                node.targets.iter().for_each(|target| self.assign(target, &value, frame));
            }
            Stmt::AnnAssign(node) => {
                if let Some(value) = &node.value {
                    let value = self.expression(value, &frame.locals);
                    self.assign(&node.target, &value, frame);
                }
            }
            Stmt::Import(_) | Stmt::ImportFrom(_) => frame.locals.extend(imported(statement, self.imports)),
            Stmt::If(node) => return self.branches(&node.test, &node.body, &node.orelse, frame),
            Stmt::Try(node) => return self.attempt(node, frame),
            Stmt::With(node) => {
                let targets = node.items.iter().filter_map(|item| item.optional_vars.as_deref());
                targets.for_each(|target| self.assign(target, &Values::unknown(), frame));
                return self.body(&node.body, frame);
            }
            Stmt::Expr(node) => {
                self.expression(&node.value, &frame.locals);
            }
            Stmt::Pass(_) | Stmt::Assert(_) | Stmt::Global(_) => {}
            _ => {
                self.gave_up = true;
                return false;
            }
        }
        true
    }

    fn branches(&mut self, test: &'a Expr, body: &'a [Stmt], orelse: &'a [Stmt], frame: &mut Frame<'a>) -> bool {
        match self.truth(test, &frame.locals) {
            Some(true) => self.body(body, frame),
            Some(false) => self.body(orelse, frame),
            None => {
                let before = frame.locals.clone();
                let first = self.body(body, frame).then(|| frame.locals.clone());
                frame.locals = before;
                let second = self.body(orelse, frame).then(|| frame.locals.clone());
                join([first, second], frame)
            }
        }
    }

    /// A handler begins with what the body had assigned at some time.
    fn attempt(&mut self, node: &'a StmtTry, frame: &mut Frame<'a>) -> bool {
        let before = frame.locals.clone();
        let end = self.body(&node.body, frame);
        let mut at_some_time = frame.locals.clone();
        merge(&mut at_some_time, before);
        let mut ends = vec![(end && self.body(&node.orelse, frame)).then(|| frame.locals.clone())];
        for ExceptHandler::ExceptHandler(handler) in &node.handlers {
            frame.locals = at_some_time.clone();
            frame.locals.extend(handler.name.as_ref().map(|name| (name.as_str(), Values::unknown())));
            ends.push(self.body(&handler.body, frame).then(|| frame.locals.clone()));
        }
        join(ends, frame) && self.body(&node.finalbody, frame)
    }

    fn assign(&mut self, target: &'a Expr, value: &Values, frame: &mut Frame<'a>) {
        match target {
            Expr::Name(name) => {
                frame.locals.insert(name.id.as_str(), value.clone());
            }
            Expr::Tuple(node) => {
                for (number, target) in node.elts.iter().enumerate() {
                    let element = value.flat_map(|value| match value {
                        Value::Items(items) if items.len() == node.elts.len() => items[number].clone(),
                        _ => Values::unknown(),
                    });
                    self.assign(target, &element, frame);
                }
            }
            Expr::Subscript(node) if is_call_of(&node.value, "globals") => {
                let key = self.expression(&node.slice, &frame.locals);
                if key.text().is_none_or(|key| key == self.name) {
                    self.stored.add(value.clone());
                }
            }
            // Part of another object.
            Expr::Subscript(_) | Expr::Attribute(_) => {}
            _ => self.gave_up = true,
        }
    }
}

/// Goes on with what those branches leave that are followed to their end; returns whether there is one.
fn join<'a>(ends: impl IntoIterator<Item = Option<Locals<'a>>>, frame: &mut Frame<'a>) -> bool {
    let mut ends = ends.into_iter().flatten();
    let Some(mut all) = ends.next() else { return false };
    ends.for_each(|end| merge(&mut all, end));
    frame.locals = all;
    true
}

fn merge<'a>(all: &mut Locals<'a>, others: Locals<'a>) {
    for (name, values) in others {
        all.entry(name).or_default().add(values);
    }
}

/// Whether an expression calls the builtin of this name.
fn is_call_of(expression: &Expr, name: &str) -> bool {
    let called = |call: &ExprCall| call.func.as_name_expr().is_some_and(|function| function.id.as_str() == name);
    expression.as_call_expr().is_some_and(called)
}

fn is_transparent(decorator: &Expr) -> bool {
    let callee = decorator.as_call_expr().map_or(decorator, |call| &call.func);
    match callee {
        Expr::Name(name) => TRANSPARENT.contains(&name.id.as_str()),
        Expr::Attribute(attribute) => TRANSPARENT.contains(&attribute.attr.as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
