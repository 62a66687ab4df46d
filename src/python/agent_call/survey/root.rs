//! Where a list of backends comes from: followed from the expression back to a variable, an option or a constant.

use rustc_hash::FxHashSet;
use rustpython_parser::ast::{Constant, Expr, ExprAttribute, ExprCall, ExprSubscript};

use super::super::super::bindings::{Imported, Origin, ScopeId, Value, VersionId};
use super::super::super::meaning::Meaning;
use super::super::super::walk::{self, last_name};
use super::super::finder::Finder;
use super::super::site::string;

/// The longest chain of expressions that is followed.
const DEPTH: usize = 64;
/// How many calls of one function are followed to its parameters.
const FOLLOWED: usize = 16;
/// The method of vLLM's `KVTransferConfig` that reads one key of `kv_connector_extra_config`, since vLLM 0.9.
const EXTRA_CONFIG: &str = "get_from_extra_config";
/// Methods and functions that read one key: `options.get("backends")`.
const READS_KEY: [&str; 4] = ["get", "pop", "setdefault", "getattr"];
/// Functions of dataclasses, pydantic and attrs that declare a field.
const DECLARES_FIELD: [&str; 4] = ["field", "Field", "attrib", "ib"];

/// What a list of backends is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// An environment variable, by its name where that is a constant.
    Environment(Option<String>),
    /// An option or a configuration key.
    Option(String),
    /// A name that the file gives.
    Name(String),
    /// None, or nothing at all.
    Nothing,
    /// Something that is not followed, in words.
    Unknown(String),
}

/// Follows one expression.
pub(super) struct Trace<'f, 'b, 'a> {
    finder: &'f mut Finder<'b, 'a>,
    seen: FxHashSet<VersionId>,
    called: FxHashSet<ScopeId>,
    depth: usize,
    roots: Vec<Root>,
}

/// Everything that an expression is made from; empty for an empty list.
pub(super) fn roots<'a>(finder: &mut Finder<'_, 'a>, expression: &'a Expr) -> Vec<Root> {
    if let Some(read) = finder.environment.read(&mut finder.resolver, expression) {
        return vec![Root::Environment(read.variable)];
    }
    let mut trace =
        Trace { finder, seen: FxHashSet::default(), called: FxHashSet::default(), depth: 0, roots: Vec::new() };
    trace.expression(expression);
    trace.roots
}

/// Everything that a condition is made from.
pub(super) fn of_condition<'a>(finder: &mut Finder<'_, 'a>, test: &'a Expr) -> Vec<Root> {
    let mut trace =
        Trace { finder, seen: FxHashSet::default(), called: FxHashSet::default(), depth: 0, roots: Vec::new() };
    trace.tests([test]);
    trace.roots
}

impl<'a> Trace<'_, '_, 'a> {
    fn add(&mut self, root: Root) {
        if !self.roots.contains(&root) {
            self.roots.push(root);
        }
    }

    fn unknown(&mut self, expression: &'a Expr, what: &str) {
        let source = self.finder.source(expression);
        self.add(Root::Unknown(format!("`{source}` {what}")));
    }

    fn expression(&mut self, expression: &'a Expr) {
        if self.depth >= DEPTH {
            return self.unknown(expression, "is too deep to trace");
        }
        self.depth += 1;
        self.follow(expression);
        self.depth -= 1;
    }

    fn all(&mut self, expressions: impl IntoIterator<Item = &'a Expr>) {
        expressions.into_iter().for_each(|expression| self.expression(expression));
    }

    fn follow(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Constant(node) => match &node.value {
                Constant::Str(name) => self.add(Root::Name(name.clone())),
                Constant::None => self.add(Root::Nothing),
                _ => {}
            },
            Expr::List(node) => self.all(&node.elts),
            Expr::Tuple(node) => self.all(&node.elts),
            Expr::Set(node) => self.all(&node.elts),
            Expr::Starred(node) => self.expression(&node.value),
            Expr::NamedExpr(node) => self.expression(&node.value),
            Expr::Await(node) => self.expression(&node.value),
            Expr::BoolOp(node) => self.all(&node.values),
            Expr::BinOp(node) => self.all([node.left.as_ref(), node.right.as_ref()]),
            Expr::JoinedStr(_) | Expr::FormattedValue(_) => walk::children(expression, &mut |it| self.expression(it)),
            Expr::IfExp(node) => self.alternatives(&[&node.body, &node.orelse], &[&node.test]),
            Expr::ListComp(node) => self.all(node.generators.iter().map(|it| &it.iter)),
            Expr::SetComp(node) => self.all(node.generators.iter().map(|it| &it.iter)),
            Expr::GeneratorExp(node) => self.all(node.generators.iter().map(|it| &it.iter)),
            Expr::Name(_) => match self.finder.resolver.bindings.load(expression) {
                Some(version) => self.version(expression, version),
                None => self.unknown(expression, "is not bound in this file"),
            },
            Expr::Attribute(attribute) => self.attribute(expression, attribute),
            Expr::Subscript(node) => self.subscript(node),
            Expr::Call(call) => self.call(expression, call),
            _ => self.unknown(expression, "cannot be traced"),
        }
    }

    /// One of several values; where all are constants, the condition decides.
    fn alternatives(&mut self, values: &[&'a Expr], tests: &[&'a Expr]) {
        let before = self.roots.len();
        self.all(values.iter().copied());
        if self.roots[before..].iter().all(is_constant) {
            self.tests(tests.iter().copied());
        }
    }

    /// Adds what conditions are made from, as far as that is a setting.
    fn tests(&mut self, tests: impl IntoIterator<Item = &'a Expr>) {
        for test in tests {
            if let Some(read) = self.finder.environment.read(&mut self.finder.resolver, test) {
                self.add(Root::Environment(read.variable));
                continue;
            }
            let kept = std::mem::take(&mut self.roots);
            self.condition(test);
            let found = std::mem::replace(&mut self.roots, kept);
            found.into_iter().filter(is_setting).for_each(|root| self.add(root));
        }
    }

    fn condition(&mut self, test: &'a Expr) {
        match test {
            Expr::Compare(node) => self.all(std::iter::once(node.left.as_ref()).chain(&node.comparators)),
            Expr::UnaryOp(node) => self.condition(&node.operand),
            Expr::BoolOp(node) => node.values.iter().for_each(|value| self.condition(value)),
            other => self.expression(other),
        }
    }

    fn version(&mut self, expression: &'a Expr, version: VersionId) {
        if !self.seen.insert(version) || self.depth >= DEPTH {
            return;
        }
        self.depth += 1;
        let bindings = self.finder.resolver.bindings;
        let variable = bindings.version(version).variable;
        match &bindings.version(version).origin {
            Origin::Unbound => {}
            Origin::Bound(value) => self.value(expression, *value, bindings.text(bindings.variable(variable).symbol)),
            Origin::Join(join) => {
                let before = self.roots.len();
                let versions = join.arms.iter().map(|(_, arm)| *arm).chain(join.before);
                versions.for_each(|version| self.version(expression, version));
                if self.roots[before..].iter().all(is_constant) {
                    self.tests(bindings.branching(join.branching).tests.iter().copied());
                }
            }
            Origin::Span { before, from, to } => {
                let bound = bindings.bound_between(variable, *from, *to);
                bound.iter().chain([before]).for_each(|version| self.version(expression, *version));
            }
        }
        self.depth -= 1;
    }

    fn value(&mut self, expression: &'a Expr, value: Value<'a>, name: &str) {
        match value {
            Value::Expression(value) | Value::Element(value, _) | Value::Iteration(value) | Value::Context(value) => {
                self.expression(value);
            }
            Value::Parameter(_) => self.add(Root::Option(name.to_string())),
            Value::Member(import, number) => {
                let Imported { module, name, .. } = Imported::of(import, number);
                self.add(match is_screaming(name) {
                    true if names_environment(module) => Root::Environment(Some(name.to_string())),
                    true => Root::Option(name.to_string()),
                    false => Root::Unknown(format!("`{name}` comes from the module `{module}`")),
                });
            }
            _ => self.unknown(expression, "cannot be traced"),
        }
    }

    fn attribute(&mut self, expression: &'a Expr, attribute: &'a ExprAttribute) {
        let name = attribute.attr.as_str();
        let owner = self.finder.source(&attribute.value);
        if is_screaming(name) && names_environment(owner) {
            return self.add(Root::Environment(Some(name.to_string())));
        }
        let bindings = self.finder.resolver.bindings;
        let owners = self.finder.resolver.meanings(&attribute.value);
        let class = self.finder.resolver.list(owners).iter().find_map(|meaning| match meaning {
            Meaning::Instance(class) | Meaning::Class(class) => Some(*class),
            _ => None,
        });
        let Some(class) = class else { return self.add(Root::Option(option_name(owner, name))) };
        let Some(symbol) = bindings.attribute_symbol(attribute) else { return self.declared(name, &[]) };
        let (of_class, of_instances) = bindings.class_variables(class, symbol);
        let assigned: Vec<VersionId> =
            of_instances.iter().flat_map(|variable| &bindings.variable(*variable).bindings).copied().collect();
        let declared: Vec<VersionId> =
            of_class.iter().flat_map(|variable| &bindings.variable(*variable).bindings).copied().collect();
        if assigned.is_empty() && (declared.is_empty() || !is_screaming(name)) {
            return self.declared(name, &declared);
        }
        assigned.iter().chain(&declared).for_each(|version| self.version(expression, *version));
    }

    /// An attribute that only a class's body assigns: a property, or a field that whoever makes the object can set.
    fn declared(&mut self, name: &str, versions: &[VersionId]) {
        let bindings = self.finder.resolver.bindings;
        for version in versions {
            if let Origin::Bound(Value::Function(function)) = bindings.version(*version).origin {
                return self.function(function);
            }
        }
        self.add(Root::Option(name.to_string()));
    }

    fn subscript(&mut self, node: &'a ExprSubscript) {
        match string(&node.slice) {
            Some(key) => {
                let owner = self.finder.source(&node.value);
                self.add(Root::Option(option_name(owner, key)));
            }
            None => self.expression(&node.value),
        }
    }

    fn call(&mut self, expression: &'a Expr, call: &'a ExprCall) {
        let callees = self.finder.resolver.meanings(&call.func);
        let functions: Vec<ScopeId> = self
            .finder
            .resolver
            .list(callees)
            .iter()
            .filter_map(|it| if let Meaning::Function(function) = it { Some(*function) } else { None })
            .collect();
        if !functions.is_empty() {
            return functions.into_iter().for_each(|function| self.function(function));
        }
        let name = last_name(&call.func).unwrap_or_default();
        if let Some(variable) = self.variable_read(call) {
            return self.add(Root::Environment(Some(variable)));
        }
        if let Some(key) = self.key_read(call, name) {
            return self.add(Root::Option(key));
        }
        if DECLARES_FIELD.contains(&name) {
            return self.all(call.keywords.iter().map(|keyword| &keyword.value));
        }
        // `value.split(",")`, `list(value)`, `parse(value)`: made from its owner or its arguments.
        let before = self.roots.len();
        let parts = call.args.iter().chain(call.keywords.iter().map(|keyword| &keyword.value));
        match call.func.as_ref() {
            Expr::Attribute(method) if !self.is_module(&method.value) => self.expression(&method.value),
            _ => self.all(parts),
        }
        let settings: Vec<Root> = self.roots.split_off(before).into_iter().filter(is_setting).collect();
        if settings.is_empty() && !matches!(name, "list" | "tuple" | "set" | "sorted") {
            return self.unknown(expression, "is the result of a call that cannot be traced");
        }
        settings.into_iter().for_each(|root| self.add(root));
    }

    /// The variable that `envs.SGLANG_….get()` reads.
    fn variable_read(&self, call: &ExprCall) -> Option<String> {
        let variable = call.func.as_attribute_expr()?.value.as_attribute_expr()?;
        let name = variable.attr.as_str();
        let is_variable = is_screaming(name) && names_environment(self.finder.source(&variable.value));
        is_variable.then(|| name.to_string())
    }

    fn is_module(&mut self, owner: &'a Expr) -> bool {
        let found = self.finder.resolver.meanings(owner);
        self.finder.resolver.list(found).iter().any(|it| matches!(it, Meaning::Module(_) | Meaning::Member(..)))
    }

    /// The option that `options.get("backends")` or `getattr(options, "backends")` reads.
    fn key_read(&mut self, call: &'a ExprCall, name: &str) -> Option<String> {
        if name == EXTRA_CONFIG {
            return Some(format!("kv_connector_extra_config.{}", string(call.args.first()?)?));
        }
        if !READS_KEY.contains(&name) {
            return None;
        }
        if let Expr::Attribute(method) = call.func.as_ref() {
            return Some(option_name(self.finder.source(&method.value), string(call.args.first()?)?));
        }
        Some(option_name(self.finder.source(call.args.first()?), string(call.args.get(1)?)?))
    }

    fn function(&mut self, function: ScopeId) {
        if !self.called.insert(function) || self.called.len() > FOLLOWED {
            return;
        }
        let bindings = self.finder.resolver.bindings;
        let returns = bindings.scope(function).function.iter().flat_map(|function| &function.returns);
        let values: Vec<&'a Expr> = returns.filter_map(|returned| returned.value).collect();
        self.all(values);
    }
}

fn is_constant(root: &Root) -> bool {
    matches!(root, Root::Name(_) | Root::Nothing)
}

fn is_setting(root: &Root) -> bool {
    matches!(root, Root::Environment(_) | Root::Option(_))
}

/// `NIXL_BACKEND`: how constants and environment variables are written.
fn is_screaming(name: &str) -> bool {
    name.len() > 2 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Whether an object or a module gives environment variables as attributes: `envs.SGLANG_…` of SGLang, vLLM and
/// ModelExpress.
fn names_environment(owner: &str) -> bool {
    let last = owner.rsplit('.').next().unwrap_or(owner);
    matches!(last, "env" | "envs" | "environ" | "environment" | "env_vars")
}

/// `config.nixl_backends` of `self.config.nixl_backends`; of `kwargs["backends"]`, `backends`.
fn option_name(owner: &str, key: &str) -> String {
    let owner = owner.strip_prefix("self.").unwrap_or(owner).trim_start_matches('_');
    let plain = owner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte));
    if owner.is_empty() || !plain || matches!(owner, "self" | "cls" | "kwargs" | "args") {
        return key.to_string();
    }
    format!("{owner}.{key}")
}
