//! What is known of a local variable or of an expression. Rust's variables keep their type, so a type that is known once
//! stays known.

use rustc_hash::FxHashMap;
use syn::{Expr, GenericArgument, Pat, PathArguments, ReturnType, Type};

use super::names::{Meaning, ScopeId, Scopes, Segments, Value};

/// The agent's class, from dynamo-memory.
const AGENT: [&str; 3] = ["dynamo_memory", "nixl", "NixlAgent"];
/// NIXL's own, which the former wraps: in nixl-sys, and as dynamo-memory exports it.
const RAW: [&[&str]; 2] = [&["nixl_sys", "Agent"], &["dynamo_memory", "nixl", "Agent"]];

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// An agent, or a Result or an Option of one.
    Agent {
        /// Whether it is behind a reference.
        reference: bool,
    },
    /// An agent of nixl-sys.
    RawAgent,
    /// The function `NixlAgent::with_backends`.
    WithBackends,
    /// Names of backends.
    Names(Names),
    /// Something else.
    Other,
}

/// What is known of a list of names, or of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// These.
    Constant(Vec<String>),
    /// Those that an environment variable has, if known by name.
    Environment(Option<String>),
    /// Those that the caller passes, in this parameter.
    Parameter(String),
    /// Others; the source of the expression that they come from.
    Unknown(Why),
}

/// Why names are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The expression is none of those that are traced.
    Expression,
}

/// What a type is to NIXL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Dynamo's agent.
    Agent,
    /// NIXL's own.
    Raw,
}

/// The class that a meaning is.
pub(super) fn class(meaning: &Meaning) -> Option<Class> {
    let Meaning::Foreign(path) = meaning else { return None };
    if path == &AGENT {
        return Some(Class::Agent);
    }
    RAW.iter().any(|raw| path == raw).then_some(Class::Raw)
}

/// The local variables that are in scope. Of two with one name, the later one counts.
#[derive(Default)]
pub(super) struct Locals {
    facts: Vec<(String, Fact)>,
    by_name: FxHashMap<String, Vec<usize>>,
}

impl Locals {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.facts.len()
    }

    /// Adds variables.
    pub(super) fn extend(&mut self, bound: Vec<(String, Fact)>) {
        for (name, fact) in bound {
            self.by_name.entry(name.clone()).or_default().push(self.facts.len());
            self.facts.push((name, fact));
        }
    }

    /// Removes all but the first of them.
    pub(super) fn truncate(&mut self, length: usize) {
        for (name, _) in self.facts.drain(length..) {
            self.by_name.get_mut(&name).and_then(Vec::pop);
        }
    }

    fn get(&self, name: &str) -> Option<&Fact> {
        self.by_name.get(name)?.last().map(|at| &self.facts[*at].1)
    }
}

/// Where an expression or a type stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'s, 'a> {
    /// The file's scopes.
    pub scopes: &'s Scopes<'a>,
    /// The innermost one.
    pub scope: ScopeId,
    /// The local variables, the innermost last.
    pub locals: &'s Locals,
    /// What `Self` is.
    pub self_class: Option<Class>,
}

impl Place<'_, '_> {
    /// The local variable of a name.
    pub(super) fn local(&self, name: &str) -> Option<&Fact> {
        self.locals.get(name)
    }

    /// What a type is.
    pub(super) fn of_type(&self, declared: &Type) -> Fact {
        match declared {
            Type::Reference(reference) => match self.of_type(&reference.elem) {
                Fact::Agent { .. } => Fact::Agent { reference: true },
                other => other,
            },
            Type::Paren(inner) => self.of_type(&inner.elem),
            Type::Group(inner) => self.of_type(&inner.elem),
            Type::Path(path) if path.qself.is_none() => {
                let segments = Segments::of(&path.path);
                match self.class_of(&segments) {
                    Some(Class::Agent) => return Fact::Agent { reference: false },
                    Some(Class::Raw) => return Fact::RawAgent,
                    None => {}
                }
                let last = path.path.segments.last();
                let wrapped = last.filter(|last| last.ident == "Result" || last.ident == "Option");
                wrapped
                    .and_then(|last| first_argument(&last.arguments))
                    .map_or(Fact::Other, |inner| self.of_type(inner))
            }
            _ => Fact::Other,
        }
    }

    /// The class that a path names here.
    pub(super) fn class_of(&self, path: &Segments) -> Option<Class> {
        if path.single() == Some("Self") { self.self_class } else { class(&self.scopes.resolve(self.scope, path)) }
    }

    /// Whether an expression is an agent or the function that makes one.
    pub(super) fn agent(&self, expression: &Expr) -> Fact {
        match expression {
            Expr::Paren(inner) => self.agent(&inner.expr),
            Expr::Group(inner) => self.agent(&inner.expr),
            Expr::Try(inner) => self.agent(&inner.expr),
            Expr::Await(inner) => self.agent(&inner.base),
            Expr::Reference(inner) => match self.agent(&inner.expr) {
                Fact::Agent { .. } => Fact::Agent { reference: true },
                other => other,
            },
            Expr::Path(path) if path.qself.is_none() => self.of_path(&Segments::of(&path.path)),
            Expr::Call(call) => self.made_by(&call.func),
            Expr::MethodCall(call) if call.method == "clone" => match self.agent(&call.receiver) {
                Fact::Agent { .. } => Fact::Agent { reference: false },
                other => other,
            },
            Expr::MethodCall(call) if unwraps(&call.method.to_string()) => self.agent(&call.receiver),
            _ => Fact::Other,
        }
    }

    fn of_path(&self, path: &Segments) -> Fact {
        if let Some(name) = path.single() {
            return self.local(name).cloned().unwrap_or(Fact::Other);
        }
        let class = path.parent().and_then(|owner| self.class_of(&owner));
        if class == Some(Class::Agent) && path.last() == "with_backends" { Fact::WithBackends } else { Fact::Other }
    }

    /// What a call of this function returns.
    fn made_by(&self, callee: &Expr) -> Fact {
        let Expr::Path(callee) = callee else { return Fact::Other };
        if callee.qself.is_some() {
            return Fact::Other;
        }
        let path = Segments::of(&callee.path);
        if path.single().and_then(|name| self.local(name)) == Some(&Fact::WithBackends) {
            return Fact::Agent { reference: false };
        }
        match path.parent().and_then(|owner| self.class_of(&owner)) {
            Some(Class::Agent) if constructs(path.last()) => return Fact::Agent { reference: false },
            Some(Class::Raw) if constructs(path.last()) => return Fact::RawAgent,
            _ => {}
        }
        let Some((Value::Function(function), scope)) = self.scopes.value(self.scope, &path) else {
            return Fact::Other;
        };
        let ReturnType::Type(_, returned) = &function.sig.output else { return Fact::Other };
        if !function.sig.generics.params.is_empty() {
            return Fact::Other;
        }
        Place { scope, locals: &Locals::default(), self_class: None, ..*self }.of_type(returned)
    }
}

/// Methods of the agents' classes that return one.
fn constructs(method: &str) -> bool {
    method.starts_with("new") || method == "with_backends" || method == "from_nixl_backend_config"
}

/// Methods of Result and Option whose result holds what they hold.
fn unwraps(method: &str) -> bool {
    ["unwrap", "expect", "context", "with_context", "map_err", "ok", "unwrap_or_else"].contains(&method)
}

fn first_argument(arguments: &PathArguments) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(inner) => Some(inner),
        _ => None,
    }
}

/// The names that a pattern binds, each with its fact where the matched value has this one.
pub(super) fn bound(pattern: &Pat, fact: &Fact, place: &Place) -> Vec<(String, Fact)> {
    match pattern {
        Pat::Ident(pattern) if pattern.subpat.is_none() => {
            let name = syn::ext::IdentExt::unraw(&pattern.ident).to_string();
            let fact = match fact {
                // A list that can be changed is no constant.
                Fact::Names(_) if pattern.mutability.is_some() => Fact::Other,
                Fact::Agent { .. } if pattern.by_ref.is_some() => Fact::Agent { reference: true },
                known => known.clone(),
            };
            vec![(name, fact)]
        }
        Pat::Paren(pattern) => bound(&pattern.pat, fact, place),
        Pat::Reference(pattern) => bound(&pattern.pat, fact, place),
        Pat::Type(pattern) => match place.of_type(&pattern.ty) {
            Fact::Other => bound(&pattern.pat, fact, place),
            known => bound(&pattern.pat, &known, place),
        },
        Pat::TupleStruct(pattern) if pattern.elems.len() == 1 && holds_one(&pattern.path) => {
            pattern.elems.first().map(|inner| bound(inner, fact, place)).unwrap_or_default()
        }
        other => {
            let mut names = PatternNames::default();
            syn::visit::Visit::visit_pat(&mut names, other);
            names.0.into_iter().map(|name| (name, Fact::Other)).collect()
        }
    }
}

/// Whether a pattern is `Ok(…)` or `Some(…)`.
fn holds_one(path: &syn::Path) -> bool {
    path.segments.last().is_some_and(|last| last.ident == "Ok" || last.ident == "Some")
}

/// All names in a pattern.
#[derive(Default)]
struct PatternNames(Vec<String>);

impl<'ast> syn::visit::Visit<'ast> for PatternNames {
    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.0.push(syn::ext::IdentExt::unraw(&pattern.ident).to_string());
        syn::visit::visit_pat_ident(self, pattern);
    }
}
