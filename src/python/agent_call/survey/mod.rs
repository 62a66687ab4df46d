//! Every place in a file that creates an agent, a configuration or a backend, and how it chooses: for `audit`.
//!
//! Unlike the rewrite, which has to be certain, this goes by names where nothing better is known: what is called
//! `nixl_agent` is one.

mod class;
mod exports;
mod needs;
mod notes;
mod root;
mod sketch;

use rustc_hash::{FxHashMap, FxHashSet};
use rustpython_parser::ast::{Constant, Expr, ExprCall, Stmt};

use self::class::Verdict;
use self::notes::CREATES_BACKEND;
use super::super::bindings::{Bindings, Choosing, Origin, PathId, Placed, Value};
use super::super::meaning::{Imports, Meaning, NixlClass, Node};
use super::super::span::start;
use super::arguments::{argument, keyword};
use super::finder::Finder;
use super::shape::Shape;
use crate::python::walk::last_name;
use crate::report::audit::{Creates, PlaceChoice, PlaceClass};

pub(crate) use exports::{Export, exports};
pub(crate) use sketch::Sketch;

/// The most characters of the source that a reason quotes.
const QUOTED: usize = 60;
/// The parameter of the agent that takes its configuration.
const CONFIGURATION_PARAMETER: &str = "nixl_conf";
/// Methods that nothing but NIXL's agent has: an object with one of them is one.
pub(crate) const ONLY_OF_AGENTS: [&str; 5] =
    ["get_plugin_list", "get_plugin_params", "get_plugin_mem_types", "get_backend_params", "get_agent_metadata"];

/// All places of a module, in order.
pub(crate) fn survey(text: &str, module: &[Stmt], imports: &dyn Imports) -> Vec<PlaceChoice> {
    places(text, module, imports).0
}

/// All places of a module that was parsed without what they do not depend on. None where the rest says something of them
/// all the same.
pub(crate) fn survey_rest(text: &str, rest: &[Stmt], imports: &dyn Imports) -> Option<Vec<PlaceChoice>> {
    let (places, by_order) = places(text, rest, imports);
    (!by_order).then_some(places)
}

/// The places, and whether what is said of them depends on the order of names in the file.
fn places(text: &str, module: &[Stmt], imports: &dyn Imports) -> (Vec<PlaceChoice>, bool) {
    if defines_the_agent(module) {
        return (Vec::new(), false);
    }
    let bindings = Bindings::of(text, module);
    let finder = Finder::new(text, &bindings, Some(imports));
    let mut surveyor = Surveyor { finder, configurations: FxHashMap::default() };
    (surveyor.places(), surveyor.finder.by_order)
}

/// Whether this is NIXL's own binding.
fn defines_the_agent(module: &[Stmt]) -> bool {
    module.iter().filter_map(Stmt::as_class_def_stmt).any(|class| class.name.as_str() == "nixl_agent")
}

struct Surveyor<'b, 'a> {
    finder: Finder<'b, 'a>,
    /// The verdict on each configuration.
    configurations: FxHashMap<Node<'a>, Verdict>,
}

impl<'a> Surveyor<'_, 'a> {
    fn places(&mut self) -> Vec<PlaceChoice> {
        let sites = self.finder.sites();
        let bindings = self.finder.resolver.bindings;
        let mut places: Vec<PlaceChoice> = Vec::new();
        let of_class: Vec<Option<NixlClass>> = bindings.calls.iter().map(|placed| self.class_called(placed)).collect();
        let of =
            |class| bindings.calls.iter().zip(&of_class).filter(move |(_, it)| **it == Some(class)).map(|(it, _)| it);
        for placed in of(NixlClass::Configuration) {
            let verdict = self.configuration(placed);
            self.configurations.insert(Node(placed.node), verdict);
        }
        for placed in of(NixlClass::Agent) {
            let offset = start(placed.node);
            let site = sites.get(sites.partition_point(|site| site.offset < offset));
            let verdict = match site.filter(|site| site.offset == offset).map(|site| &site.shape) {
                Some(Shape::EnvironmentAware(read, _)) => {
                    let reason = "an environment variable decides how it is created";
                    Verdict::new(PlaceClass::Environment, read.variable.clone(), reason)
                }
                _ => self.agent(placed),
            };
            places.push(self.place(placed, Creates::Agent, verdict));
        }
        for placed in of(NixlClass::Configuration) {
            if let Some(verdict) = self.configurations.get(&Node(placed.node)).cloned() {
                places.push(self.place(placed, Creates::Configuration, verdict));
            }
        }
        for placed in &bindings.calls {
            if let Some(verdict) = self.backend(placed) {
                places.push(self.place(placed, Creates::Backend, verdict));
            }
        }
        let mut known: FxHashSet<(usize, usize)> = places.iter().map(|place| (place.line, place.column)).collect();
        for site in sites {
            let Shape::Unresolved(_, reason) = site.shape else { continue };
            if known.insert((site.line, site.column)) {
                let verdict = Verdict::unknown(reason);
                let (line, column, function) = (site.line, site.column, site.function);
                places.push(choice(line, column, function, Creates::Agent, verdict));
            }
        }
        places.sort_by_key(|place| (place.line, place.column, place.creates));
        places
    }

    fn place(&self, placed: &Placed<'a>, creates: Creates, verdict: Verdict) -> PlaceChoice {
        let (line, column) = self.finder.lines.position(start(placed.node));
        let bindings = self.finder.resolver.bindings;
        let function = bindings.function_of(placed.scope).map(|scope| bindings.scope(scope).name.to_string());
        choice(line, column, function, creates, verdict)
    }

    /// NIXL's class that is called here, going by its name where it is not traced.
    fn class_called(&mut self, placed: &Placed<'a>) -> Option<NixlClass> {
        let Expr::Call(call) = placed.node else { return None };
        let callees = self.finder.resolver.meanings(&call.func);
        let resolver = &self.finder.resolver;
        let mut named = resolver.list(callees).iter().filter_map(|it| resolver.named_class(it));
        let known = named.next();
        self.finder.by_order |= named.any(|other| Some(other) != known);
        let resolver = &self.finder.resolver;
        known.or_else(|| {
            let untraced = resolver.list(callees).iter().any(|it| matches!(it, Meaning::Unknown(_)));
            NixlClass::named(last_name(&call.func)?).filter(|_| untraced)
        })
    }

    fn quoted(&self, expression: &Expr) -> String {
        let source = self.finder.source(expression);
        let line: Vec<&str> = source.split_whitespace().collect();
        let line = line.join(" ");
        match line.char_indices().nth(QUOTED) {
            Some((end, _)) => format!("{}...", &line[..end]),
            None => line,
        }
    }

    /// The verdict on a list of backends.
    fn backends(&mut self, written: &str, value: &'a Expr) -> Verdict {
        let roots = root::roots(&mut self.finder, value);
        Verdict::of(&roots, &format!("{written}={}", self.quoted(value)))
    }

    fn configuration(&mut self, placed: &Placed<'a>) -> Verdict {
        let Expr::Call(call) = placed.node else { return Verdict::unknown("is not a call") };
        let mut verdicts = self.changed_later(placed.node);
        if let Some(value) = keyword(call, "backends") {
            verdicts.push(self.backends("backends", value));
        } else if let Some(unpacked) = call.keywords.iter().find(|keyword| keyword.arg.is_none()) {
            verdicts.push(self.unpacked(&unpacked.value));
        } else if call.args.iter().any(Expr::is_starred_expr) {
            verdicts.push(Verdict::unknown("its arguments are unpacked from a sequence (`*`)"));
        }
        Verdict::strongest(verdicts)
            .unwrap_or_else(|| Verdict::ignores("a configuration without `backends`, so NIXL uses its default backend"))
    }

    /// What is assigned to the configuration's `backends` later.
    fn changed_later(&mut self, node: &'a Expr) -> Vec<Verdict> {
        let bindings = self.finder.resolver.bindings;
        let mut verdicts = Vec::new();
        for change in bindings.choices.iter().filter(|change| change.how == Choosing::ChangedBackends) {
            let of = self.finder.resolver.meanings(change.of.node);
            if !self.finder.resolver.list(of).contains(&Meaning::Configuration(Node(node))) {
                continue;
            }
            verdicts.push(match change.value {
                Some(value) => self.backends("backends", value),
                None => Verdict::unknown("its `backends` is changed later"),
            });
        }
        verdicts
    }

    /// `nixl_agent_config(**options)`, of one level: a dictionary that the file writes out.
    fn unpacked(&mut self, mapping: &'a Expr) -> Verdict {
        let source = self.quoted(mapping);
        let Some(dictionary) = self.dictionary(mapping) else {
            return Verdict::unknown(format!("its arguments are unpacked from `{source}`, which cannot be traced"));
        };
        let value = match dictionary {
            Expr::Dict(node) => {
                let is_backends = |key: &Option<Expr>| key.as_ref().and_then(super::site::string) == Some("backends");
                let given = node.keys.iter().position(is_backends);
                given.map(|number| &node.values[number])
            }
            Expr::Call(call) => keyword(call, "backends"),
            _ => None,
        };
        if let Some(value) = value {
            return self.backends("backends", value);
        }
        if self.finder.text.contains(&format!("{}[\"backends\"]", self.finder.source(mapping))) {
            return Verdict::unknown(format!("`{source}[\"backends\"]` is assigned on a way that is not traced"));
        }
        Verdict::ignores(format!("`**{source}` has no `backends`, so NIXL uses its default backend"))
    }

    /// The dictionary that a name is bound to, if that is one.
    fn dictionary(&mut self, mapping: &'a Expr) -> Option<&'a Expr> {
        let is_dictionary = |it: &Expr| {
            it.is_dict_expr() || it.as_call_expr().is_some_and(|call| last_name(&call.func) == Some("dict"))
        };
        if is_dictionary(mapping) {
            return Some(mapping);
        }
        let bindings = self.finder.resolver.bindings;
        let variable = bindings.version(bindings.load(mapping)?).variable;
        let [only] = bindings.variable(variable).bindings.as_slice() else { return None };
        match bindings.version(*only).origin {
            Origin::Bound(Value::Expression(value)) if is_dictionary(value) => Some(value),
            _ => None,
        }
    }

    fn agent(&mut self, placed: &Placed<'a>) -> Verdict {
        let Expr::Call(call) = placed.node else { return Verdict::unknown("is not a call") };
        if let Some(verdict) = instantiates_all(call) {
            return verdict;
        }
        if call.args.iter().any(Expr::is_starred_expr) || call.keywords.iter().any(|keyword| keyword.arg.is_none()) {
            return Verdict::unknown("its arguments are unpacked from a sequence or a mapping");
        }
        let configured = match argument(call, 1, CONFIGURATION_PARAMETER) {
            Some(argument) => self.configured_by(argument),
            None => Verdict::ignores("no configuration, so NIXL uses its default backend"),
        };
        match self.created_later(placed.node) {
            Some(later) if later.class == PlaceClass::Environment => later,
            Some(later) if later.is_setting() && configured.class == PlaceClass::IgnoresSettings => later,
            _ => configured,
        }
    }

    /// The verdict on everything that the configuration can be.
    fn configured_by(&mut self, argument: &'a Expr) -> Verdict {
        let source = self.quoted(argument);
        let found = self.finder.resolver.meanings(argument);
        let mut verdicts = Vec::new();
        let mut configurations = Vec::new();
        for meaning in self.finder.resolver.list(found).to_vec() {
            match meaning {
                Meaning::Unbound | Meaning::None => {}
                Meaning::Configuration(node) => {
                    verdicts.extend(self.configurations.get(&node).cloned());
                    configurations.push(node);
                }
                Meaning::Unknown(why) => {
                    verdicts.extend(self.named_configuration(argument, &mut configurations).or_else(|| {
                        Some(Verdict::unknown(format!("its configuration `{source}` is {}", why.words())))
                    }));
                }
                _ => verdicts.push(Verdict::unknown(format!("its configuration is `{source}`"))),
            }
        }
        if self.finder.resolver.list(found).contains(&Meaning::None) {
            verdicts.push(Verdict::ignores("no configuration, so NIXL uses its default backend"));
        }
        let strongest = Verdict::strongest(verdicts)
            .unwrap_or_else(|| Verdict::unknown(format!("its configuration `{source}` cannot be traced")));
        if strongest.is_setting() {
            self.follow_setting(&configurations, &strongest);
        }
        strongest
    }

    /// The call of a class that is a configuration by its name alone.
    fn named_configuration(&mut self, argument: &'a Expr, configurations: &mut Vec<Node<'a>>) -> Option<Verdict> {
        let mut verdicts = Vec::new();
        for node in self.values(argument) {
            let verdict = self.configurations.get(&Node(node)).cloned()?;
            configurations.push(Node(node));
            verdicts.push(verdict);
        }
        Verdict::strongest(verdicts)
    }

    /// What a name was assigned, as far as that are calls and None.
    fn values(&self, expression: &'a Expr) -> Vec<&'a Expr> {
        let bindings = self.finder.resolver.bindings;
        let mut values = Vec::new();
        let mut rest = vec![expression];
        while let Some(value) = rest.pop() {
            match value {
                Expr::IfExp(node) => rest.extend([node.body.as_ref(), node.orelse.as_ref()]),
                Expr::Constant(node) if node.value == Constant::None => {}
                Expr::Name(_) if values.len() + rest.len() < 16 => {
                    let variable = bindings.load(value).map(|version| bindings.version(version).variable);
                    let bound = variable.iter().flat_map(|variable| &bindings.variable(*variable).bindings);
                    for version in bound {
                        match bindings.version(*version).origin {
                            Origin::Bound(Value::Expression(assigned)) => rest.push(assigned),
                            _ => return Vec::new(),
                        }
                    }
                }
                other => values.push(other),
            }
            if values.len() > 16 {
                return Vec::new();
            }
        }
        values
    }

    /// Whoever gives one of an agent's configurations backends from a setting chose not to give them to the others.
    fn follow_setting(&mut self, configurations: &[Node<'a>], setting: &Verdict) {
        for node in configurations {
            let Some(verdict) = self.configurations.get_mut(node) else { continue };
            if verdict.class == PlaceClass::IgnoresSettings && verdict.backends.is_empty() {
                let reason =
                    "a configuration without `backends`, beside one whose backends a setting chooses".to_string();
                *verdict = Verdict { reason, ..setting.clone() };
            }
        }
    }

    /// The verdict on the backends that are added to an agent after it was created.
    fn created_later(&mut self, node: &'a Expr) -> Option<Verdict> {
        let bindings = self.finder.resolver.bindings;
        let mut verdicts = Vec::new();
        for later in bindings.choices.iter().filter(|later| later.how == Choosing::CreateBackend) {
            let of = self.finder.resolver.meanings(later.of.node);
            if self.finder.resolver.list(of).contains(&Meaning::Agent(Node(node))) {
                verdicts.extend(later.value.map(|value| self.named_backend(value, later.of.path)));
            }
        }
        Verdict::strongest(verdicts)
    }

    /// The verdict on one backend that is created by its name.
    fn named_backend(&mut self, name: &'a Expr, path: PathId) -> Verdict {
        let roots = root::roots(&mut self.finder, name);
        let written = format!("create_backend({})", self.quoted(name));
        let verdict = Verdict::of(&roots, &written);
        if verdict.class != PlaceClass::IgnoresSettings {
            return verdict;
        }
        // A fixed name under a condition: the condition chooses.
        let bindings = self.finder.resolver.bindings;
        let branchings = bindings.paths(path).map(|(_, path)| path.branching);
        let tests: Vec<&'a Expr> = branchings.flat_map(|id| bindings.branching(id).tests.iter().copied()).collect();
        let around = tests.into_iter().find_map(|test| self.condition(test));
        match around {
            Some(setting) => Verdict { reason: format!("`{written}` where {}", setting.reason), ..setting },
            None => verdict,
        }
    }

    /// The setting that a condition about backends is made from.
    fn condition(&mut self, test: &'a Expr) -> Option<Verdict> {
        let roots = root::of_condition(&mut self.finder, test);
        let verdict = Verdict::of(&roots, &self.quoted(test));
        let about_backends = verdict.setting.as_ref().is_some_and(|name| name.to_lowercase().contains("backend"));
        (verdict.is_setting() && about_backends).then_some(verdict)
    }

    /// The verdict on a call that adds a backend to an agent; None for other calls, and for another library's agents.
    fn backend(&mut self, placed: &Placed<'a>) -> Option<Verdict> {
        let Expr::Call(call) = placed.node else { return None };
        let method = call.func.as_attribute_expr().filter(|it| CREATES_BACKEND.contains(&it.attr.as_str()))?;
        if !self.is_agent(&method.value) {
            return None;
        }
        Some(match argument(call, 0, "backend") {
            Some(name) => self.named_backend(name, placed.path),
            None => Verdict::unknown("its arguments are unpacked from a sequence or a mapping"),
        })
    }

    /// Whether an object is an agent: by what is traced, or because it has a method that only agents have.
    fn is_agent(&mut self, object: &'a Expr) -> bool {
        let found = self.finder.resolver.meanings(object);
        let list = self.finder.resolver.list(found);
        if list.iter().any(|it| matches!(it, Meaning::Agent(_))) {
            return true;
        }
        let untraced = list.iter().any(|it| matches!(it, Meaning::Unknown(_)));
        let source = self.finder.source(object);
        let uses = |method: &str| self.finder.text.contains(&format!("{source}.{method}("));
        untraced && (last_name(object) == Some("nixl_agent") || ONLY_OF_AGENTS.iter().any(|method| uses(method)))
    }
}

fn choice(line: usize, column: usize, function: Option<String>, creates: Creates, verdict: Verdict) -> PlaceChoice {
    let Verdict { class, setting, backends, reason } = verdict;
    PlaceChoice { line, column, function, creates, class, setting, backends, reason }
}

/// `instantiate_all=True`: NIXL creates every backend that it has a plugin for.
fn instantiates_all(call: &ExprCall) -> Option<Verdict> {
    let value = argument(call, 2, "instantiate_all")?;
    match value.as_constant_expr().map(|constant| &constant.value) {
        Some(Constant::Bool(false)) => None,
        Some(Constant::Bool(true)) => {
            let reason = "`instantiate_all=True` creates every installed backend";
            Some(Verdict::new(PlaceClass::Deliberate, None, reason))
        }
        _ => Some(Verdict::unknown("`instantiate_all` is not a constant")),
    }
}

#[cfg(test)]
mod tests;
