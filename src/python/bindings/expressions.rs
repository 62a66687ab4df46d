//! Reads a module's bindings from its expressions, assignment targets and patterns.

use rustpython_parser::ast::{Comprehension, Expr, Pattern};

use super::{Binding, Bindings, Placed, ScopeKind, Value};
use crate::python::span::end;
use crate::python::walk;
use crate::source::offset::TextOffset;

impl<'a> Bindings<'a> {
    /// Binds the names in the target of an assignment to `value`; `how` describes them where it is not known.
    pub(super) fn target(
        &mut self,
        target: &'a Expr,
        value: Option<&'a Expr>,
        position: TextOffset,
        how: &'static str,
    ) {
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
            Expr::Starred(node) => self.target(&node.value, None, position, "a starred target"),
            other => self.expression(other),
        }
    }

    fn unpack(&mut self, targets: &'a [Expr], value: Option<&'a Expr>, position: TextOffset, how: &'static str) {
        let starred = targets.iter().any(rustpython_ast::Expr::is_starred_expr);
        for (number, target) in targets.iter().enumerate() {
            match (target, value) {
                (Expr::Name(name), Some(value)) if !starred => {
                    self.bind(&name.id, Value::Element(value, number), position);
                }
                _ => self.target(target, None, position, how),
            }
        }
    }

    pub(super) fn pattern(&mut self, pattern: &'a Pattern) {
        let matched = Value::Opaque("bound by a `match` pattern");
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
                node.patterns.iter().chain(&node.kwd_patterns).for_each(|inner| self.pattern(inner));
            }
            Pattern::MatchStar(node) => node.name.iter().for_each(|name| self.bind(name, matched, position)),
            Pattern::MatchAs(node) => {
                node.pattern.iter().for_each(|inner| self.pattern(inner));
                node.name.iter().for_each(|name| self.bind(name, matched, position));
            }
            Pattern::MatchOr(node) => node.patterns.iter().for_each(|inner| self.pattern(inner)),
        }
    }

    pub(super) fn expressions(&mut self, expressions: &'a [Expr]) {
        expressions.iter().for_each(|expression| self.expression(expression));
    }

    pub(super) fn expression(&mut self, expression: &'a Expr) {
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

    /// `name := value` binds in the scope that encloses all comprehensions.
    fn named(&mut self, target: &'a Expr, value: &'a Expr, position: TextOffset) {
        self.expression(value);
        let mut scope = self.scope;
        while let (ScopeKind::Comprehension, Some(parent)) = (self.scopes[scope].kind, self.scopes[scope].parent) {
            scope = parent;
        }
        self.within(scope, |inner| {
            inner.branch(position, 0, false, None, |inner| inner.target(target, Some(value), position, ""));
        });
    }

    fn comprehension(&mut self, generators: &'a [Comprehension], results: &[&'a Expr]) {
        // The first iterable is evaluated in the enclosing scope.
        generators.iter().take(1).for_each(|generator| self.expression(&generator.iter));
        let scope = self.open(ScopeKind::Comprehension, "", None);
        self.within(scope, |inner| {
            for (number, generator) in generators.iter().enumerate() {
                if number > 0 {
                    inner.expression(&generator.iter);
                }
                // Bound in the whole comprehension: its result precedes its variables in the text.
                inner.target(&generator.target, None, TextOffset(0), "a comprehension variable");
                inner.expressions(&generator.ifs);
            }
            results.iter().for_each(|result| inner.expression(result));
        });
    }
}
