//! Uses of the agent's class other than a call: what they may lead to.

use super::super::bindings::Use;
use crate::report::file::SiteShape;

/// The agent's class.
pub(super) const AGENT: &str = "nixl_agent";

/// Functions that take a name and create nothing.
const HARMLESS: [&str; 16] = [
    "hasattr",
    "setattr",
    "delattr",
    "print",
    "getLogger",
    "debug",
    "info",
    "warning",
    "error",
    "exception",
    "critical",
    "log",
    "patch",
    "TypeVar",
    "add_argument",
    "NewType",
];

/// Functions that run the text that they get.
pub(super) const RUN_TEXT: [&str; 2] = ["exec", "eval"];

/// What a use of the class looks like, and what that means; None where it creates nothing.
pub(super) fn of(used_as: Use) -> Option<(SiteShape, &'static str)> {
    Some(match used_as {
        Use::Value | Use::Unpacked | Use::Callee | Use::Inert => return None,
        Use::Argument => (SiteShape::PassedOn, "is passed to a function, which may create an agent"),
        Use::Partial => (SiteShape::Partial, "is wrapped by `functools.partial`; its calls are not traced"),
        Use::Element => (SiteShape::Collection, "is put into a container; calls of its elements are not traced"),
        Use::Default => (SiteShape::DefaultArgument, "is a parameter's default; the caller may pass something else"),
        Use::Base => (SiteShape::Subclass, "is subclassed; the subclass may choose backends of its own"),
        Use::Returned => (SiteShape::Returned, "is returned to callers outside this file"),
        Use::Yielded => (SiteShape::Returned, "is given out by `yield`"),
        Use::Matched => (SiteShape::Unclear, "is matched with patterns; what they bind is not traced"),
        Use::ClassAttribute => {
            (SiteShape::ClassAttribute, "is a class attribute, which a subclass or an instance can replace")
        }
    })
}

/// Whether a function of this name runs the text that it gets.
pub(super) fn runs_text(function: &str) -> bool {
    RUN_TEXT.contains(&function)
}

/// Whether a name is by custom that of the object or class whose method uses it.
pub(super) fn is_self(name: &str) -> bool {
    matches!(name, "self" | "cls")
}

/// Whether a text that is run names the agent's class.
pub(super) fn is_in_text(text: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
    text.match_indices(AGENT).any(|(at, name)| ends(&text[at + name.len()..]))
}

/// Whether a string names the agent's class.
pub(super) fn names_agent(text: &str) -> bool {
    text.strip_suffix(AGENT).is_some_and(|before| before.is_empty() || before.ends_with(['.', ':']))
}

/// Whether a function of this name takes names and creates nothing.
pub(super) fn is_harmless(function: &str) -> bool {
    HARMLESS.contains(&function)
}
