//! Which names a module binds, in which scope, to what, and what each use of a name can see.
//!
//! Source: the Python language reference, "Naming and binding". Nothing is executed. Every binding makes a version of
//! its variable, and where branches meet, a version joins theirs (static single assignment form): what a use can see is
//! one version, whatever the number of branches before it, so that everything here takes linear time.

mod declared;
mod expressions;
mod flow;
mod names;
mod scope_variables;
mod statements;

use std::cell::Cell;

use rustc_hash::FxHashMap;
use rustpython_parser::ast::{Expr, ExprAttribute, Stmt, StmtImportFrom};
use smallvec::SmallVec;

use names::Names;
pub(crate) use names::Symbol;
use scope_variables::{ScopeVariables, SmallMap};

use crate::python::span::{end, start};
use crate::source::near;
use crate::source::offset::TextOffset;

/// Index into the scopes.
pub(crate) type ScopeId = u32;
/// Index into the variables.
pub(crate) type VariableId = u32;
/// Index into the versions.
pub(crate) type VersionId = u32;
/// Index into the paths.
pub(crate) type PathId = u32;
/// Index into the branching statements.
pub(crate) type BranchingId = u32;

/// The module's own scope.
pub(crate) const MODULE_SCOPE: ScopeId = 0;
/// The end of a span of versions that is still open: everything that follows counts.
pub(crate) const OPEN: VersionId = VersionId::MAX;

/// What opens a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScopeKind {
    /// The file itself.
    Module,
    /// A class body: functions in it do not see its names.
    Class,
    /// A function, lambda or generator expression: its body runs later than its definition.
    Function,
    /// A comprehension, which runs where it stands.
    Comprehension,
}

/// A scope.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    /// What opened it.
    pub kind: ScopeKind,
    /// The enclosing scope.
    pub parent: Option<ScopeId>,
    /// The name of the function or class; empty for other scopes.
    pub name: &'a str,
    /// The class whose name mangles private names here.
    class: Option<&'a str>,
    variables: ScopeVariables,
    /// Variables of other scopes, as this function sees them.
    free: SmallMap<VariableId, VersionId>,
    /// Of a function: what `return` and `yield` give, its decorators and its form.
    pub function: Option<Function<'a>>,
    /// Of a class: its bases.
    pub bases: &'a [Expr],
}

/// What a function returns at one place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Returned<'a> {
    /// None for a `return` alone.
    pub value: Option<&'a Expr>,
    /// The branch.
    pub path: PathId,
}

/// What is known of a function.
#[derive(Debug, Default)]
pub(crate) struct Function<'a> {
    /// Its decorators.
    pub decorators: &'a [Expr],
    /// Its statements; empty for a lambda.
    pub body: &'a [Stmt],
    /// Its `return` statements; of a lambda, its body.
    pub returns: SmallVec<[Returned<'a>; 1]>,
    /// Whether it can end without `return`, and so returns None.
    pub falls_through: bool,
    /// `async def`.
    pub is_async: bool,
    /// It contains `yield`.
    pub is_generator: bool,
    /// Its parameters, in the order of positional arguments.
    pub parameters: SmallVec<[(Symbol, VariableId); 2]>,
    /// Whether its first parameter is passed by the attribute's owner: a method.
    pub is_method: bool,
}

/// A variable: a name in the scope that owns it, or an attribute of a class's instances.
#[derive(Debug)]
pub(crate) struct Variable {
    /// Its name.
    pub symbol: Symbol,
    /// The scope that owns it.
    pub owner: ScopeId,
    /// All its bindings, in order.
    pub bindings: SmallVec<[VersionId; 4]>,
    /// Those among them that can happen at any time: made by other scopes, and arguments of calls.
    pub at_any_time: Vec<VersionId>,
}

/// What a variable can be at some place.
#[derive(Debug)]
pub(crate) struct Version<'a> {
    /// The variable.
    pub variable: VariableId,
    /// Where it comes from.
    pub origin: Origin<'a>,
}

/// Where a version comes from.
#[derive(Debug)]
pub(crate) enum Origin<'a> {
    /// The variable is not bound yet, or was deleted.
    Unbound,
    /// A binding.
    Bound(Value<'a>),
    /// Several branches.
    Join(Box<Join>),
    /// A version from before, or any binding made between two versions: in a loop, a `try`, or a function that runs later.
    Span {
        /// The version from before.
        before: VersionId,
        /// The first version that can replace it.
        from: VersionId,
        /// The first version that cannot.
        to: VersionId,
    },
}

/// Where branches meet.
#[derive(Debug)]
pub(crate) struct Join {
    /// The statement.
    pub branching: BranchingId,
    /// The version from before, if a branch leaves it.
    pub before: Option<VersionId>,
    /// The branches that bind the variable, by their number, and what they leave.
    pub arms: Vec<(u32, VersionId)>,
}

/// What a name is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// `import a.b as x`, or `import a` (an `import a.b` binds `a`).
    Module(&'a str),
    /// `from module import name`: the statement, and which of its names. In words it would be the largest value by far.
    Member(&'a StmtImportFrom, u32),
    /// `x = expression`.
    Expression(&'a Expr),
    /// `a, b = expression`: the element at this index.
    Element(&'a Expr, u32),
    /// `for x in expression`.
    Iteration(&'a Expr),
    /// `with expression as x`.
    Context(&'a Expr),
    /// `def`, by the scope of its body.
    Function(ScopeId),
    /// `class`, by the scope of its body.
    Class(ScopeId),
    /// The first parameter of a method: an instance of the class.
    Instance(ScopeId),
    /// The first parameter of a class method.
    ClassItself(ScopeId),
    /// Another parameter, with its default.
    Parameter(Option<&'a Expr>),
    /// Something that is not traced.
    Opaque(Opaque),
}

/// What `from module import name` imports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Imported<'a> {
    /// The module's name; of a relative import, what follows the dots.
    pub module: &'a str,
    /// Its member's name.
    pub name: &'a str,
    /// How many dots a relative import has; 0 for others.
    pub level: u32,
}

impl<'a> Imported<'a> {
    /// What a statement imports under its name of this number.
    pub(crate) fn of(import: &'a StmtImportFrom, number: u32) -> Self {
        let name = import.names.get(number as usize).map_or("", |alias| alias.name.as_str());
        Imported { module: module_of(import), name, level: level_of(import) }
    }
}

/// The module that names are imported from.
fn module_of(import: &StmtImportFrom) -> &str {
    import.module.as_ref().map_or("", |module| module.as_str())
}

/// How many dots it has.
fn level_of(import: &StmtImportFrom) -> u32 {
    import.level.as_ref().map_or(0, rustpython_ast::Int::to_u32)
}

/// `from module import *`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StarImport<'a> {
    /// The module's name; of a relative import, what follows the dots.
    pub module: &'a str,
    /// How many dots a relative import has.
    pub level: u32,
}

/// A value that is not traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Opaque {
    /// Part of a value that is taken apart.
    Unpacked,
    /// `x += …`.
    Augmented,
    /// `except E as x`.
    Exception,
    /// In a `match` pattern.
    Pattern,
    /// In a `match` pattern, as the attribute with the name of NIXL's agent class.
    AgentPattern,
    /// `type X = …`.
    TypeAlias,
    /// `*x`, `**x` among the parameters.
    Parameters,
    /// Maybe replaced by `from m import *`.
    Star,
}

impl Opaque {
    /// In words, after "`x` is ".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Opaque::Unpacked => "unpacked from a value that cannot be traced",
            Opaque::Augmented => "changed by an augmented assignment",
            Opaque::Exception => "an exception",
            Opaque::Pattern => "bound by a `match` pattern",
            Opaque::AgentPattern => "bound by a `match` pattern to an attribute `nixl_agent`",
            Opaque::TypeAlias => "a type alias",
            Opaque::Parameters => "a parameter",
            Opaque::Star => "maybe replaced by an `import *`",
        }
    }
}

/// A statement with branches.
#[derive(Debug)]
pub(crate) struct Branching<'a> {
    /// Its conditions: an `if` and its `elif`s.
    pub tests: Vec<&'a Expr>,
    /// The path that it lies on.
    pub path: PathId,
    /// Where it ends.
    pub end: TextOffset,
}

/// A branch of a statement.
#[derive(Debug)]
pub(crate) struct Path {
    /// The branch around it; None for a scope's own.
    pub parent: Option<PathId>,
    /// The statement.
    pub branching: BranchingId,
    /// Its number.
    pub arm: u32,
    /// Whether its end is never reached: it returns, raises, breaks or continues.
    pub leaves: bool,
}

/// How the value of an expression is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Assigned, or the value of a statement: traced through names.
    Value,
    /// Taken apart: the elements of a literal are traced one by one.
    Unpacked,
    /// Called.
    Callee,
    /// An argument of a call.
    Argument,
    /// An argument of `functools.partial`.
    Partial,
    /// An element of a container that is written out.
    Element,
    /// A parameter's default.
    Default,
    /// A class's base.
    Base,
    /// Returned by a function.
    Returned,
    /// Given by `yield`.
    Yielded,
    /// Assigned in a class's body.
    ClassAttribute,
    /// Matched with patterns that bind names.
    Matched,
    /// Looked at: compared, tested, an annotation, an attribute's owner.
    Inert,
}

/// A use of an expression, and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    /// The expression.
    pub node: &'a Expr,
    /// Its scope.
    pub scope: ScopeId,
    /// Its branch.
    pub path: PathId,
    /// How it is used.
    pub used_as: Use,
}

/// A place where backends are chosen after the object was created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'a> {
    /// The agent or the configuration.
    pub of: Placed<'a>,
    /// What happens to it.
    pub how: Choosing,
    /// What it gets.
    pub value: Option<&'a Expr>,
}

/// A way to choose backends after the object was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choosing {
    /// `agent.create_backend(…)`.
    CreateBackend,
    /// `configuration.backends` is assigned or changed.
    ChangedBackends,
}

/// All scopes of a module, and the expressions of interest in it.
#[derive(Debug, Default)]
pub(crate) struct Bindings<'a> {
    /// The names.
    names: Names<'a>,
    scopes: Vec<Scope<'a>>,
    variables: Vec<Variable>,
    versions: Vec<Version<'a>>,
    paths: Vec<Path>,
    branchings: Vec<Branching<'a>>,
    /// What each use of a name sees, by the name's offset.
    loads: Vec<(u32, VersionId)>,
    /// The one that was asked for last.
    last_load: Cell<usize>,
    /// Every call.
    pub calls: Vec<Placed<'a>>,
    /// Names and attributes whose value goes where it is not traced.
    pub escapes: Vec<Placed<'a>>,
    /// Places where the backends of an agent or of a configuration are chosen after it was created.
    pub choices: Vec<Choice<'a>>,
    /// Variables for the attributes of classes' instances.
    class_attributes: FxHashMap<(ScopeId, Symbol), VariableId>,
    /// Everything that is assigned to an attribute of this name, whatever its owner.
    attributes_by_name: FxHashMap<Symbol, Vec<VersionId>>,
    /// Of these, those whose owner is no instance or class of this file: `module.name = …`.
    foreign_attributes: FxHashMap<Symbol, Vec<VersionId>>,
    /// The functions of classes, by name.
    methods: FxHashMap<Symbol, Vec<ScopeId>>,
    /// Modules of which every name was imported (`from m import *`).
    pub star_imports: Vec<StarImport<'a>>,
    /// Symbols of private attributes (`x.__a` in a class), by the end of the expression.
    private_attributes: FxHashMap<u32, Symbol>,
    /// Names that NIXL's configuration class was imported as.
    configuration_names: Vec<(&'a str, Symbol)>,
    /// What each of them is at a call: the call's number, the name, the version. Sorted by call.
    configurations_at: Vec<(u32, &'a str, VersionId)>,
}

impl<'a> Bindings<'a> {
    /// A scope.
    pub(crate) fn scope(&self, id: ScopeId) -> &Scope<'a> {
        &self.scopes[id as usize]
    }

    /// All scopes, with their numbers.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = (ScopeId, &Scope<'a>)> {
        (0..).zip(&self.scopes)
    }

    /// A variable.
    pub(crate) fn variable(&self, id: VariableId) -> &Variable {
        &self.variables[id as usize]
    }

    /// A version.
    pub(crate) fn version(&self, id: VersionId) -> &Version<'a> {
        &self.versions[id as usize]
    }

    /// How many versions there are.
    pub(crate) fn version_count(&self) -> usize {
        self.versions.len()
    }

    /// A branch.
    pub(crate) fn path(&self, id: PathId) -> &Path {
        &self.paths[id as usize]
    }

    /// The branches around a place, innermost first, up to the function's own.
    pub(crate) fn paths(&self, id: PathId) -> impl Iterator<Item = (PathId, &Path)> {
        std::iter::successors(Some(id), |&id| self.path(id).parent).map(|id| (id, self.path(id)))
    }

    /// A statement with branches.
    pub(crate) fn branching(&self, id: BranchingId) -> &Branching<'a> {
        &self.branchings[id as usize]
    }

    /// The text of a name.
    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        self.names.text(symbol)
    }

    /// What the use of a name at an offset sees; None for a name that the file does not bind.
    pub(crate) fn load(&self, name: &Expr) -> Option<VersionId> {
        let at = start(name).0 as u32;
        let found = near::partition_point(&self.loads, self.last_load.get(), |(offset, _)| *offset < at);
        self.last_load.set(found);
        self.loads.get(found).filter(|(offset, _)| *offset == at).map(|(_, version)| *version)
    }

    /// The variable of this name that the module's own scope has.
    pub(crate) fn module_variable(&self, name: &str) -> Option<VariableId> {
        let symbol = self.names.find(name, None)?;
        self.scope(MODULE_SCOPE).variables.get(symbol)
    }

    /// The symbol of a name that is not private.
    pub(crate) fn symbol_of(&self, name: &str) -> Option<Symbol> {
        self.names.find(name, None)
    }

    /// The symbol of an attribute; None where nothing in this file has that name.
    pub(crate) fn attribute_symbol(&self, attribute: &ExprAttribute) -> Option<Symbol> {
        let private = self.private_attributes.get(&(end(attribute).0 as u32)).copied();
        private.or_else(|| self.names.find(&attribute.attr, None))
    }

    /// The names of NIXL's configuration class that are visible at a call (by its number in `calls`), and what they are.
    pub(crate) fn configurations_at(&self, call: usize) -> impl Iterator<Item = (&'a str, VersionId)> {
        let call = call as u32;
        let from = self.configurations_at.partition_point(|(number, ..)| *number < call);
        self.configurations_at[from..]
            .iter()
            .take_while(move |(number, ..)| *number == call)
            .map(|(_, name, it)| (*name, *it))
    }

    /// Whether a variable is bound by a version of this span.
    pub(crate) fn bound_between(&self, variable: VariableId, from: VersionId, to: VersionId) -> &[VersionId] {
        let bindings = &self.variable(variable).bindings;
        let range = |version: VersionId| bindings.partition_point(|it| *it < version);
        &bindings[range(from)..range(to)]
    }

    /// A class's own variable, or the one for that attribute of its instances.
    pub(crate) fn class_variables(&self, class: ScopeId, name: Symbol) -> (Option<VariableId>, Option<VariableId>) {
        (self.scope(class).variables.get(name), self.class_attributes.get(&(class, name)).copied())
    }

    /// Everything that is assigned to an attribute of this name, whatever its owner.
    pub(crate) fn attributes_named(&self, name: Symbol) -> &[VersionId] {
        self.attributes_by_name.get(&name).map_or(&[], Vec::as_slice)
    }

    /// Of these, those whose owner is no instance or class of this file.
    pub(crate) fn foreign_attributes_named(&self, name: Symbol) -> &[VersionId] {
        self.foreign_attributes.get(&name).map_or(&[], Vec::as_slice)
    }

    /// The functions of this name in classes.
    pub(crate) fn methods_named(&self, name: Symbol) -> &[ScopeId] {
        self.methods.get(&name).map_or(&[], Vec::as_slice)
    }

    /// The innermost enclosing function with a name; None at module level.
    pub(crate) fn function_of(&self, scope: ScopeId) -> Option<ScopeId> {
        let mut scopes = std::iter::successors(Some(scope), |&id| self.scope(id).parent);
        scopes.find(|&id| self.scope(id).kind == ScopeKind::Function && !self.scope(id).name.is_empty())
    }
}
