//! Attributes of the file's own classes and their instances.

use super::{Meaning, Meanings, Resolver, Sets, Traced, Why};
use crate::python::bindings::{Origin, ScopeId, ScopeKind, Symbol, Value, VariableId};

/// Decorators that make an attribute of what a function returns.
const PROPERTIES: [&str; 2] = ["property", "cached_property"];

impl Resolver<'_, '_> {
    /// Joins classes that inherit from each other: an attribute that one of them assigns is there in the others.
    pub(super) fn relate_classes(&mut self) {
        let bindings = self.bindings;
        self.families = bindings.scopes().map(|(id, _)| id).collect();
        let classes: Vec<_> = bindings.scopes().filter(|(_, scope)| scope.kind == ScopeKind::Class).collect();
        for (id, scope) in &classes {
            for base in scope.bases {
                let bases = self.class_of_name(base);
                bases.into_iter().for_each(|base| self.relate(*id, base));
            }
        }
        for (id, _) in classes {
            let family = self.family(id);
            if family != id || self.relatives.contains_key(&family) {
                self.relatives.entry(family).or_insert_with(|| vec![family]).push(id);
            }
        }
    }

    /// The classes of this file that a name in a list of bases is bound to.
    fn class_of_name(&self, base: &rustpython_parser::ast::Expr) -> Vec<ScopeId> {
        let bindings = self.bindings;
        let variable = bindings.load(base).map(|version| bindings.version(version).variable);
        let bound = variable.map_or(&[][..], |variable| &bindings.variable(variable).bindings);
        let classes = bound.iter().take(4).filter_map(|version| match bindings.version(*version).origin {
            Origin::Bound(Value::Class(class)) => Some(class),
            _ => None,
        });
        classes.collect()
    }

    fn relate(&mut self, one: ScopeId, other: ScopeId) {
        let (one, other) = (self.family(one), self.family(other));
        self.families[one.max(other) as usize] = one.min(other);
    }

    fn family(&mut self, class: ScopeId) -> ScopeId {
        let mut at = class;
        while self.families[at as usize] != at {
            let above = self.families[self.families[at as usize] as usize];
            self.families[at as usize] = above;
            at = above;
        }
        at
    }

    /// An attribute of a class or of its instances.
    pub(super) fn class_attribute(
        &mut self,
        class: ScopeId,
        name: &str,
        symbol: Option<Symbol>,
        of_instance: bool,
    ) -> Meanings {
        let family = self.family(class);
        if let Some(symbol) = symbol {
            let found = self.assigned_in_family(family, symbol);
            // `object.name = …` of an object that may be one of these.
            let bindings = self.bindings;
            let foreign = self.any_of(bindings.foreign_attributes_named(symbol));
            let found = self.sets.union(found, foreign);
            if found != Sets::NOTHING {
                return found;
            }
        }
        if of_instance && self.lacks_every_attribute(class, name) {
            return Sets::NOTHING;
        }
        self.unknown(Why::Attribute)
    }

    fn assigned_in_family(&mut self, family: ScopeId, symbol: Symbol) -> Meanings {
        match self.of_attribute.get(&(family, symbol)) {
            Some(Traced::Done(known)) => return *known,
            Some(_) => return self.circular(self.before.of_attribute.get(&(family, symbol)).copied()),
            None => {}
        }
        self.of_attribute.insert((family, symbol), Traced::Now);
        let classes = self.relatives.get(&family).cloned().unwrap_or_else(|| vec![family]);
        let mut all = Sets::NOTHING;
        for class in classes {
            let (of_class, of_instances) = self.bindings.class_variables(class, symbol);
            let of_class = of_class.map_or(Sets::NOTHING, |variable| self.class_variable(variable));
            let of_instances = of_instances.map_or(Sets::NOTHING, |variable| self.all_bindings(variable));
            all = self.sets.union(all, of_class);
            all = self.sets.union(all, of_instances);
        }
        self.of_attribute.insert((family, symbol), Traced::Done(all));
        all
    }

    /// A name of a class's body as an attribute. What is no function can be replaced.
    fn class_variable(&mut self, variable: VariableId) -> Meanings {
        let bound = self.all_bindings(variable);
        let mut all = Sets::NOTHING;
        for meaning in self.list(bound).to_vec() {
            let found = match meaning {
                Meaning::Unbound => Sets::NOTHING,
                Meaning::Function(function) if self.is_property(function) => self.returned(function, false),
                Meaning::Function(_) | Meaning::Module(_) | Meaning::Class(_) => self.one(meaning),
                _ => {
                    let (itself, replaced) = (self.one(meaning), self.unknown(Why::ClassAttribute));
                    self.sets.union(itself, replaced)
                }
            };
            all = self.sets.union(all, found);
        }
        all
    }

    fn all_bindings(&mut self, variable: VariableId) -> Meanings {
        let bindings = self.bindings;
        self.any_of(&bindings.variable(variable).bindings)
    }

    fn is_property(&self, function: ScopeId) -> bool {
        let Some(function) = &self.bindings.scope(function).function else { return false };
        function.decorators.iter().any(|decorator| match decorator {
            rustpython_parser::ast::Expr::Name(name) => PROPERTIES.contains(&name.id.as_str()),
            rustpython_parser::ast::Expr::Attribute(attribute) => PROPERTIES.contains(&attribute.attr.as_str()),
            _ => false,
        })
    }

    /// Whether reading an attribute that is not assigned in this file certainly raises: a stand-in for what is missing.
    fn lacks_every_attribute(&mut self, class: ScopeId, name: &str) -> bool {
        if !self.bindings.scope(class).bases.is_empty() || name.starts_with("__") {
            return false;
        }
        self.special(class, "__getattr__").is_some_and(|function| self.never_returns(function))
    }

    /// Whether calling a class certainly raises.
    pub(crate) fn raises_when_called(&mut self, meaning: &Meaning) -> bool {
        match *meaning {
            Meaning::Unbound | Meaning::None => true,
            Meaning::Function(function) => {
                let bare = self.bindings.scope(function).function.as_ref().is_some_and(|it| it.decorators.is_empty());
                bare && self.never_returns(function)
            }
            Meaning::Class(class) if self.bindings.scope(class).bases.is_empty() => {
                let first = self.special(class, "__new__").or_else(|| self.special(class, "__init__"));
                first.is_some_and(|function| self.never_returns(function))
            }
            Meaning::Instance(class) => {
                self.special(class, "__call__").is_some_and(|function| self.never_returns(function))
            }
            _ => false,
        }
    }

    /// The only function of this name in a class's body.
    fn special(&self, class: ScopeId, name: &str) -> Option<ScopeId> {
        let bindings = self.bindings;
        let (variable, _) = bindings.class_variables(class, bindings.symbol_of(name)?);
        match bindings.variable(variable?).bindings.as_slice() {
            [only] => match bindings.version(*only).origin {
                Origin::Bound(Value::Function(function)) => Some(function),
                _ => None,
            },
            _ => None,
        }
    }
}
