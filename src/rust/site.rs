//! What is said of a place that chooses an agent's backends, and what is inserted there.

use std::ops::Range;

use syn::{Attribute, Item};

use crate::report::file::{ChoiceReport, SiteShape};

/// A place that chooses backends, or may.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// Where its method's or function's name is.
    pub offset: usize,
    /// The enclosing function.
    pub function: Option<String>,
    /// How it chooses.
    pub shape: Shape,
    /// What makes it read the variable; None where it is left alone.
    pub edit: Option<Edit>,
    /// The predicates of the `#[cfg(…)]` around it.
    pub conditions: Vec<String>,
}

/// How a place chooses its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// By the name UCX in the source.
    HardCoded,
    /// By the name UCX in the source, in the block manager's way; why that cannot be rewritten, if so.
    BlockManager(Option<&'static str>),
    /// By the file's own choice; which.
    Configured(String),
    /// By an environment variable, where it is known.
    EnvironmentAware(ChoiceReport),
    /// In a way that this file does not tell: what it looks like, and why.
    Unresolved(SiteShape, String),
}

/// What is put around an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// Which kind of call it is.
    pub call: Call,
    /// The expression's place.
    pub around: Range<usize>,
    /// How many inline modules it is in.
    pub modules: usize,
    /// What is inserted inside of a repeated statement.
    pub repeat: Option<Repeat>,
}

/// What is inserted inside of a statement that is repeated for each backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repeat {
    /// The literals with the backend's name.
    pub literals: Vec<Range<usize>>,
    /// The one among them by which the backend is created.
    pub created: Range<usize>,
    /// The starts of lines that get a deeper indentation.
    pub lines: Vec<usize>,
    /// The indentation of the statement itself.
    pub indent: String,
}

/// The calls that are rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    /// `NixlAgent::with_backends(name, &["UCX"])`: its callee is wrapped.
    WithBackends,
    /// `agent.add_backend("UCX")`: its receiver is wrapped.
    AddBackend {
        /// Whether the receiver is a reference already.
        reference: bool,
    },
    /// A statement with `agent.create_backend("UCX", …)`: it is repeated for each backend.
    CreateBackend,
}

/// The attributes of an item.
pub(super) fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
