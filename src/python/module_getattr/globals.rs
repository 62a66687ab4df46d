//! The names of a module that are bound once, and to what.

use rustc_hash::{FxHashMap, FxHashSet};
use rustpython_parser::ast::{Expr, Stmt, StmtFunctionDef, StmtImportFrom};

use super::value::{Value, Values};
use crate::python::meaning::Imports;
use crate::python::walk;

/// Methods that change a container.
const CHANGING: [&str; 9] = ["update", "setdefault", "pop", "popitem", "clear", "append", "extend", "insert", "remove"];

/// The module's own names.
#[derive(Default)]
pub(super) struct Globals<'a> {
    functions: FxHashMap<&'a str, &'a StmtFunctionDef>,
    constants: FxHashMap<&'a str, &'a Expr>,
    imports: FxHashMap<&'a str, Values>,
    /// Names that are bound in another way too, or whose value is changed.
    unclear: FxHashSet<&'a str>,
}

impl<'a> Globals<'a> {
    /// Those of a module.
    pub(super) fn of(module: &'a [Stmt], imports: &dyn Imports) -> Self {
        let mut globals = Globals::default();
        module.iter().for_each(|statement| globals.top_level(statement, imports));
        module.iter().for_each(|statement| globals.changes(statement));
        globals
    }

    /// A function by its name: None where there is none, and `Some(None)` where it is not clear which.
    pub(super) fn function(&self, name: &str) -> Option<Option<&'a StmtFunctionDef>> {
        match (self.functions.get(name), self.unclear.contains(name)) {
            (_, true) => Some(None),
            (Some(function), false) => Some(Some(function)),
            (None, false) => None,
        }
    }

    /// The only value that is assigned to a name.
    pub(super) fn constant(&self, name: &str) -> Option<&'a Expr> {
        self.constants.get(name).copied().filter(|_| !self.unclear.contains(name))
    }

    /// What a name is imported from.
    pub(super) fn import(&self, name: &str) -> Option<&Values> {
        self.imports.get(name).filter(|_| !self.unclear.contains(name))
    }

    fn top_level(&mut self, statement: &'a Stmt, imports: &dyn Imports) {
        match statement {
            Stmt::FunctionDef(node) => {
                self.bound(&node.name);
                self.functions.insert(&node.name, node);
            }
            Stmt::Assign(node) => match node.targets.as_slice() {
                [Expr::Name(name)] => self.assigned(&name.id, &node.value),
                targets => targets.iter().for_each(|target| self.unclear_target(target)),
            },
            Stmt::AnnAssign(node) => {
                if let (Expr::Name(name), Some(value)) = (node.target.as_ref(), &node.value) {
                    self.assigned(&name.id, value);
                }
            }
            Stmt::Import(_) | Stmt::ImportFrom(_) => {
                for (name, values) in imported(statement, imports) {
                    // `import a.b` and `import a.c` bind the same.
                    if self.imports.get(name) != Some(&values) {
                        self.bound(name);
                    }
                    self.imports.insert(name, values);
                }
            }
            Stmt::ClassDef(node) => {
                self.unclear.insert(&node.name);
            }
            other => walk::bodies(other).into_iter().flatten().for_each(|inner| self.conditional(inner)),
        }
    }

    /// A statement that may not run.
    fn conditional(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::FunctionDef(node) => {
                self.unclear.insert(&node.name);
            }
            Stmt::AsyncFunctionDef(node) => {
                self.unclear.insert(&node.name);
            }
            Stmt::ClassDef(node) => {
                self.unclear.insert(&node.name);
            }
            Stmt::Assign(node) => node.targets.iter().for_each(|target| self.unclear_target(target)),
            Stmt::AnnAssign(node) => self.unclear_target(&node.target),
            Stmt::Import(node) => {
                let names = node.names.iter().map(|alias| alias.asname.as_ref().unwrap_or(&alias.name));
                self.unclear.extend(names.map(|name| name.split('.').next().unwrap_or(name)));
            }
            Stmt::ImportFrom(node) => {
                let names = node.names.iter().map(|alias| alias.asname.as_ref().unwrap_or(&alias.name));
                self.unclear.extend(names.map(rustpython_ast::Identifier::as_str));
            }
            other => walk::bodies(other).into_iter().flatten().for_each(|inner| self.conditional(inner)),
        }
    }

    fn bound(&mut self, name: &'a str) {
        let known = self.functions.contains_key(name) || self.constants.contains_key(name);
        if known || self.imports.contains_key(name) {
            self.unclear.insert(name);
        }
    }

    fn assigned(&mut self, name: &'a str, value: &'a Expr) {
        self.bound(name);
        self.constants.insert(name, value);
    }

    fn unclear_target(&mut self, target: &'a Expr) {
        match target {
            Expr::Name(name) => {
                self.unclear.insert(&name.id);
            }
            Expr::Tuple(node) => node.elts.iter().for_each(|target| self.unclear_target(target)),
            Expr::List(node) => node.elts.iter().for_each(|target| self.unclear_target(target)),
            Expr::Subscript(node) => self.changed(&node.value),
            _ => {}
        }
    }

    /// A value that is changed after it was made.
    fn changed(&mut self, owner: &'a Expr) {
        if let Expr::Name(name) = owner {
            self.unclear.insert(&name.id);
        }
    }

    /// What any statement of the file changes: elements of a container, and names that a function declares global.
    fn changes(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::Global(node) => self.unclear.extend(node.names.iter().map(rustpython_ast::Identifier::as_str)),
            Stmt::AugAssign(node) => self.unclear_target(&node.target),
            Stmt::Delete(node) => node.targets.iter().for_each(|target| self.unclear_target(target)),
            Stmt::Assign(node) => node.targets.iter().for_each(|target| {
                if let Expr::Subscript(element) = target {
                    self.changed(&element.value);
                }
            }),
            _ => {}
        }
        walk::expressions_of(statement, &mut |expression| self.changing_calls(expression));
        walk::bodies(statement).into_iter().flatten().for_each(|inner| self.changes(inner));
    }

    fn changing_calls(&mut self, expression: &'a Expr) {
        if let Some(method) = expression.as_call_expr().and_then(|call| call.func.as_attribute_expr())
            && CHANGING.contains(&method.attr.as_str())
        {
            self.changed(&method.value);
        }
        walk::children(expression, &mut |child| self.changing_calls(child));
    }
}

/// What an import binds.
pub(super) fn imported<'a>(statement: &'a Stmt, imports: &dyn Imports) -> Vec<(&'a str, Values)> {
    match statement {
        Stmt::Import(node) => {
            let bound = node.names.iter().map(|alias| {
                let module = alias.name.as_str();
                let top = module.split('.').next().unwrap_or(module);
                match &alias.asname {
                    Some(name) => (name.as_str(), module),
                    None => (top, top),
                }
            });
            bound.map(|(name, module)| (name, Values::one(Value::Module(module.to_string())))).collect()
        }
        Stmt::ImportFrom(node) => {
            let module = module_of(node, imports);
            let bound = node.names.iter().map(|alias| {
                let member = Value::Member(module.clone(), alias.name.to_string());
                (alias.asname.as_ref().unwrap_or(&alias.name).as_str(), Values::one(member))
            });
            bound.collect()
        }
        _ => Vec::new(),
    }
}

fn module_of(node: &StmtImportFrom, imports: &dyn Imports) -> String {
    let module = node.module.as_ref().map_or("", |name| name.as_str());
    match node.level.as_ref().map_or(0, rustpython_ast::Int::to_u32) {
        0 => module.to_string(),
        level => imports.absolute(level, module),
    }
}
