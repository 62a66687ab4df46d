//! The meanings that an expression can have.

use rustpython_parser::ast::Expr;

use super::alias::NixlClass;
use crate::python::bindings::{Opaque, ScopeId};
use crate::python::span::{end, start};

/// A text of the resolver: the name of a module or of its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Text(pub(super) u32);

/// An expression, compared by its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a>(pub &'a Expr);

/// One possible meaning of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Meaning<'a> {
    /// Nothing: the name is not bound on some way here.
    Unbound,
    /// `None`.
    None,
    /// A module, by its full name.
    Module(Text),
    /// A name imported from a module, or an attribute of a module.
    Member(Text, Text),
    /// A builtin.
    Builtin(Text),
    /// A function of this file, by the scope of its body.
    Function(ScopeId),
    /// A class of this file.
    Class(ScopeId),
    /// An instance of a class of this file.
    Instance(ScopeId),
    /// The agent that this call creates.
    Agent(Node<'a>),
    /// The configuration that this call creates.
    Configuration(Node<'a>),
    /// A tuple or a list that is written out.
    Sequence(Node<'a>),
    /// Something else that is certainly none of these.
    Other,
    /// Perhaps this class of NIXL, which another module binds to the name: why that is not certain.
    Doubtful(NixlClass, Text),
    /// This file does not tell.
    Unknown(Why),
}

/// Why a meaning is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Why {
    /// A parameter: the caller decides.
    Parameter,
    /// A class attribute that a subclass or an instance can replace.
    ClassAttribute,
    /// The result of a call.
    Call,
    /// An attribute of an object that is not traced.
    Attribute,
    /// An attribute `nixl_agent` of such an object.
    NamedAgent,
    /// An attribute `nixl_agent_config` of such an object.
    NamedConfiguration,
    /// An element of a container.
    Subscript,
    /// A lambda.
    Lambda,
    /// A loop variable.
    Loop,
    /// Bound by `with`.
    With,
    /// `getattr`.
    Getattr,
    /// A function that is decorated, or a generator.
    Decorated,
    /// Made from itself.
    Circular,
    /// Too many assignments.
    TooMany,
    /// Bound in another way.
    Opaque(Opaque),
}

impl Why {
    /// In words, after "it is ".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Why::Parameter => "a parameter, so its value comes from the caller",
            Why::ClassAttribute => "a class attribute, which a subclass or an instance can replace",
            Why::Call => "the result of a call that cannot be traced",
            Why::Attribute | Why::NamedConfiguration => "an attribute of an object that cannot be traced",
            Why::NamedAgent => "an attribute `nixl_agent` of an object that cannot be traced",
            Why::Subscript => "an element of a container",
            Why::Lambda => "a lambda",
            Why::Loop => "a loop variable",
            Why::With => "bound by a `with` statement",
            Why::Getattr => "looked up by `getattr`",
            Why::Decorated => "the result of a function that is decorated or a generator",
            Why::Circular => "made from itself",
            Why::TooMany => "assigned too often to trace",
            Why::Opaque(opaque) => opaque.words(),
        }
    }
}

impl Node<'_> {
    fn key(self) -> (usize, usize) {
        (start(self.0).0, end(self.0).0)
    }
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Node<'_> {}

impl PartialOrd for Node<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Node<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl std::hash::Hash for Node<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}
