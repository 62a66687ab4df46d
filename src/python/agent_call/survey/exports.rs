//! NIXL's classes that other modules can import from a module: under which names it binds them.

use rustpython_parser::ast::{Constant, Expr, Stmt, StmtImportFrom};

use crate::python::meaning::{Imports, NixlClass};
use crate::python::walk;

/// A name of a module, and the class of NIXL that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Export {
    /// The name.
    pub name: String,
    /// The class.
    pub class: NixlClass,
}

/// What a module exports, as far as its own level shows: `from nixl._api import nixl_agent as NixlWrapper`,
/// `NixlWrapper = api.nixl_agent`, `from .utils import NixlWrapper`, and the tables of a module with a `__getattr__`.
pub(crate) fn exports(module: &[Stmt], imports: &dyn Imports) -> Vec<Export> {
    let mut reader = Reader { exports: Vec::new(), imports };
    reader.body(module);
    if module.iter().any(defines_getattr) {
        module.iter().for_each(|statement| reader.tables(statement));
    }
    reader.exports
}

struct Reader<'i> {
    exports: Vec<Export>,
    imports: &'i dyn Imports,
}

impl Reader<'_> {
    fn add(&mut self, name: &str, class: Option<NixlClass>) {
        if let Some(class) = class {
            self.exports.push(Export { name: name.to_string(), class });
        }
    }

    fn body(&mut self, statements: &[Stmt]) {
        for statement in statements {
            match statement {
                Stmt::ImportFrom(node) => self.import(node),
                Stmt::Assign(node) => {
                    let class = self.class(&node.value);
                    node.targets.iter().filter_map(Expr::as_name_expr).for_each(|name| self.add(&name.id, class));
                }
                Stmt::AnnAssign(node) => {
                    let class = node.value.as_ref().and_then(|value| self.class(value));
                    node.target.as_name_expr().into_iter().for_each(|name| self.add(&name.id, class));
                }
                Stmt::FunctionDef(_) | Stmt::AsyncFunctionDef(_) | Stmt::ClassDef(_) => {}
                other => walk::bodies(other).into_iter().for_each(|body| self.body(body)),
            }
        }
    }

    fn import(&mut self, node: &StmtImportFrom) {
        let module = node.module.as_ref().map_or("", |name| name.as_str());
        let level = node.level.as_ref().map_or(0, rustpython_ast::Int::to_u32);
        let module = if level > 0 { self.imports.absolute(level, module) } else { module.to_string() };
        for alias in &node.names {
            let name = alias.name.as_str();
            if name == "*" {
                let starred = self.imports.all(&module);
                self.exports.extend(starred.into_iter().map(|(name, class)| Export { name, class }));
                continue;
            }
            let class = NixlClass::named(name).or_else(|| Some(self.imports.alias(&module, name)?.class));
            self.add(alias.asname.as_ref().unwrap_or(&alias.name), class);
        }
    }

    /// The class that an expression is, going by its name.
    fn class(&self, value: &Expr) -> Option<NixlClass> {
        match value {
            Expr::Attribute(attribute) => NixlClass::named(&attribute.attr),
            Expr::Name(name) => {
                let known = self.exports.iter().find(|export| export.name == name.id.as_str());
                known.map(|export| export.class)
            }
            Expr::IfExp(node) => self.class(&node.body).or_else(|| self.class(&node.orelse)),
            Expr::Call(call) => {
                // `getattr(module, "nixl_agent", None)`.
                let named = call.args.get(1).and_then(text).and_then(NixlClass::named);
                named.filter(|_| call.func.as_name_expr().is_some_and(|name| name.id.as_str() == "getattr"))
            }
            _ => None,
        }
    }

    /// `{"NixlWrapper": "nixl_agent"}`, `{"NixlWrapper": ("nixl._api", "nixl_agent")}`.
    fn tables(&mut self, statement: &Stmt) {
        walk::expressions_of(statement, &mut |expression| self.tables_in(expression));
        for body in walk::bodies(statement) {
            body.iter().for_each(|inner| self.tables(inner));
        }
    }

    fn tables_in(&mut self, expression: &Expr) {
        if let Expr::Dict(node) = expression {
            for (key, value) in node.keys.iter().zip(&node.values) {
                let (Some(name), Some(target)) = (key.as_ref().and_then(text), target(value)) else { continue };
                let last = target.rsplit(['.', ':']).next().unwrap_or(target);
                self.add(name, NixlClass::named(last));
            }
        }
        walk::children(expression, &mut |child| self.tables_in(child));
    }
}

/// A module's `__getattr__` (PEP 562), by which it gives names that nothing binds: vLLM's `nixl_utils` since 0.31.
fn defines_getattr(statement: &Stmt) -> bool {
    statement.as_function_def_stmt().is_some_and(|function| function.name.as_str() == "__getattr__")
}

/// What an entry of a table names.
fn target(value: &Expr) -> Option<&str> {
    match value {
        Expr::Tuple(node) => node.elts.last().and_then(text),
        Expr::List(node) => node.elts.last().and_then(text),
        other => text(other),
    }
}

fn text(expression: &Expr) -> Option<&str> {
    match &expression.as_constant_expr()?.value {
        Constant::Str(text) => Some(text),
        _ => None,
    }
}
