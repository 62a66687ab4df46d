//! Python seen through rustpython-parser: bindings, agent calls, the rewrite.
#![forbid(unsafe_code)]

pub(crate) mod agent_call;
pub(crate) mod bindings;
pub(crate) mod encoding;
pub(crate) mod helper;
pub(crate) mod helper_check;
pub(crate) mod meaning;
pub(crate) mod patch;
pub(crate) mod rewrite;
pub(crate) mod syntax;
pub(crate) mod verify;
mod walk;

use rustpython_parser::ast::{Ranged, Stmt};

/// The start of a node as an offset in the text.
fn start(node: &impl Ranged) -> usize {
    usize::from(node.start())
}

/// The end of a node as an offset in the text.
fn end(node: &impl Ranged) -> usize {
    usize::from(node.end())
}

/// The start of a statement, its decorators included.
fn first_offset(statement: &Stmt) -> usize {
    let decorators = match statement {
        Stmt::FunctionDef(node) => &node.decorator_list,
        Stmt::AsyncFunctionDef(node) => &node.decorator_list,
        Stmt::ClassDef(node) => &node.decorator_list,
        _ => return start(statement),
    };
    decorators.iter().map(start).min().unwrap_or(usize::MAX).min(start(statement))
}
