//! What is said of a call: how it chooses its backends, and what is inserted into it.

use smallvec::SmallVec;

use crate::report::file::{ChoiceReport, SiteShape};
use crate::source::offset::TextOffset;

/// A call that creates an agent, or another place that may lead to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// Where it is.
    pub offset: TextOffset,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The enclosing function.
    pub function: Option<String>,
    /// How it chooses its backends.
    pub shape: Shape,
    /// What makes it read the variable; empty where it is left alone.
    pub edits: Edits,
}

/// The places in a module of which some statements are judged by others.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The places, in order.
    pub sites: Vec<Site>,
    /// What is edited in these statements, in order.
    pub edited: Vec<Edited>,
}

/// A statement that an edit is in: from its first token to the end of its node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edited {
    /// Where something is inserted.
    pub offset: TextOffset,
    /// Its first token.
    pub start: TextOffset,
    /// Its end.
    pub end: TextOffset,
}

/// How a call chooses the agent's backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Not at all: NIXL's default.
    Bare,
    /// By a configuration without `backends`.
    ConfigurationWithoutBackends,
    /// By the file's own choice; which.
    Configured(String),
    /// By an environment variable, and how if that does not go without saying.
    EnvironmentAware(Box<ChoiceReport>, Option<String>),
    /// In a way that this file does not tell: what it looks like, and why.
    Unresolved(SiteShape, String),
}

/// What is inserted into one call: nearly always one thing.
pub(crate) type Edits = SmallVec<[CallEdit; 1]>;

/// What is inserted into a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallEdit {
    /// A configuration, as the last argument of the agent's call.
    AddConfiguration {
        /// Where.
        offset: TextOffset,
        /// The argument's name, where it cannot be positional.
        keyword: Option<&'static str>,
        /// The configuration's class.
        class: ConfigurationClass,
    },
    /// `backends`, as the last argument of the configuration's call.
    AddBackends {
        /// Where.
        offset: TextOffset,
        /// Whether it is the only argument.
        first: bool,
    },
    /// `or` a configuration, after an argument that may be None.
    OrConfiguration {
        /// Where.
        offset: TextOffset,
        /// The configuration's class.
        class: ConfigurationClass,
    },
}

impl CallEdit {
    /// Where it is made.
    pub(crate) fn offset(&self) -> TextOffset {
        match self {
            CallEdit::AddConfiguration { offset, .. }
            | CallEdit::AddBackends { offset, .. }
            | CallEdit::OrConfiguration { offset, .. } => *offset,
        }
    }
}

/// How the configuration's class is reached from the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigurationClass {
    /// By this expression, which is bound wherever the agent's class is: `nixl_api.nixl_agent_config`.
    Expression(String),
    /// The inserted code imports it when the agent is created, from the first of these modules that exists: those of the
    /// agent's class.
    ImportedFrom(Vec<String>),
}
