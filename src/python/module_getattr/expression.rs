//! Expressions in a function that is followed.

use std::rc::Rc;

use rustpython_parser::ast::{BoolOp, CmpOp, Constant, Expr, ExprCall, ExprCompare, ExprSet, Operator, UnaryOp};

use super::value::{Value, Values};
use super::{DEPTH, Evaluator, Locals};
use crate::python::span::{end, start};

/// How many entries of a table that is written out are read.
const ENTRIES: usize = 1024;

impl<'a> Evaluator<'a, '_> {
    /// Everything that an expression can be.
    pub(super) fn expression(&mut self, expression: &'a Expr, locals: &Locals<'a>) -> Values {
        if self.depth >= DEPTH {
            return Values::unknown();
        }
        self.depth += 1;
        let found = self.evaluate(expression, locals);
        self.depth -= 1;
        found
    }

    fn evaluate(&mut self, expression: &'a Expr, locals: &Locals<'a>) -> Values {
        match expression {
            Expr::Constant(node) => match &node.value {
                Constant::None => Values::one(Value::None),
                Constant::Str(text) => Values::one(Value::Text(text.clone())),
                _ => Values::unknown(),
            },
            Expr::Name(name) => self.name(name.id.as_str(), locals),
            Expr::BinOp(node) if node.op == Operator::Add => {
                let (left, right) = (self.expression(&node.left, locals), self.expression(&node.right, locals));
                concatenated(&left, &right)
            }
            Expr::IfExp(node) => match self.truth(&node.test, locals) {
                Some(true) => self.expression(&node.body, locals),
                Some(false) => self.expression(&node.orelse, locals),
                None => {
                    let mut all = self.expression(&node.body, locals);
                    all.add(self.expression(&node.orelse, locals));
                    all
                }
            },
            Expr::BoolOp(node) => {
                let mut all = Values::default();
                node.values.iter().for_each(|value| all.add(self.expression(value, locals)));
                all
            }
            Expr::Tuple(node) => self.items(&node.elts, locals),
            Expr::List(node) => self.items(&node.elts, locals),
            // The lexer makes one of a formatted string, too.
            Expr::Set(node) if self.text[start(expression).0..].starts_with('{') => self.items(&node.elts, locals),
            Expr::Set(node) => self.formatted(node, locals).unwrap_or_else(Values::unknown),
            Expr::Dict(node) => {
                let keys: Option<Vec<&Expr>> = node.keys.iter().map(Option::as_ref).collect();
                keys.map_or_else(Values::unknown, |keys| self.table(&keys, &node.values, locals))
            }
            Expr::Attribute(node) => {
                let owner = self.expression(&node.value, locals);
                owner.flat_map(|owner| member(owner, &node.attr))
            }
            Expr::Subscript(node) => {
                let (owner, key) = (self.expression(&node.value, locals), self.expression(&node.slice, locals));
                owner.flat_map(|owner| element(owner, &key, &node.slice))
            }
            Expr::Call(call) => self.call(call, locals),
            _ => Values::unknown(),
        }
    }

    fn name(&mut self, name: &str, locals: &Locals<'a>) -> Values {
        if let Some(known) = locals.get(name) {
            return known.clone();
        }
        if let Some(constant) = self.globals.constant(name) {
            return self.expression(constant, &Locals::default());
        }
        self.globals.import(name).cloned().unwrap_or_else(Values::unknown)
    }

    fn items(&mut self, elements: &'a [Expr], locals: &Locals<'a>) -> Values {
        if elements.len() > ENTRIES {
            return Values::unknown();
        }
        let items = elements.iter().map(|element| self.expression(element, locals)).collect();
        Values::one(Value::Items(Rc::new(items)))
    }

    fn table(&mut self, keys: &[&'a Expr], values: &'a [Expr], locals: &Locals<'a>) -> Values {
        if keys.len() > ENTRIES {
            return Values::unknown();
        }
        let mut entries = Vec::new();
        for (key, value) in keys.iter().zip(values) {
            let key = self.expression(key, locals);
            let Some(key) = key.text() else { return Values::unknown() };
            entries.push((key.to_string(), self.expression(value, locals)));
        }
        Values::one(Value::Table(Rc::new(entries)))
    }

    /// `f"{package}._api"`; None for one with a format, an escape sequence or a brace in its text.
    fn formatted(&mut self, node: &'a ExprSet, locals: &Locals<'a>) -> Option<Values> {
        let (from, to) = (start(node).0, end(node).0);
        let quote =
            self.text.get(from..to)?.strip_prefix('f')?.chars().next().filter(|quote| "'\"".contains(*quote))?;
        let is_plain = |text: &&str| !text.contains(['{', '}', '\\', quote]);
        let literal = |text: &str| Values::one(Value::Text(text.to_string()));
        let mut all = literal("");
        let mut at = from + 2;
        // Without a field, there is an element of no length.
        for field in node.elts.iter().filter(|field| start(*field) < end(*field)) {
            let before = self.text.get(at..start(field).0)?.strip_suffix('{').filter(is_plain)?;
            all = concatenated(&all, &literal(before));
            all = concatenated(&all, &self.expression(field, locals));
            at = end(field).0 + 1;
            self.text.get(at - 1..)?.starts_with('}').then_some(())?;
        }
        let rest = self.text.get(at..to)?.strip_suffix(quote).filter(is_plain)?;
        Some(concatenated(&all, &literal(rest)))
    }

    fn call(&mut self, call: &'a ExprCall, locals: &Locals<'a>) -> Values {
        let is_plain = !call.args.iter().any(Expr::is_starred_expr) && call.keywords.iter().all(|it| it.arg.is_some());
        if !is_plain {
            return Values::unknown();
        }
        let arguments: Vec<Values> = call.args.iter().map(|argument| self.expression(argument, locals)).collect();
        if let Expr::Name(name) = call.func.as_ref()
            && !locals.contains_key(name.id.as_str())
        {
            match (self.globals.function(&name.id), name.id.as_str()) {
                (Some(Some(function)), _) => {
                    let named = call.keywords.iter().filter_map(|keyword| {
                        Some((keyword.arg.as_ref()?.as_str(), self.expression(&keyword.value, locals)))
                    });
                    let named = named.collect();
                    return self.function(function, arguments, named);
                }
                (Some(None), _) => return Values::unknown(),
                (None, "getattr") if self.globals.constant("getattr").is_none() => return attribute(&arguments),
                _ => {}
            }
        }
        if let Expr::Attribute(method) = call.func.as_ref()
            && method.attr.as_str() == "get"
        {
            return self.get(&method.value, &arguments, locals);
        }
        let callee = self.expression(&call.func, locals);
        callee.flat_map(|callee| match callee {
            Value::Member(module, name) if module == "importlib" && name == "import_module" => self.module(&arguments),
            _ => Values::unknown(),
        })
    }

    /// `table.get(key)`.
    fn get(&mut self, owner: &'a Expr, arguments: &[Values], locals: &Locals<'a>) -> Values {
        let (owner, [key, default @ ..]) = (self.expression(owner, locals), arguments) else {
            return Values::unknown();
        };
        let default = default.first().cloned().unwrap_or_else(|| Values::one(Value::None));
        owner.flat_map(|owner| match (owner, key.text()) {
            (Value::Table(entries), Some(key)) => entry(entries, key).unwrap_or_else(|| default.clone()),
            _ => Values::unknown(),
        })
    }

    /// `importlib.import_module(name)`, or `(name, __name__)` of a package for a relative name.
    fn module(&self, arguments: &[Values]) -> Values {
        let Some(names) = arguments.first() else { return Values::unknown() };
        names.flat_map(|name| match name {
            Value::Text(name) => {
                let relative = name.trim_start_matches('.');
                let level = (name.len() - relative.len()) as u32;
                let full = if level > 0 { self.imports.absolute(level, relative) } else { name.clone() };
                Values::one(Value::Module(full))
            }
            _ => Values::unknown(),
        })
    }

    /// Whether a condition holds, where that is certain.
    pub(super) fn truth(&mut self, test: &'a Expr, locals: &Locals<'a>) -> Option<bool> {
        match test {
            Expr::Compare(node) => self.comparison(node, locals),
            Expr::UnaryOp(node) if node.op == UnaryOp::Not => self.truth(&node.operand, locals).map(|holds| !holds),
            Expr::BoolOp(node) => {
                let decides = node.op == BoolOp::Or;
                let all: Vec<Option<bool>> = node.values.iter().map(|value| self.truth(value, locals)).collect();
                match all.contains(&Some(decides)) {
                    true => Some(decides),
                    false => all.iter().all(Option::is_some).then_some(!decides),
                }
            }
            _ => None,
        }
    }

    fn comparison(&mut self, node: &'a ExprCompare, locals: &Locals<'a>) -> Option<bool> {
        let ([operator], [right]) = (node.ops.as_slice(), node.comparators.as_slice()) else { return None };
        let (left, right) = (self.expression(&node.left, locals), self.expression(right, locals));
        match operator {
            CmpOp::Eq => Some(left.text()? == right.text()?),
            CmpOp::NotEq => Some(left.text()? != right.text()?),
            CmpOp::In => Some(right.texts_in()?.contains(&left.text()?)),
            CmpOp::NotIn => Some(!right.texts_in()?.contains(&left.text()?)),
            CmpOp::Is if right.is_none() == Some(true) => left.is_none(),
            CmpOp::IsNot if right.is_none() == Some(true) => left.is_none().map(|is_none| !is_none),
            _ => None,
        }
    }
}

/// Two texts, one after the other.
fn concatenated(left: &Values, right: &Values) -> Values {
    left.flat_map(|left| {
        right.flat_map(|right| match (left, right) {
            (Value::Text(left), Value::Text(right)) => Values::one(Value::Text(format!("{left}{right}"))),
            _ => Values::unknown(),
        })
    })
}

/// A member of an object.
fn member(owner: &Value, name: &str) -> Values {
    match owner {
        Value::Module(module) => Values::one(Value::Member(module.clone(), name.to_string())),
        Value::Member(module, of) => Values::one(Value::Member(format!("{module}.{of}"), name.to_string())),
        // Raises.
        Value::None => Values::default(),
        _ => Values::unknown(),
    }
}

/// `getattr(owner, name)`, or with a default.
fn attribute(arguments: &[Values]) -> Values {
    let [owner, name, default @ ..] = arguments else { return Values::unknown() };
    let mut all = owner.flat_map(|owner| {
        name.flat_map(|name| match name {
            Value::Text(name) => member(owner, name),
            _ => Values::unknown(),
        })
    });
    default.iter().for_each(|default| all.add(default.clone()));
    all
}

/// An element of a container. A key that a table lacks raises.
fn element(owner: &Value, key: &Values, written: &Expr) -> Values {
    match owner {
        Value::Table(entries) => key.flat_map(|key| match key {
            Value::Text(key) => entry(entries, key).unwrap_or_default(),
            _ => Values::unknown(),
        }),
        Value::Items(items) => match written.as_constant_expr().map(|constant| &constant.value) {
            Some(Constant::Int(number)) => {
                let number: Option<usize> = number.try_into().ok();
                number.and_then(|number| items.get(number)).cloned().unwrap_or_else(Values::unknown)
            }
            _ => Values::unknown(),
        },
        _ => Values::unknown(),
    }
}

/// The last entry of that key counts.
fn entry(entries: &[(String, Values)], key: &str) -> Option<Values> {
    entries.iter().rev().find(|(known, _)| known == key).map(|(_, values)| values.clone())
}
