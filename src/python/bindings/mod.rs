//! Which names a module binds, in which scope, to what, and in which branches.
//!
//! Source: the Python language reference, "Naming and binding". Nothing is executed: a binding in a branch is one of
//! several possibilities, and one that every path to a use passes through hides those before it.

mod expressions;
mod read;

use rustc_hash::{FxHashMap, FxHashSet};
use rustpython_parser::ast::Expr;

use crate::source::offset::TextOffset;

/// Index into `Bindings::scopes`.
pub(crate) type ScopeId = usize;
/// Index into `Bindings::paths`.
pub(crate) type PathId = usize;

/// The module's own scope.
pub(crate) const MODULE_SCOPE: ScopeId = 0;

/// What opens a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScopeKind {
    /// The file itself.
    Module,
    /// A class body: functions in it do not see its names.
    Class,
    /// A function or lambda: its body runs later than its definition.
    Function,
    /// A comprehension or generator expression.
    Comprehension,
}

/// A scope and what it binds.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    /// What opened it.
    pub kind: ScopeKind,
    /// The enclosing scope.
    pub parent: Option<ScopeId>,
    /// The name of the function or class; empty for other scopes.
    pub name: &'a str,
    /// The first parameter of a function: `self` in a method.
    pub first_parameter: Option<&'a str>,
    bindings: FxHashMap<&'a str, Vec<Binding<'a>>>,
    /// Assignments to attributes of a name: `config.backends = …`, `self.backends = …`.
    pub attributes: FxHashMap<(&'a str, &'a str), Vec<Binding<'a>>>,
    /// Modules of which every name was imported (`from m import *`).
    pub star_imports: Vec<&'a str>,
    globals: FxHashSet<&'a str>,
    nonlocals: FxHashSet<&'a str>,
}

/// One binding of a name.
#[derive(Clone, Debug)]
pub(crate) struct Binding<'a> {
    /// What it is bound to.
    pub value: Value<'a>,
    /// The end of the statement: the name has this value from there on.
    pub position: TextOffset,
    /// The branches around it.
    pub path: PathId,
    /// The scope in which its value is evaluated.
    pub scope: ScopeId,
}

/// What a name is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// `import a.b as x`, or `import a` (an `import a.b` binds `a`).
    Module(&'a str),
    /// `from module import name`.
    Member {
        /// The module's full name.
        module: &'a str,
        /// Its member's name.
        name: &'a str,
    },
    /// `x = expression`.
    Expression(&'a Expr),
    /// `a, b = expression`: the element at this index.
    Element(&'a Expr, usize),
    /// `def` or `async def`, by the scope of its body.
    Function(ScopeId),
    /// `class`.
    Class,
    /// A parameter.
    Parameter,
    /// Something that is not traced; in words.
    Opaque(&'static str),
}

/// A branch of a statement.
#[derive(Debug)]
struct Branch<'a> {
    parent: Option<PathId>,
    statement: TextOffset,
    arm: usize,
    /// Whether at most one arm of the statement runs.
    exclusive: bool,
    /// An `if`'s condition.
    test: Option<&'a Expr>,
}

/// An expression, and where it is evaluated.
#[derive(Debug)]
pub(crate) struct Placed<'a, T> {
    /// The expression.
    pub node: &'a T,
    /// Its scope.
    pub scope: ScopeId,
    /// Its branches.
    pub path: PathId,
}

/// Not derived: that would require `T: Clone`.
impl<T> Clone for Placed<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Placed<'_, T> {}

/// All scopes of a module, and the expressions of interest in it.
#[derive(Debug, Default)]
pub(crate) struct Bindings<'a> {
    scopes: Vec<Scope<'a>>,
    paths: Vec<Branch<'a>>,
    /// Every call and every subscript.
    pub uses: Vec<Placed<'a, Expr>>,
    /// Names and attributes that may stand for `nixl_agent`: those that were assigned, or imported as it.
    aliases: FxHashSet<&'a str>,
    /// What functions return, by their scopes.
    pub returns: Vec<Placed<'a, Expr>>,
    scope: ScopeId,
    path: PathId,
}

impl<'a> Bindings<'a> {
    /// A scope.
    pub(crate) fn scope(&self, id: ScopeId) -> &Scope<'a> {
        &self.scopes[id]
    }

    /// Whether a call of `function` may create an agent, going by its last name. Most calls may not and need no tracing.
    pub(crate) fn may_be_agent(&self, function: &Expr) -> bool {
        let name = match function {
            Expr::Name(name) => name.id.as_str(),
            Expr::Attribute(attribute) => attribute.attr.as_str(),
            _ => return true,
        };
        name == "nixl_agent" || self.aliases.contains(name)
    }

    /// Whether `inner` is `outer` or lies in it.
    pub(crate) fn is_inside(&self, inner: ScopeId, outer: ScopeId) -> bool {
        std::iter::successors(Some(inner), |&id| self.scopes[id].parent).any(|id| id == outer)
    }

    /// The innermost enclosing function; None at module level.
    pub(crate) fn function_of(&self, scope: ScopeId) -> Option<&Scope<'a>> {
        let scopes = std::iter::successors(Some(scope), |&id| self.scopes[id].parent);
        scopes.map(|id| &self.scopes[id]).find(|scope| scope.kind == ScopeKind::Function && !scope.name.is_empty())
    }

    /// The class of the method around `scope` that has `name` as its first parameter.
    pub(crate) fn class_of_method(&self, scope: ScopeId, name: &str) -> Option<ScopeId> {
        let mut scopes = std::iter::successors(Some(scope), |&id| self.scopes[id].parent);
        let method = scopes.find(|&id| self.scopes[id].first_parameter == Some(name))?;
        self.scopes[method].parent.filter(|&parent| self.scopes[parent].kind == ScopeKind::Class)
    }

    /// The conditions of the `if` statements around a place, innermost first.
    pub(crate) fn tests(&self, path: PathId) -> impl Iterator<Item = &'a Expr> + '_ {
        let branches = std::iter::successors(Some(path), |&id| self.paths[id].parent);
        branches.filter_map(|id| self.paths[id].test)
    }

    /// The names visible in a scope that are bound to `member` of some module: `member` itself first, then sorted.
    pub(crate) fn names_of_member(&self, member: &str, scope: ScopeId) -> Vec<&'a str> {
        let scopes = std::iter::successors(Some(scope), |&id| self.scopes[id].parent);
        let mut names: Vec<&str> = scopes
            .flat_map(|id| &self.scopes[id].bindings)
            .filter(|(_, bindings)| {
                bindings.iter().any(|b| matches!(b.value, Value::Member { name, .. } if name == member))
            })
            .map(|(name, _)| *name)
            .collect();
        names.sort_by_key(|name| (*name != member, *name));
        names.dedup();
        names
    }

    /// The bindings that a use of `name` may see, and their scope. None for a builtin or an unbound name.
    pub(crate) fn look_up(
        &self,
        name: &str,
        scope: ScopeId,
        position: TextOffset,
        path: PathId,
    ) -> Option<(ScopeId, Vec<&Binding<'a>>)> {
        let mut position = Some(position);
        let mut current = scope;
        loop {
            let here = &self.scopes[current];
            let visible = here.kind != ScopeKind::Class || current == scope;
            if let Some(bindings) = here.bindings.get(name).filter(|_| visible) {
                return Some((current, self.reaching(bindings, position, path)));
            }
            if here.kind == ScopeKind::Function {
                // The body runs later, when everything around it may have run.
                position = None;
            }
            current = here.parent?;
        }
    }

    /// The bindings that can be in force at a place; None for any position.
    pub(crate) fn reaching<'b>(
        &self,
        bindings: &'b [Binding<'a>],
        position: Option<TextOffset>,
        path: PathId,
    ) -> Vec<&'b Binding<'a>> {
        let before = |binding: &&Binding| position.is_none_or(|position| binding.position <= position);
        let possible = |binding: &&Binding| !self.exclude_each_other(binding.path, path);
        let mut reaching: Vec<&Binding> = Vec::new();
        for binding in bindings.iter().filter(before).filter(possible) {
            if self.passes_through(path, binding.path) {
                reaching.clear();
            }
            reaching.push(binding);
        }
        // Bound only further down: in a loop, or in code that runs out of order.
        if reaching.is_empty() { bindings.iter().collect() } else { reaching }
    }

    fn branches(&self, path: PathId) -> impl Iterator<Item = PathId> + '_ {
        std::iter::successors(Some(path), |&id| self.paths[id].parent)
    }

    /// Whether every path to `to` passes through the branch `through`.
    fn passes_through(&self, to: PathId, through: PathId) -> bool {
        self.branches(to).any(|id| id == through)
    }

    fn exclude_each_other(&self, one: PathId, other: PathId) -> bool {
        self.branches(one).map(|id| &self.paths[id]).any(|a| {
            a.exclusive
                && self.branches(other).map(|id| &self.paths[id]).any(|b| a.statement == b.statement && a.arm != b.arm)
        })
    }
}
