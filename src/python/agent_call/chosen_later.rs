//! Agents and configurations whose backends somebody chooses after they were created.
//!
//! NIXL refuses to create a backend of an agent twice, so a call whose agent gets `create_backend` is left alone.

use rustc_hash::FxHashMap;

use super::super::bindings::{Choice, Choosing, Use};
use super::super::environment_read::Environment;
use super::super::meaning::{Meaning, Node, Resolver, Why};
use super::super::span::start;
use super::shape::Shape;
use crate::report::file::{ChoiceReport, SiteShape};
use crate::source::lines::LineIndex;

/// How the words begin of an agent that gets further backends.
pub(crate) const CREATED_LATER: &str = "its agent gets `create_backend` later";

/// What is chosen later, and of which object.
pub(super) struct ChosenLater<'a> {
    /// By the call that creates the object.
    of: FxHashMap<Node<'a>, Later>,
    /// Of an agent that is not traced.
    some_agent: Option<usize>,
    /// Of a configuration that is not traced.
    some_configuration: Option<usize>,
    /// Of an object that may be any in the file: too much is assigned to its name to trace.
    any: Option<usize>,
}

/// A later choice.
#[derive(Clone)]
struct Later {
    how: Choosing,
    /// From 1.
    line: usize,
    read: Option<ChoiceReport>,
}

impl<'a> ChosenLater<'a> {
    /// All later choices in the file.
    pub(super) fn of(resolver: &mut Resolver<'_, 'a>, environment: &mut Environment, lines: &LineIndex) -> Self {
        let mut later = ChosenLater { of: FxHashMap::default(), some_agent: None, some_configuration: None, any: None };
        let bindings = resolver.bindings;
        for choice in &bindings.choices {
            later.add(choice, resolver, environment, lines);
        }
        later
    }

    fn add(
        &mut self,
        choice: &Choice<'a>,
        resolver: &mut Resolver<'_, 'a>,
        environment: &mut Environment,
        lines: &LineIndex,
    ) {
        let (line, _) = lines.position(start(choice.of.node));
        let of = resolver.meanings(choice.of.node);
        for meaning in resolver.list(of).to_vec() {
            let node = match (meaning, choice.how) {
                (Meaning::Agent(node), Choosing::CreateBackend)
                | (Meaning::Configuration(node), Choosing::ChangedBackends) => node,
                (Meaning::Unknown(Why::TooMany), _) => {
                    self.any.get_or_insert(line);
                    continue;
                }
                (Meaning::Unknown(_), Choosing::CreateBackend) => {
                    self.some_agent.get_or_insert(line);
                    continue;
                }
                (Meaning::Unknown(_), Choosing::ChangedBackends) => {
                    self.some_configuration.get_or_insert(line);
                    continue;
                }
                _ => continue,
            };
            let read = choice.value.and_then(|value| environment.read(resolver, value));
            let read = read.or_else(|| environment.test_around(resolver, choice.of.path));
            let later = Later { how: choice.how, line, read };
            let known = self.of.entry(node).or_insert_with(|| later.clone());
            if known.read.is_none() && later.read.is_some() {
                *known = later;
            }
        }
    }

    /// Why the call that creates an agent is left alone.
    pub(super) fn agent(&self, call: Node<'a>, used_as: Use) -> Option<Shape> {
        self.shape(call, used_as, self.some_agent, "an agent that cannot be traced gets `create_backend` on line")
    }

    /// Why the call that creates a configuration is left alone.
    pub(super) fn configuration(&self, call: Node<'a>, used_as: Use) -> Option<Shape> {
        let words = "the backends of a configuration that cannot be traced are changed on line";
        self.shape(call, used_as, self.some_configuration, words)
    }

    fn shape(&self, call: Node<'a>, used_as: Use, untraced: Option<usize>, words: &str) -> Option<Shape> {
        if let Some(later) = self.of.get(&call) {
            return Some(later.shape());
        }
        let traced = matches!(used_as, Use::Value | Use::Unpacked | Use::Inert | Use::Callee);
        let line = untraced.filter(|_| !traced).or(self.any)?;
        Some(Shape::Unresolved(SiteShape::Unclear, format!("{words} {line}")))
    }
}

impl Later {
    fn shape(&self) -> Shape {
        let line = self.line;
        let words = match self.how {
            Choosing::CreateBackend => format!("{CREATED_LATER}, on line {line}"),
            Choosing::ChangedBackends => format!("its configuration's `backends` is changed on line {line}"),
        };
        match &self.read {
            Some(read) => Shape::EnvironmentAware(Box::new(read.clone()), Some(words)),
            None => Shape::Configured(words),
        }
    }
}
