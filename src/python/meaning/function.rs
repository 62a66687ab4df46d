//! What functions of the file return, and what is passed to them.

use rustpython_parser::ast::{Expr, ExprCall, Stmt};

use super::{FOLLOWED, Meaning, Meanings, Resolver, Sets, Traced, Why};
use crate::python::bindings::{Function, Origin, ScopeId, Value, VariableId};

/// Decorators that leave what a function returns as it is.
const TRANSPARENT: [&str; 9] = [
    "staticmethod",
    "classmethod",
    "property",
    "cached_property",
    "cache",
    "lru_cache",
    "override",
    "final",
    "no_type_check",
];
/// How many functions that call each other are followed to see whether they ever return.
const CALLS: usize = 4;

impl<'a> Resolver<'_, 'a> {
    /// What calling a function returns.
    pub(super) fn returned(&mut self, function: ScopeId, awaited: bool) -> Meanings {
        match self.of_function.get(&function) {
            Some(Traced::Done(known)) => return *known,
            Some(_) => return self.circular(self.before.of_function.get(&function).copied()),
            None => {}
        }
        self.of_function.insert(function, Traced::Now);
        let meanings = self.trace_function(function, awaited);
        self.of_function.insert(function, Traced::Done(meanings));
        meanings
    }

    fn trace_function(&mut self, scope: ScopeId, awaited: bool) -> Meanings {
        let bindings = self.bindings;
        let Some(function) = &bindings.scope(scope).function else { return self.unknown(Why::Call) };
        if function.is_generator || function.is_async != awaited || !function.decorators.iter().all(is_transparent) {
            return self.unknown(Why::Decorated);
        }
        let mut all = Sets::NOTHING;
        if function.falls_through && !self.never_returns(scope) {
            all = self.one(Meaning::None);
        }
        for returned in &function.returns {
            let found = match returned.value {
                Some(value) => self.meanings(value),
                None => self.one(Meaning::None),
            };
            all = self.sets.union(all, found);
            if self.sets.is_too_many(all) {
                break;
            }
        }
        all
    }

    /// Whether a function certainly raises.
    pub(super) fn never_returns(&mut self, function: ScopeId) -> bool {
        self.raises(function, CALLS)
    }

    fn raises(&mut self, scope: ScopeId, calls: usize) -> bool {
        let bindings = self.bindings;
        let Some(function) = bindings.scope(scope).function.as_ref().filter(|_| calls > 0) else { return false };
        if function.is_generator || function.is_async || function.body.is_empty() {
            return false;
        }
        let end = !function.falls_through || self.ends_in_raising_call(function, calls);
        end && function
            .returns
            .iter()
            .all(|returned| returned.value.is_some_and(|value| self.is_raising_call(value, calls)))
    }

    fn ends_in_raising_call(&mut self, function: &Function<'a>, calls: usize) -> bool {
        match function.body.last() {
            Some(Stmt::Expr(node)) => self.is_raising_call(&node.value, calls),
            _ => false,
        }
    }

    fn is_raising_call(&mut self, expression: &'a Expr, calls: usize) -> bool {
        let Expr::Call(call) = expression else { return false };
        let callees = self.meanings(&call.func);
        let functions: Vec<_> = self.list(callees).to_vec();
        !functions.is_empty()
            && functions.iter().all(|it| matches!(it, Meaning::Function(function) if self.raises(*function, calls - 1)))
    }

    /// A parameter: its default, what the calls in this file pass, or anything else.
    pub(super) fn parameter(&mut self, variable: VariableId, default: Option<&'a Expr>) -> Meanings {
        let mut all = Sets::PARAMETER;
        let passed = self.arguments.get(&variable).cloned().unwrap_or_default();
        for value in default.into_iter().chain(passed) {
            let found = self.meanings(value);
            all = self.sets.union(all, found);
        }
        all
    }

    /// Collects what the calls in this file pass for the parameters of its functions.
    pub(super) fn collect_arguments(&mut self) {
        let bindings = self.bindings;
        if bindings.choices.is_empty() {
            // Only objects that are changed after they were created are followed into functions.
            return;
        }
        for call in bindings.calls.iter().filter_map(|placed| placed.node.as_call_expr()) {
            for function in self.functions_called(call) {
                self.pass(call, function);
            }
        }
    }

    fn functions_called(&self, call: &'a ExprCall) -> Vec<ScopeId> {
        let bindings = self.bindings;
        match call.func.as_ref() {
            Expr::Name(_) => {
                let variable = bindings.load(&call.func).map(|version| bindings.version(version).variable);
                let bound = variable.map_or(&[][..], |variable| &bindings.variable(variable).bindings);
                let functions =
                    bound.iter().take(FOLLOWED).filter_map(|version| match bindings.version(*version).origin {
                        Origin::Bound(Value::Function(function)) => Some(function),
                        _ => None,
                    });
                functions.collect()
            }
            Expr::Attribute(attribute) => {
                let symbol = bindings.attribute_symbol(attribute);
                let methods = symbol.map_or(&[][..], |symbol| bindings.methods_named(symbol));
                methods.iter().copied().take(FOLLOWED).collect()
            }
            _ => Vec::new(),
        }
    }

    fn pass(&mut self, call: &'a ExprCall, scope: ScopeId) {
        let bindings = self.bindings;
        let Some(function) = &bindings.scope(scope).function else { return };
        let own = usize::from(function.is_method);
        for (argument, (_, variable)) in call.args.iter().zip(function.parameters.iter().skip(own)) {
            self.arguments.entry(*variable).or_default().push(argument);
        }
        for keyword in &call.keywords {
            let Some(name) = &keyword.arg else { continue };
            let named = function.parameters.iter().find(|(symbol, _)| bindings.text(*symbol) == name.as_str());
            if let Some((_, variable)) = named {
                self.arguments.entry(*variable).or_default().push(&keyword.value);
            }
        }
    }
}

fn is_transparent(decorator: &Expr) -> bool {
    let callee = decorator.as_call_expr().map_or(decorator, |call| &call.func);
    let name = match callee {
        Expr::Name(name) => name.id.as_str(),
        Expr::Attribute(attribute) => attribute.attr.as_str(),
        _ => return false,
    };
    TRANSPARENT.contains(&name)
}
