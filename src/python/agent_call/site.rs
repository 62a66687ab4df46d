//! Judges every call, and every other use of the agent's class.

use rustpython_parser::ast::{Constant, Expr, ExprCall};
use smallvec::smallvec;

use super::super::bindings::{Placed, Use};
use super::super::meaning::{Meaning, Meanings, Node, Sets, Why};
use super::super::span::start;
use super::super::walk::last_name;
use super::alternative;
use super::arguments::{self, argument, is_none};
use super::configuration::Verdict;
use super::finder::Finder;
use super::reference::{self, AGENT};
use super::shape::{CallEdit, ConfigurationClass, Edits, Shape, Site};
use crate::report::file::SiteShape;

/// The name of its second parameter.
const CONFIGURATION_PARAMETER: &str = "nixl_conf";
/// Bytes of text for each site, where there is room for all of them from the beginning.
const SPARSE: usize = 256;
/// How many parameters it has.
const PARAMETERS: usize = 3;

impl<'a> Finder<'_, 'a> {
    /// All sites, in order.
    pub(super) fn sites(&mut self) -> Vec<Site> {
        let bindings = self.resolver.bindings;
        self.note_calls();
        // Room that nothing is written to costs nothing; to copy a growing list does.
        let mut sites = Vec::with_capacity(bindings.calls.len().min(self.text.len() / SPARSE));
        let mut paths = Vec::new();
        for (number, placed) in bindings.calls.iter().enumerate() {
            if let Some(site) = self.call(number, placed) {
                sites.push(site);
                paths.push(placed.path);
            }
        }
        for placed in &bindings.escapes {
            if let Some(site) = self.escape(placed) {
                sites.push(site);
                paths.push(placed.path);
            }
        }
        alternative::mark(&mut sites, &paths, &mut self.resolver, &mut self.environment);
        // Sorting takes room for as many again.
        if !sites.is_sorted_by_key(|site| site.offset) {
            sites.sort_by_key(|site| site.offset);
        }
        sites
    }

    /// What each call calls, as far as other calls depend on it.
    fn note_calls(&mut self) {
        for placed in &self.resolver.bindings.calls {
            let callees = match placed.node {
                Expr::Call(call) => self.resolver.meanings(&call.func),
                _ => Sets::NOTHING,
            };
            self.callees.push(callees);
            for callee in self.resolver.list(callees) {
                if let Meaning::Function(function) = callee {
                    self.called.insert(*function);
                } else if self.resolver.configuration_module(callee).is_some() {
                    self.uses.insert(Node(placed.node), placed.used_as);
                }
            }
        }
    }

    fn call(&mut self, number: usize, placed: &Placed<'a>) -> Option<Site> {
        let Expr::Call(call) = placed.node else { return None };
        let callees = self.callees[number];
        if !self.concerns(callees) && self.uses.is_empty() && !mentions(call) {
            return None;
        }
        let mut possible: Vec<Meaning<'a>> = self.resolver.list(callees).to_vec();
        possible.retain(|it| !self.resolver.raises_when_called(it));
        let is_other = |it: &Meaning| matches!(it, Meaning::Member(..)) && self.resolver.agent_module(it).is_none();
        let others = possible.iter().filter(|it| is_other(it)).count();
        if !possible.iter().any(|it| self.resolver.agent_module(it).is_some()) {
            let (kind, reason) = self.perhaps(placed, call, &possible)?;
            self.by_order |= others > 1;
            return Some(self.site(placed, Shape::Unresolved(kind, reason), Edits::new()));
        }
        self.by_order |= others > 1;
        let other = possible.iter().find(|it| self.resolver.agent_module(it).is_none()).copied();
        let (shape, edits) = match other {
            Some(other) => (self.something_else(call, &other), Edits::new()),
            None => self.classify(number, placed, call, &possible),
        };
        Some(self.site(placed, shape, edits))
    }

    /// Whether one of these may be NIXL's agent class.
    fn concerns(&self, callees: Meanings) -> bool {
        let resolver = &self.resolver;
        resolver.list(callees).iter().any(|it| resolver.agent_module(it).is_some() || resolver.is_named_agent(it))
    }

    fn site(&self, placed: &Placed<'a>, shape: Shape, edits: Edits) -> Site {
        let offset = start(placed.node);
        let (line, column) = self.lines.position(offset);
        let bindings = self.resolver.bindings;
        let function = bindings.function_of(placed.scope).map(|scope| bindings.scope(scope).name.to_string());
        Site { offset, line, column, function, shape, edits }
    }

    /// Why a call may not be one of NIXL's agent.
    fn something_else(&self, call: &'a ExprCall, other: &Meaning) -> Shape {
        let (kind, what) = self.words(&call.func, other);
        Shape::Unresolved(kind, format!("may not be NIXL's agent: {what}"))
    }

    /// What a meaning other than the agent's class is, in words.
    fn words(&self, callee: &'a Expr, meaning: &Meaning) -> (SiteShape, String) {
        let bindings = self.resolver.bindings;
        let source = self.source(callee);
        match *meaning {
            Meaning::Unknown(why) => (kind(why), format!("`{source}` is {}", why.words())),
            Meaning::Doubtful(_, why) => (SiteShape::Unclear, self.resolver.text(why).to_string()),
            Meaning::Member(module, _) if self.resolver.text(module) == "." => {
                (SiteShape::Unclear, "imported from another module of this package".to_string())
            }
            Meaning::Member(module, name) => {
                let (module, name) = (self.resolver.text(module), self.resolver.text(name));
                (SiteShape::Unclear, format!("`{source}` is `{name}` of the module `{module}`"))
            }
            Meaning::Class(class) => {
                (SiteShape::Unclear, format!("`{source}` may be this file's class `{}`", bindings.scope(class).name))
            }
            Meaning::Function(function) => (
                SiteShape::Unclear,
                format!("`{source}` may be this file's function `{}`", bindings.scope(function).name),
            ),
            Meaning::Instance(class) => {
                let name = bindings.scope(class).name;
                (SiteShape::Unclear, format!("`{source}` may be an instance of this file's class `{name}`"))
            }
            _ => (SiteShape::Unclear, format!("`{source}` may be something else")),
        }
    }

    fn classify(
        &mut self,
        number: usize,
        placed: &Placed<'a>,
        call: &'a ExprCall,
        agents: &[Meaning<'a>],
    ) -> (Shape, Edits) {
        let unclear = |reason: &str| (Shape::Unresolved(SiteShape::Unclear, reason.to_string()), Edits::new());
        if let Some(reason) = arguments::unclear(call) {
            return unclear(reason);
        }
        if argument(call, 0, "agent_name").is_none() || call.args.len() > PARAMETERS {
            return unclear("its arguments are not those of NIXL's agent, so it raises TypeError");
        }
        if let Some(shape) = argument(call, 2, "instantiate_all").and_then(instantiates_all) {
            return (shape, Edits::new());
        }
        if let Some(shape) = self.later.agent(Node(placed.node), placed.used_as) {
            return (shape, Edits::new());
        }
        let class = self.configuration_class(number, call, agents);
        match argument(call, 1, CONFIGURATION_PARAMETER) {
            None => (Shape::Bare, smallvec![self.add_configuration(call, class)]),
            Some(configuration) => match self.configuration(configuration, &class) {
                Verdict::LeftAlone(shape) => (shape, Edits::new()),
                Verdict::NeedsBackends(edits) if is_none(configuration) => (Shape::Bare, edits),
                Verdict::NeedsBackends(edits) => (Shape::ConfigurationWithoutBackends, edits),
            },
        }
    }

    fn add_configuration(&self, call: &'a ExprCall, class: ConfigurationClass) -> CallEdit {
        let positional = call.args.len() == 1 && call.keywords.is_empty();
        let keyword = (!positional).then_some(CONFIGURATION_PARAMETER);
        CallEdit::AddConfiguration { offset: arguments::after_last(self.text, call), keyword, class }
    }

    /// A call that creates no agent for certain, but may.
    fn perhaps(
        &mut self,
        placed: &Placed<'a>,
        call: &'a ExprCall,
        possible: &[Meaning<'a>],
    ) -> Option<(SiteShape, String)> {
        let untraced = possible.iter().find(|it| matches!(it, Meaning::Unknown(_) | Meaning::Member(..))).copied();
        if let Some(kind) = self.names_the_class(placed, call) {
            return Some((kind, format!("`{}` names NIXL's agent in a string", self.source(&call.func))));
        }
        if self.looks_up_any(call) {
            let reason =
                format!("`{}` looks up a name in NIXL's module that is not a constant", self.source(placed.node));
            return Some((SiteShape::Getattr, reason));
        }
        let named = possible.iter().find(|it| self.resolver.is_named_agent(it)).copied();
        let untraced = named.or(untraced)?;
        if named.is_some() || last_name(&call.func) == Some(AGENT) {
            let (kind, what) = self.words(&call.func, &untraced);
            return Some((kind, format!("may not be NIXL's agent: {what}")));
        }
        self.takes_configuration(call).then(|| {
            let reason = format!("`{}` gets a configuration of NIXL and may create an agent", self.source(&call.func));
            (SiteShape::PassedOn, reason)
        })
    }

    /// `getattr(api, "nixl_agent")`, `resolve("nixl._api.nixl_agent")`, `table["nixl_agent"](…)`.
    fn names_the_class(&mut self, placed: &Placed<'a>, call: &'a ExprCall) -> Option<SiteShape> {
        if let Expr::Subscript(node) = call.func.as_ref() {
            let named = string(&node.slice).is_some_and(|text| text == AGENT);
            return named.then_some(SiteShape::Collection);
        }
        if runs_agent(call) {
            return Some(SiteShape::DynamicImport);
        }
        let named = call.args.iter().filter_map(string).any(reference::names_agent);
        if !named || last_name(&call.func).is_some_and(reference::is_harmless) {
            return None;
        }
        if last_name(&call.func) != Some("getattr") {
            return Some(SiteShape::DynamicImport);
        }
        let owners = self.resolver.meanings(call.args.first()?);
        let is_module =
            self.resolver.list(owners).iter().any(|it| matches!(it, Meaning::Module(_) | Meaning::Member(..)));
        // Of a module that is known, the call of the result says so.
        (is_module != (placed.used_as == Use::Callee)).then_some(SiteShape::Getattr)
    }

    /// `getattr(api, name)`, where only the run of the program says which name it is.
    fn looks_up_any(&mut self, call: &'a ExprCall) -> bool {
        let ("getattr", [owner, name, ..]) = (last_name(&call.func).unwrap_or_default(), call.args.as_slice()) else {
            return false;
        };
        let is_self = owner.as_name_expr().is_some_and(|name| reference::is_self(&name.id));
        // Of a constant that is no string, it raises.
        let is_constant = name.is_constant_expr() || self.resolver.constant(name).is_some();
        if is_self || is_constant || !is_dotted(owner) {
            return false;
        }
        let owners = self.resolver.meanings(owner);
        let resolver = &self.resolver;
        resolver.list(owners).iter().any(|it| resolver.is_nixl_module(it))
    }

    fn takes_configuration(&mut self, call: &'a ExprCall) -> bool {
        if self.uses.is_empty() {
            return false;
        }
        let values = call.args.iter().chain(call.keywords.iter().map(|keyword| &keyword.value));
        let values: Vec<&'a Expr> = values.collect();
        values.into_iter().any(|value| {
            let meanings = self.resolver.meanings(value);
            self.resolver.list(meanings).iter().any(|it| matches!(it, Meaning::Configuration(_)))
        })
    }

    /// A use of the agent's class that is not traced further.
    fn escape(&mut self, placed: &Placed<'a>) -> Option<Site> {
        let meanings = self.resolver.meanings(placed.node);
        let is_agent = self.resolver.list(meanings).iter().any(|it| self.resolver.agent_module(it).is_some());
        if !is_agent {
            return None;
        }
        // What a function returns is traced to the calls of it.
        if placed.used_as == Use::Returned && self.called.contains(&placed.scope) {
            return None;
        }
        let (kind, words) = reference::of(placed.used_as)?;
        let reason = format!("`{}` {words}", self.source(placed.node));
        Some(self.site(placed, Shape::Unresolved(kind, reason), Edits::new()))
    }
}

fn kind(why: Why) -> SiteShape {
    match why {
        Why::Parameter => SiteShape::Parameter,
        Why::ClassAttribute => SiteShape::ClassAttribute,
        Why::Attribute | Why::NamedAgent | Why::NamedConfiguration => SiteShape::Attribute,
        Why::Subscript => SiteShape::Collection,
        Why::Loop => SiteShape::LoopVariable,
        Why::With => SiteShape::With,
        Why::Getattr => SiteShape::Getattr,
        Why::Call | Why::Lambda | Why::Decorated | Why::Circular | Why::TooMany | Why::Opaque(_) => SiteShape::Unclear,
    }
}

/// Whether a call names the class, by its callee or in a string.
fn mentions(call: &ExprCall) -> bool {
    let name = last_name(&call.func);
    name == Some(AGENT)
        || name == Some("getattr")
        || call.func.is_subscript_expr()
        || runs_agent(call)
        || call.args.iter().filter_map(string).any(reference::names_agent)
}

/// Whether this is a name, or an attribute of what is one.
fn is_dotted(expression: &Expr) -> bool {
    match expression {
        Expr::Name(_) => true,
        Expr::Attribute(attribute) => is_dotted(&attribute.value),
        _ => false,
    }
}

/// `exec("…nixl_agent…")`.
fn runs_agent(call: &ExprCall) -> bool {
    call.func.as_name_expr().is_some_and(|name| reference::runs_text(&name.id))
        && call.args.first().and_then(string).is_some_and(reference::is_in_text)
}

pub(super) fn string(expression: &Expr) -> Option<&str> {
    match &expression.as_constant_expr()?.value {
        Constant::Str(text) => Some(text),
        _ => None,
    }
}

/// NIXL ignores it once there is a configuration, so that one must not be added.
fn instantiates_all(argument: &Expr) -> Option<Shape> {
    match argument.as_constant_expr().map(|constant| &constant.value) {
        Some(Constant::Bool(false)) => None,
        Some(Constant::Bool(true)) => Some(Shape::Configured("`instantiate_all=True`, every installed plugin".into())),
        _ => Some(Shape::Unresolved(SiteShape::Unclear, "`instantiate_all` is not a constant".into())),
    }
}
