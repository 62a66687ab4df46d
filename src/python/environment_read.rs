//! Reads of environment variables, and the expressions that depend on them.

use rustc_hash::FxHashSet;
use rustpython_parser::ast::Expr;

use super::bindings::{PathId, Placed, ScopeId, Value};
use super::meaning::{DEPTH, Meaning, Resolver, constant_text};
use super::span::{end, start};
use super::walk;
use crate::source::offset::TextOffset;

/// The expressions already visited, so that circular names end.
type Seen = FxHashSet<(TextOffset, TextOffset)>;

/// A read of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvironmentRead {
    /// The variable's name, where it is a constant.
    pub variable: Option<String>,
}

impl<'a> Resolver<'_, 'a> {
    /// The first read of an environment variable in an expression, in what its names were assigned from, or in the
    /// conditions of those assignments: hand patches spread over several statements.
    pub(crate) fn environment_read(&self, placed: Placed<'a, Expr>) -> Option<EnvironmentRead> {
        self.read_in(placed, DEPTH, &mut Seen::default())
    }

    /// The first read in the conditions around a place, innermost first.
    pub(crate) fn environment_test(&self, scope: ScopeId, path: PathId) -> Option<EnvironmentRead> {
        self.bindings.tests(path).find_map(|test| self.environment_read(Placed { node: test, scope, path }))
    }

    fn read_in(&self, placed: Placed<'a, Expr>, depth: usize, seen: &mut Seen) -> Option<EnvironmentRead> {
        if depth == 0 || !seen.insert((start(placed.node), end(placed.node))) {
            return None;
        }
        if let Some(read) = self.read_here(placed) {
            return Some(read);
        }
        if let Some(read) = self.read_in_source(placed, depth, seen) {
            return Some(read);
        }
        let mut read = None;
        let mut look = |child: &'a Expr| {
            if read.is_none() {
                read = self.read_in(Placed { node: child, ..placed }, depth - 1, seen);
            }
        };
        comprehension_parts(placed.node).into_iter().for_each(&mut look);
        walk::children(placed.node, &mut look);
        read
    }

    /// `os.environ[…]`, `os.environ.get(…)`, `os.getenv(…)`.
    fn read_here(&self, placed: Placed<'a, Expr>) -> Option<EnvironmentRead> {
        let environ = |node: &'a Expr| self.is_member(Placed { node, ..placed }, "os", &["environ", "environb"]);
        let key = match placed.node {
            Expr::Subscript(node) if environ(&node.value) => node.slice.as_ref(),
            Expr::Compare(node) if node.comparators.iter().any(environ) => node.left.as_ref(),
            Expr::Call(call) => {
                let getenv =
                    self.is_member(Placed { node: call.func.as_ref(), ..placed }, "os", &["getenv", "getenvb"]);
                let method = call.func.as_attribute_expr().is_some_and(|attribute| environ(&attribute.value));
                if !getenv && !method {
                    return None;
                }
                match call.args.first().or_else(|| call.keywords.first().map(|keyword| &keyword.value)) {
                    Some(key) => key,
                    None => return Some(EnvironmentRead { variable: None }),
                }
            }
            _ => return None,
        };
        let meanings = self.meanings(Placed { node: key, ..placed });
        let constant = meanings
            .iter()
            .find_map(|meaning| if let Meaning::Plain(plain) = meaning { constant_text(plain.node) } else { None });
        Some(EnvironmentRead { variable: constant.map(str::to_string) })
    }

    fn is_member(&self, placed: Placed<'a, Expr>, wanted_module: &str, wanted: &[&str]) -> bool {
        let is = |m: &Meaning| matches!(m, Meaning::Member { module, name } if module == wanted_module && wanted.contains(&name.as_str()));
        matches!(placed.node, Expr::Name(_) | Expr::Attribute(_)) && self.meanings(placed).iter().any(is)
    }

    /// A read in what a name or an attribute was assigned from, or in a local function that is called.
    fn read_in_source(&self, placed: Placed<'a, Expr>, depth: usize, seen: &mut Seen) -> Option<EnvironmentRead> {
        let bindings = match placed.node {
            Expr::Name(name) => self.bindings.look_up(&name.id, placed.scope, start(placed.node), placed.path)?.1,
            Expr::Attribute(attribute) => {
                let owner = attribute.value.as_name_expr()?;
                self.attribute_bindings(placed, &owner.id, &attribute.attr)?
            }
            Expr::Call(call) => {
                let functions =
                    self.local_functions(Placed { node: call, scope: placed.scope, path: placed.path }, depth);
                return functions.into_iter().find_map(|function| self.read_in_function(function, depth, seen));
            }
            _ => return None,
        };
        bindings.into_iter().find_map(|binding| {
            let place = |node| Placed { node, scope: binding.scope, path: binding.path };
            let value = match binding.value {
                Value::Expression(expression) | Value::Element(expression, _) => {
                    self.read_in(place(expression), depth - 1, seen)
                }
                _ => None,
            };
            let tested =
                || self.bindings.tests(binding.path).find_map(|test| self.read_in(place(test), depth - 1, seen));
            // A condition counts for assignments under it, but not for imports.
            value.or_else(|| matches!(binding.value, Value::Expression(_)).then(tested).flatten())
        })
    }

    fn read_in_function(&self, function: ScopeId, depth: usize, seen: &mut Seen) -> Option<EnvironmentRead> {
        let inside = |placed: &&Placed<'a, Expr>| self.bindings.is_inside(placed.scope, function);
        let returned =
            self.bindings.returns.iter().filter(inside).find_map(|value| self.read_in(*value, depth - 1, seen));
        returned.or_else(|| self.bindings.uses.iter().filter(inside).find_map(|used| self.read_here(*used)))
    }
}

/// The iterables and results of a comprehension; its variables are not traced.
fn comprehension_parts(expression: &Expr) -> Vec<&Expr> {
    let (generators, results): (_, Vec<&Expr>) = match expression {
        Expr::ListComp(node) => (&node.generators, vec![&node.elt]),
        Expr::SetComp(node) => (&node.generators, vec![&node.elt]),
        Expr::GeneratorExp(node) => (&node.generators, vec![&node.elt]),
        Expr::DictComp(node) => (&node.generators, vec![&node.key, &node.value]),
        _ => return Vec::new(),
    };
    generators.iter().map(|generator| &generator.iter).chain(results).collect()
}
