//! What is known of a file while its calls are judged.

use rustc_hash::{FxHashMap, FxHashSet};
use rustpython_parser::ast::Expr;

use super::super::bindings::{Bindings, ScopeId, Use};
use super::super::environment_read::Environment;
use super::super::meaning::{Imports, Meanings, Node, Resolver};
use super::super::span::{end, start};
use super::chosen_later::ChosenLater;
use crate::source::lines::LineIndex;
use crate::source::offset::TextOffset;

/// Finds the sites of a file.
pub(super) struct Finder<'b, 'a> {
    pub(super) text: &'a str,
    pub(super) resolver: Resolver<'b, 'a>,
    pub(super) environment: Environment,
    pub(super) later: ChosenLater<'a>,
    /// How the value of each call that creates an object of NIXL is used.
    pub(super) uses: FxHashMap<Node<'a>, Use>,
    pub(super) lines: LineIndex<'a>,
    /// What each call may call, by its number.
    pub(super) callees: Vec<Meanings>,
    /// Functions that a call in this file calls: what they return is traced.
    pub(super) called: FxHashSet<ScopeId>,
    /// Whether something was said of the first of several modules' members, whose order comes from all of the file.
    pub(super) by_order: bool,
}

impl<'b, 'a> Finder<'b, 'a> {
    /// A finder for a module, which knows what the modules around it bind.
    pub(super) fn new(text: &'a str, bindings: &'b Bindings<'a>, imports: Option<&'b dyn Imports>) -> Self {
        let (mut resolver, mut environment, lines) =
            (Resolver::new(bindings, imports), Environment::default(), LineIndex::new(text));
        let later = ChosenLater::of(&mut resolver, &mut environment, &lines);
        let (uses, callees, called) = (FxHashMap::default(), Vec::new(), FxHashSet::default());
        Finder { text, resolver, environment, later, uses, lines, callees, called, by_order: false }
    }

    /// The text of an expression.
    pub(super) fn source(&self, expression: &Expr) -> &'a str {
        let TextOffset(from) = start(expression);
        self.text.get(from..end(expression).0).unwrap_or_default()
    }
}
