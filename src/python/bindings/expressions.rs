//! Reads a module's bindings from its expressions and assignment targets.

use rustpython_parser::ast::{Comprehension, Constant, Expr, ExprAttribute, ExprCall, ExprConstant, Operator};

use super::flow::Reader;
use super::{Choice, Choosing, Opaque, Placed, Returned, ScopeKind, Use, Value};
use crate::python::span::{end, start};
use crate::python::walk;

/// Functions that look at a class and create nothing.
const INERT_FUNCTIONS: [&str; 16] = [
    "isinstance",
    "issubclass",
    "TypeVar",
    "NewType",
    "print",
    "id",
    "type",
    "hash",
    "repr",
    "str",
    "len",
    "callable",
    "hasattr",
    "dir",
    "vars",
    "help",
];

/// The attribute of an agent by which backends are added to it.
const CREATE_BACKEND: &str = "create_backend";
/// The attribute of a configuration that lists its backends.
const BACKENDS: &str = "backends";
/// Methods that change a list.
const CHANGING_METHODS: [&str; 9] =
    ["append", "extend", "insert", "remove", "clear", "pop", "sort", "reverse", "__setitem__"];

impl<'a> Reader<'a> {
    /// Binds the names in the target of an assignment.
    pub(super) fn target(&mut self, target: &'a Expr, value: Value<'a>) {
        match target {
            Expr::Name(name) => {
                self.bind(&name.id, value);
            }
            Expr::Attribute(attribute) => {
                self.expression(&attribute.value, Use::Inert);
                let owner = attribute.value.as_name_expr().and_then(|owner| self.value_now(&owner.id));
                let class = match owner {
                    Some(Value::Instance(class) | Value::ClassItself(class) | Value::Class(class)) => Some(class),
                    _ => None,
                };
                self.bind_attribute(class, &attribute.attr, value);
                if attribute.attr.as_str() == BACKENDS {
                    self.choice(&attribute.value, Choosing::ChangedBackends, expression_of(value));
                }
            }
            Expr::Tuple(node) => self.unpack(&node.elts, value),
            Expr::List(node) => self.unpack(&node.elts, value),
            Expr::Starred(node) => self.target(&node.value, Value::Opaque(Opaque::Unpacked)),
            other => {
                self.chosen_by_element(other, expression_of(value));
                if let Some(name) = name_in_globals(other) {
                    self.bind_global(name, value);
                }
                self.expression(other, Use::Inert);
            }
        }
    }

    fn choice(&mut self, of: &'a Expr, how: Choosing, value: Option<&'a Expr>) {
        let of = self.placed(of, Use::Inert);
        self.bindings.choices.push(Choice { of, how, value });
    }

    /// Notes `x.create_backend(…)` and `x.backends.append(…)`, also by `getattr` and `setattr`.
    fn chosen_by_call(&mut self, call: &'a ExprCall) {
        if let Expr::Attribute(method) = call.func.as_ref() {
            if method.attr.as_str() == CREATE_BACKEND {
                self.choice(&method.value, Choosing::CreateBackend, call.args.first());
            } else if let Some(owner) = list_of_backends(&method.value)
                && CHANGING_METHODS.contains(&method.attr.as_str())
            {
                self.choice(owner, Choosing::ChangedBackends, call.args.first());
            }
        }
        let ([of, name, rest @ ..], Expr::Name(function)) = (call.args.as_slice(), call.func.as_ref()) else { return };
        let Expr::Constant(ExprConstant { value: Constant::Str(name), .. }) = name else { return };
        match (function.id.as_str(), name.as_str()) {
            ("getattr", CREATE_BACKEND) => self.choice(of, Choosing::CreateBackend, None),
            ("setattr", name) if name.starts_with("nixl_agent") => {
                if let Some(value) = rest.first() {
                    self.bind_attribute(None, name, Value::Expression(value));
                }
            }
            ("setattr", BACKENDS) => self.choice(of, Choosing::ChangedBackends, rest.first()),
            _ => {}
        }
    }

    /// Notes `x.backends[…] = …` and `del x.backends[…]`.
    pub(super) fn chosen_by_element(&mut self, target: &'a Expr, value: Option<&'a Expr>) {
        if let Some(owner) = target.as_subscript_expr().and_then(|element| list_of_backends(&element.value)) {
            self.choice(owner, Choosing::ChangedBackends, value);
        }
    }

    fn unpack(&mut self, targets: &'a [Expr], value: Value<'a>) {
        let starred = targets.iter().any(rustpython_ast::Expr::is_starred_expr);
        for (number, target) in (0..).zip(targets) {
            let element = match value {
                Value::Expression(whole) if !starred => Value::Element(whole, number),
                _ => Value::Opaque(Opaque::Unpacked),
            };
            self.target(target, element);
        }
    }

    fn placed(&self, node: &'a Expr, used_as: Use) -> Placed<'a> {
        Placed { node, scope: self.scope, path: self.path, used_as }
    }

    /// Reads an expression that is used in this way.
    pub(super) fn expression(&mut self, expression: &'a Expr, used_as: Use) {
        match expression {
            Expr::Name(name) => {
                self.load(&name.id, start(name));
                self.escape(expression, used_as);
            }
            Expr::Attribute(attribute) => {
                self.expression(&attribute.value, Use::Inert);
                self.private(attribute);
                self.escape(expression, used_as);
                match attribute.attr.as_str() {
                    CREATE_BACKEND if used_as != Use::Callee => {
                        self.choice(&attribute.value, Choosing::CreateBackend, None);
                    }
                    // Kept under another name, it can be changed unseen.
                    BACKENDS if matches!(used_as, Use::Value | Use::Unpacked) => {
                        self.choice(&attribute.value, Choosing::ChangedBackends, None);
                    }
                    _ => {}
                }
            }
            Expr::Call(call) => self.call(expression, call, used_as),
            Expr::NamedExpr(node) => {
                self.expression(&node.value, used_as);
                self.named(&node.target, &node.value);
            }
            Expr::IfExp(node) => {
                self.expression(&node.test, Use::Inert);
                [&node.body, &node.orelse].into_iter().for_each(|value| self.expression(value, used_as));
            }
            Expr::BoolOp(node) => node.values.iter().for_each(|value| self.expression(value, used_as)),
            Expr::Await(node) => self.expression(&node.value, used_as),
            Expr::Yield(node) => {
                node.value.iter().for_each(|value| self.expression(value, Use::Yielded));
                self.generator();
            }
            Expr::YieldFrom(node) => {
                self.expression(&node.value, Use::Yielded);
                self.generator();
            }
            Expr::Lambda(node) => {
                self.defaults(&node.args);
                let scope = self.open(ScopeKind::Function, "");
                self.deferred(scope, |inner| {
                    inner.parameters(&node.args, None);
                    inner.expression(&node.body, Use::Returned);
                    let path = inner.path;
                    if let Some(function) = &mut inner.here().function {
                        function.returns.push(Returned { value: Some(&node.body), path });
                    }
                });
            }
            Expr::ListComp(node) => self.comprehension(&node.generators, &[&node.elt]),
            Expr::SetComp(node) => self.comprehension(&node.generators, &[&node.elt]),
            Expr::DictComp(node) => self.comprehension(&node.generators, &[&node.key, &node.value]),
            Expr::GeneratorExp(node) => self.generator_expression(&node.generators, &node.elt),
            Expr::Tuple(_) | Expr::List(_) if matches!(used_as, Use::Unpacked | Use::Returned | Use::Base) => {
                let inner = if used_as == Use::Unpacked { Use::Value } else { used_as };
                walk::children(expression, &mut |child| self.expression(child, inner));
            }
            Expr::Starred(_) | Expr::List(_) | Expr::Tuple(_) | Expr::Dict(_) | Expr::Set(_) => {
                let inner = if used_as == Use::Inert { Use::Inert } else { Use::Element };
                walk::children(expression, &mut |child| self.expression(child, inner));
            }
            // One element of a container that is written out, or the container with others.
            Expr::Subscript(node) => {
                self.expression(&node.value, use_of_operand(&node.value));
                self.expression(&node.slice, Use::Inert);
            }
            Expr::BinOp(node) if matches!(node.op, Operator::Add | Operator::Mult | Operator::BitOr) => {
                [&node.left, &node.right].into_iter().for_each(|side| self.expression(side, use_of_operand(side)));
            }
            _ => walk::children(expression, &mut |child| self.expression(child, Use::Inert)),
        }
    }

    /// Remembers a value that goes where it is not traced.
    fn escape(&mut self, expression: &'a Expr, used_as: Use) {
        if !matches!(used_as, Use::Value | Use::Unpacked | Use::Callee | Use::Inert) {
            let placed = self.placed(expression, used_as);
            self.bindings.escapes.push(placed);
        }
    }

    fn private(&mut self, attribute: &'a ExprAttribute) {
        if attribute.attr.starts_with("__") {
            let symbol = self.symbol(&attribute.attr);
            self.bindings.private_attributes.insert(end(attribute).0 as u32, symbol);
        }
    }

    fn generator(&mut self) {
        if let Some(function) = &mut self.here().function {
            function.is_generator = true;
        }
    }

    fn call(&mut self, expression: &'a Expr, call: &'a ExprCall, used_as: Use) {
        self.expression(&call.func, Use::Callee);
        let placed = self.placed(expression, used_as);
        if let Some([kind, value]) = walk::cast(call) {
            self.expression(kind, Use::Inert);
            self.expression(value, used_as);
        } else {
            let used_as = use_of_arguments(call);
            call.args.iter().for_each(|argument| self.expression(argument, used_as));
            call.keywords.iter().for_each(|keyword| self.expression(&keyword.value, used_as));
        }
        self.chosen_by_call(call);
        self.note_configurations();
        self.bindings.calls.push(placed);
    }

    /// Notes what NIXL's configuration class is called here: an argument added to this call would be evaluated now.
    fn note_configurations(&mut self) {
        let number = self.bindings.calls.len() as u32;
        for index in 0..self.bindings.configuration_names.len() {
            let (name, symbol) = self.bindings.configuration_names[index];
            if let Some(version) = self.seen(symbol) {
                self.bindings.configurations_at.push((number, name, version));
            }
        }
    }

    /// `name := value` binds in the scope that encloses all comprehensions; whether it runs is not known.
    fn named(&mut self, target: &'a Expr, value: &'a Expr) {
        let Some(name) = target.as_name_expr() else { return };
        let mut scope = self.scope;
        while let (ScopeKind::Comprehension, Some(parent)) =
            (self.bindings.scope(scope).kind, self.bindings.scope(scope).parent)
        {
            scope = parent;
        }
        self.within(scope, |inner| inner.bind_perhaps(&name.id, Value::Expression(value)));
    }

    fn comprehension(&mut self, generators: &'a [Comprehension], results: &[&'a Expr]) {
        // The first iterable is evaluated in the enclosing scope.
        generators.iter().take(1).for_each(|generator| self.expression(&generator.iter, Use::Element));
        let scope = self.open(ScopeKind::Comprehension, "");
        self.within(scope, |inner| inner.generators(generators, results));
    }

    /// A generator expression runs when it is iterated.
    fn generator_expression(&mut self, generators: &'a [Comprehension], result: &'a Expr) {
        generators.iter().take(1).for_each(|generator| self.expression(&generator.iter, Use::Element));
        let scope = self.open(ScopeKind::Function, "");
        self.deferred(scope, |inner| {
            inner.generator();
            inner.generators(generators, &[result]);
        });
    }

    fn generators(&mut self, generators: &'a [Comprehension], results: &[&'a Expr]) {
        for (number, generator) in generators.iter().enumerate() {
            if number > 0 {
                self.expression(&generator.iter, Use::Element);
            }
            self.target(&generator.target, Value::Iteration(&generator.iter));
            generator.ifs.iter().for_each(|condition| self.expression(condition, Use::Inert));
        }
        results.iter().for_each(|result| self.expression(result, Use::Element));
    }
}

/// How an operator uses its operand.
fn use_of_operand(operand: &Expr) -> Use {
    match operand {
        Expr::List(_) | Expr::Tuple(_) | Expr::Dict(_) | Expr::Set(_) => Use::Element,
        _ => Use::Inert,
    }
}

fn use_of_arguments(call: &ExprCall) -> Use {
    let Some(name) = walk::last_name(&call.func) else { return Use::Argument };
    let bare = call.func.is_name_expr();
    match name {
        "partial" | "partialmethod" => Use::Partial,
        // `type(name, bases, namespace)`
        "type" if bare && call.args.len() > 1 => Use::Base,
        _ if bare && INERT_FUNCTIONS.contains(&name) => Use::Inert,
        _ => Use::Argument,
    }
}

fn expression_of<'a>(value: Value<'a>) -> Option<&'a Expr> {
    if let Value::Expression(expression) = value { Some(expression) } else { None }
}

/// `x` of `x.backends`.
fn list_of_backends(expression: &Expr) -> Option<&Expr> {
    let attribute = expression.as_attribute_expr().filter(|attribute| attribute.attr.as_str() == BACKENDS)?;
    Some(&attribute.value)
}

/// `name` of `globals()["name"]`.
fn name_in_globals(target: &Expr) -> Option<&str> {
    let element = target.as_subscript_expr()?;
    let function = element.value.as_call_expr()?.func.as_name_expr()?;
    match &element.slice.as_constant_expr()?.value {
        Constant::Str(name) if function.id.as_str() == "globals" => Some(name),
        _ => None,
    }
}
