//! The configuration that a call gives its agent, and how the call reaches NIXL's configuration class.

use rustpython_parser::ast::{BoolOp, Expr, ExprCall};

use super::super::bindings::{Origin, Use, VersionId};
use super::super::meaning::{Certainty, Meaning, Meanings, Node};
use super::super::span::end;
use super::arguments::{self, keyword};
use super::finder::Finder;
use super::shape::{CallEdit, ConfigurationClass, Edits, Shape};
use crate::report::file::SiteShape;

/// The fewest parameters of `nixl_agent_config` before `backends`, since NIXL 0.2.0.
const POSITIONS_BEFORE_BACKENDS: usize = 3;
/// How deeply the branches that lead to two names are compared.
const DEPTH: usize = 16;

/// What becomes of a call with a configuration.
pub(super) enum Verdict {
    /// It is given backends.
    NeedsBackends(Edits),
    /// It is left alone.
    LeftAlone(Shape),
}

fn unclear(reason: impl Into<String>) -> Shape {
    Shape::Unresolved(SiteShape::Unclear, reason.into())
}

impl<'a> Finder<'_, 'a> {
    /// Judges the configuration argument by everything that it can be.
    pub(super) fn configuration(&mut self, argument: &'a Expr, class: &ConfigurationClass) -> Verdict {
        let mut shapes = Vec::new();
        let mut edits = Edits::new();
        let mut parts = Vec::new();
        add_parts(argument, true, None, &mut parts);
        for part in parts {
            let meanings = self.resolver.meanings(part.expression);
            let meanings = self.resolver.without(meanings, |it| *it == Meaning::None && !part.none);
            for meaning in self.resolver.list(meanings).to_vec() {
                match self.possible(part, meaning, class) {
                    Ok(edit) => edits.extend(edit),
                    Err(shape) => shapes.push(shape),
                }
            }
        }
        let found = |wanted: fn(&Shape) -> bool| shapes.iter().find(|shape| wanted(shape)).cloned();
        let aware = found(|shape| matches!(shape, Shape::EnvironmentAware(..)));
        if let Some(shape) = aware.or_else(|| found(|shape| matches!(shape, Shape::Unresolved(..)))) {
            return Verdict::LeftAlone(shape);
        }
        if let Some(shape) = shapes.into_iter().next() {
            // Other ways lead to a configuration without backends: whoever chose some here chose not to there. A variable
            // may have chosen the way.
            return Verdict::LeftAlone(match self.environment.read(&mut self.resolver, argument) {
                Some(read) => Shape::EnvironmentAware(Box::new(read), None),
                None => shape,
            });
        }
        if edits.is_empty() {
            return Verdict::LeftAlone(unclear("its configuration cannot be traced"));
        }
        edits.dedup();
        Verdict::NeedsBackends(edits)
    }

    /// One possible configuration: how to give it backends, or why to leave it alone.
    fn possible(
        &mut self,
        part: Part<'a>,
        meaning: Meaning<'a>,
        class: &ConfigurationClass,
    ) -> Result<Option<CallEdit>, Shape> {
        let expression = part.expression;
        match meaning {
            // Raises before and after.
            Meaning::Unbound => Ok(None),
            Meaning::None => Ok(Some(CallEdit::OrConfiguration { offset: end(part.whole), class: class.clone() })),
            Meaning::Configuration(Node(node)) => match node {
                Expr::Call(call) => self.created(node, call).map(Some),
                _ => Err(unclear("its configuration cannot be traced")),
            },
            Meaning::Member(module, name) => {
                let (module, name) = (self.resolver.text(module), self.resolver.text(name));
                Err(unclear(format!("its configuration is `{name}` of the module `{module}`")))
            }
            Meaning::Unknown(why) => match expression {
                Expr::Call(call) => {
                    let callee = self.source(&call.func);
                    Err(unclear(format!("its configuration comes from a call of `{callee}`")))
                }
                _ => Err(unclear(format!(
                    "its configuration cannot be traced: `{}` is {}",
                    self.source(expression),
                    why.words()
                ))),
            },
            _ => Err(unclear("its configuration is not a call of `nixl_agent_config`")),
        }
    }

    /// A configuration that a call in this file creates.
    fn created(&mut self, node: &'a Expr, call: &'a ExprCall) -> Result<CallEdit, Shape> {
        let callees = self.resolver.meanings(&call.func);
        // Calling None raises before and after.
        let uncertain = |finder: &Self, it: &Meaning| {
            !matches!(it, Meaning::Unbound | Meaning::None) && finder.resolver.configuration_module(it).is_none()
        };
        if self.resolver.list(callees).iter().any(|it| uncertain(self, it)) {
            return Err(unclear(format!("its configuration comes from a call of `{}`", self.source(&call.func))));
        }
        let used_as = self.use_of(node);
        if let Some(backends) = keyword(call, "backends") {
            return Err(self.given(backends));
        }
        if let Some(shape) = self.later.configuration(Node(node), used_as) {
            return Err(shape);
        }
        if let Some(reason) = arguments::unclear(call) {
            return Err(unclear(reason));
        }
        if call.args.len() > POSITIONS_BEFORE_BACKENDS {
            return Err(unclear("a positional argument of its configuration may be the backends"));
        }
        let first = call.args.is_empty() && call.keywords.is_empty();
        Ok(CallEdit::AddBackends { offset: arguments::after_last(self.text, call), first })
    }

    /// Backends given by the file: from the environment, or its own.
    fn given(&mut self, backends: &'a Expr) -> Shape {
        match self.environment.read(&mut self.resolver, backends) {
            Some(read) => Shape::EnvironmentAware(Box::new(read), None),
            None => Shape::Configured(format!("`backends={}`", self.source(backends))),
        }
    }

    /// How the class is reached from a call of one of these agents: only by what is bound on every way to it.
    pub(super) fn configuration_class(
        &mut self,
        number: usize,
        call: &'a ExprCall,
        agents: &[Meaning<'a>],
    ) -> ConfigurationClass {
        if let Some(owner) = self.module_of(&call.func) {
            return ConfigurationClass::Expression([self.source(owner), ".nixl_agent_config"].concat());
        }
        let bindings = self.resolver.bindings;
        let callee = bindings.load(&call.func);
        let mut names: Vec<(&str, VersionId)> = bindings.configurations_at(number).collect();
        names.sort_by_key(|(name, _)| (*name != "nixl_agent_config", *name));
        let usable = names.into_iter().find(|(_, version)| self.is_bound_wherever(callee, *version, DEPTH));
        match usable {
            Some((name, _)) => ConfigurationClass::Expression(name.to_string()),
            None => {
                let modules = agents.iter().filter_map(|it| self.resolver.agent_module(it));
                ConfigurationClass::ImportedFrom(modules.map(str::to_string).collect())
            }
        }
    }

    /// The module that the class is an attribute of, where it can be evaluated a second time.
    fn module_of(&mut self, callee: &'a Expr) -> Option<&'a Expr> {
        let attribute = callee.as_attribute_expr().filter(|attribute| attribute.attr.as_str() == "nixl_agent")?;
        if !is_dotted_name(&attribute.value) {
            return None;
        }
        let owners = self.resolver.meanings(&attribute.value);
        let known = self.resolver.list(owners);
        if known.iter().all(|owner| self.has_configuration(*owner)) {
            return Some(attribute.value.as_ref());
        }
        let owners = known.to_vec();
        let is_module = owners
            .iter()
            .all(|owner| self.has_configuration(*owner) || self.resolver.raises_for(*owner, "nixl_agent", attribute));
        is_module.then_some(attribute.value.as_ref())
    }

    /// Whether this is a module that has NIXL's configuration class beside the agent's. A module of NIXL has; another one of
    /// the tree may not, or may have None.
    fn has_configuration(&self, owner: Meaning) -> bool {
        let Meaning::Module(module) = owner else { return false };
        let module = self.resolver.text(module);
        let alias = |name| self.resolver.alias_of(module, name).map(|alias| alias.certainty);
        alias("nixl_agent").is_none()
            || matches!(alias("nixl_agent_config"), Some(Certainty::Certain { or_none: false, .. }))
    }

    /// Whether a name is NIXL's configuration class wherever the callee is NIXL's agent, and bound at all elsewhere: an
    /// unbound name would turn a clear error into a NameError.
    fn is_bound_wherever(&mut self, callee: Option<VersionId>, configuration: VersionId, depth: usize) -> bool {
        let configurations = self.resolver.seen(configuration);
        if self.are_configurations(configurations) {
            return true;
        }
        let Some(callee) = callee.filter(|_| depth > 0) else { return false };
        let agents = self.resolver.seen(callee);
        let is_agent =
            |finder: &Self| finder.resolver.list(agents).iter().any(|it| finder.resolver.agent_module(it).is_some());
        if !is_agent(self) {
            let harmless = |it: &Meaning| *it == Meaning::None || self.resolver.configuration_module(it).is_some();
            return self.resolver.list(configurations).iter().all(harmless);
        }
        let bindings = self.resolver.bindings;
        let (callee, configuration) = (self.resolver.plain(callee), self.resolver.plain(configuration));
        let (Origin::Join(one), Origin::Join(other)) =
            (&bindings.version(callee).origin, &bindings.version(configuration).origin)
        else {
            return false;
        };
        if one.branching != other.branching {
            return false;
        }
        let on_arm =
            |arms: &[(u32, VersionId)], number: u32| arms.iter().find(|(arm, _)| *arm == number).map(|(_, it)| *it);
        let mut numbers: Vec<u32> = one.arms.iter().chain(&other.arms).map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut pairs: Vec<(Option<VersionId>, Option<VersionId>)> = numbers
            .into_iter()
            .map(|number| (on_arm(&one.arms, number).or(one.before), on_arm(&other.arms, number).or(other.before)))
            .collect();
        if one.before.is_some() && other.before.is_some() {
            pairs.push((one.before, other.before));
        }
        pairs.into_iter().all(|pair| match pair {
            (Some(callee), Some(configuration)) => self.is_bound_wherever(Some(callee), configuration, depth - 1),
            _ => false,
        })
    }

    fn are_configurations(&self, meanings: Meanings) -> bool {
        let list = self.resolver.list(meanings);
        !list.is_empty() && list.iter().all(|it| self.resolver.configuration_module(it).is_some())
    }

    /// How the value of a call is used.
    fn use_of(&self, call: &'a Expr) -> Use {
        self.uses.get(&Node(call)).copied().unwrap_or(Use::Element)
    }
}

/// An expression that can be the value of another one.
#[derive(Clone, Copy)]
struct Part<'a> {
    expression: &'a Expr,
    /// Whether None is then the value.
    none: bool,
    /// What `or` and a configuration may follow. An operand before the last of an `and` is not followed itself: `or` binds
    /// less tightly.
    whole: &'a Expr,
}

/// Adds the parts of `expression`; `whole` is the `and` around it that it is not the last operand of.
fn add_parts<'a>(expression: &'a Expr, none: bool, whole: Option<&'a Expr>, parts: &mut Vec<Part<'a>>) {
    match expression {
        Expr::IfExp(node) => {
            add_parts(&node.body, none, whole, parts);
            add_parts(&node.orelse, none, whole, parts);
        }
        Expr::NamedExpr(node) => add_parts(&node.value, none, whole, parts),
        Expr::BoolOp(node) => {
            let last = node.values.len() - 1;
            let is_and = node.op == BoolOp::And;
            for (number, value) in node.values.iter().enumerate() {
                let around = if is_and && number < last { whole.or(Some(expression)) } else { whole };
                add_parts(value, none && (is_and || number == last), around, parts);
            }
        }
        _ => parts.push(Part { expression, none, whole: whole.unwrap_or(expression) }),
    }
}

/// A name, or an attribute of one: it can be evaluated twice.
fn is_dotted_name(expression: &Expr) -> bool {
    match expression {
        Expr::Name(_) => true,
        Expr::Attribute(attribute) => is_dotted_name(&attribute.value),
        _ => false,
    }
}
