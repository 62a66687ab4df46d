//! The places that choose the backends of a NIXL agent, and how each does.
//!
//! Source of the signatures: `src/nixl/agent.rs` of dynamo-memory 0.8.0 to 1.6.1, `with_backends(name: &str, backends:
//! &[&str]) -> anyhow::Result<Self>` and `add_backend(&mut self, backend: &str) -> anyhow::Result<()>`; `src/agent.rs` of
//! nixl-sys 0.8 to 1.3, `create_backend(&self, plugin: &str, params: &Params)`.

use std::ops::Range;

use rustc_hash::FxHashMap;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Arm, Attribute, Block, Expr, ExprAsync, ExprCall, ExprClosure, ExprForLoop, ExprIf, ExprLet, ExprMethodCall,
    ExprPath, ExprWhile, FnArg, Generics, ImplItemFn, Item, ItemImpl, ItemMod, ItemTrait, Local, Macro, Path,
    ReceiverKind, Signature, TraitItemFn,
};

use super::block_manager::{self, Statement};
use super::condition;
use super::constant;
use super::fact::{self, Class, Fact, Locals, Names, Place, Why};
use super::failure;
use super::names::{Meaning, ScopeId, Scopes, Segments};
use super::site::{self, Call, Edit, Shape, Site};
use super::syntax::Source;
use super::tokens;
use crate::report::file::{ChoiceReport, SiteShape};

/// The class's name, by which one that is not traced is recognised.
const AGENT: &str = "NixlAgent";
/// Functions of the class, or of one with its name, that choose backends.
const CHOOSING: [&str; 4] = ["with_backends", "new_with_backends", "require_backends", "from_nixl_backend_config"];
/// Methods of an agent that choose a backend.
const ADDING: [&str; 3] = ["add_backend", "add_backend_with_params", "create_backend"];
/// Words in a macro that may lead to an agent.
const IN_MACROS: [&str; 5] = [AGENT, "with_backends", "add_backend", "add_backend_with_params", "create_backend"];
/// The backend that the sources name.
const UCX: &str = "UCX";
/// Backends to storage.
const STORAGE: [&str; 8] = ["POSIX", "GDS", "GDS_MT", "OBJ", "HF3FS", "AZURE_BLOB", "GUSLI", "DOCA_MEMOS"];

/// Functions of a class that create an agent without a backend.
const CREATING: [&str; 3] = ["new", "new_with_config", "new_configured"];

/// The places of a source that choose backends, in order. `block_manager`: whether its places are rewritten too.
pub(super) fn find(source: &Source, block_manager: bool) -> Vec<Site> {
    find_all(source, block_manager).0
}

/// An agent that is created in a way that no rewrite concerns.
pub(super) struct Created {
    /// Where the function's name is.
    pub offset: usize,
    /// The enclosing function.
    pub function: Option<String>,
    /// How it chooses; None without a backend.
    pub shape: Option<Shape>,
}

/// The same, and the agents that are created in other ways.
pub(super) fn find_all(source: &Source, block_manager: bool) -> (Vec<Site>, Vec<Created>) {
    let scopes = Scopes::of(&source.file.items);
    let mut finder = Finder {
        source,
        scopes,
        scope: ScopeId::ROOT,
        modules: Some(0),
        locals: Locals::default(),
        functions: Vec::new(),
        conditions: Vec::new(),
        self_class: None,
        statements: Vec::new(),
        takes_anyhow: false,
        block_manager,
        sites: Vec::new(),
        self_is_named: false,
        created: Vec::new(),
    };
    if !condition::is_test(&source.file.attrs) {
        source.file.items.iter().for_each(|item| finder.visit_item(item));
    }
    finder.sites.sort_by_key(|site| site.offset);
    leave_mixed(&mut finder.sites);
    (finder.sites, finder.created)
}

/// Leaves the calls of a function alone that names another network backend as well: it has a plan of its own.
fn leave_mixed(sites: &mut [Site]) {
    let others: FxHashMap<Option<String>, String> = sites
        .iter()
        .filter_map(|site| match &site.shape {
            Shape::Configured(how) if site.names_network() => Some((site.function.clone(), how.clone())),
            _ => None,
        })
        .collect();
    for site in sites.iter_mut().filter(|site| site.edit.is_some()) {
        if let Some(how) = others.get(&site.function) {
            site.shape = Shape::Configured(format!("`{UCX}`, while another call in the same function {how}"));
            site.edit = None;
        }
    }
}

impl Site {
    /// Whether it names a backend between machines other than UCX.
    fn names_network(&self) -> bool {
        matches!(&self.shape, Shape::Configured(how) if how.starts_with(NETWORK))
    }
}

/// How [`Shape::Configured`] begins where a network backend is named.
const NETWORK: &str = "names the backend";

struct Finder<'a> {
    source: &'a Source<'a>,
    scopes: Scopes<'a>,
    scope: ScopeId,
    /// How many inline modules are around; None in a module inside of a function, which no path leads out of.
    modules: Option<usize>,
    locals: Locals,
    functions: Vec<String>,
    conditions: Vec<String>,
    self_class: Option<Class>,
    /// The statements around that can be repeated.
    statements: Vec<Statement>,
    /// Whether `?` takes an `anyhow::Error` here.
    takes_anyhow: bool,
    block_manager: bool,
    sites: Vec<Site>,
    /// Whether the type around is called as the agent is.
    self_is_named: bool,
    created: Vec<Created>,
}

impl<'a> Finder<'a> {
    fn place(&self) -> Place<'_, 'a> {
        Place { scopes: &self.scopes, scope: self.scope, locals: &self.locals, self_class: self.self_class }
    }

    /// Visits something that its attributes may exclude.
    fn under(&mut self, attributes: &[Attribute], visit: impl FnOnce(&mut Self)) {
        if condition::is_test(attributes) {
            return;
        }
        let before = self.conditions.len();
        self.conditions.extend(condition::predicates(attributes));
        visit(self);
        self.conditions.truncate(before);
    }

    /// Visits something whose local variables end with it.
    fn with_locals(&mut self, visit: impl FnOnce(&mut Self)) {
        let before = self.locals.len();
        visit(self);
        self.locals.truncate(before);
    }

    fn in_scope(&mut self, scope: ScopeId, visit: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.scope, scope);
        visit(self);
        self.scope = outer;
    }

    /// Visits a function, which sees no local variable of another one.
    fn function(&mut self, signature: &'a Signature, block: &'a Block) {
        let outer = std::mem::take(&mut self.locals);
        self.functions.push(signature.ident.unraw().to_string());
        let scope = self.scopes.generic(self.scope, &signature.generics);
        let takes_anyhow = failure::takes_anyhow(&self.scopes, scope, signature, block);
        self.where_errors(takes_anyhow, |finder| {
            finder.in_scope(scope, |finder| {
                for input in &signature.inputs {
                    finder.parameter(input);
                }
                finder.visit_block(block);
            });
        });
        self.functions.pop();
        self.locals = outer;
    }

    /// Visits the body of a function, a closure or an `async` block.
    fn where_errors(&mut self, take_anyhow: bool, visit: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.takes_anyhow, take_anyhow);
        visit(self);
        self.takes_anyhow = outer;
    }

    fn parameter(&mut self, input: &FnArg) {
        match input {
            FnArg::Typed(typed) => {
                let fact = match self.place().of_type(&typed.ty) {
                    Fact::Other => Fact::Names(Names::Parameter(source_of(&typed.pat, self.source))),
                    known => known,
                };
                let bound = fact::bound(&typed.pat, &fact, &self.place());
                self.locals.extend(bound);
            }
            FnArg::Receiver(receiver) => {
                let reference = matches!(receiver.kind, ReceiverKind::Reference(..));
                let fact = match self.self_class {
                    Some(Class::Agent) => Fact::Agent { reference },
                    Some(Class::Raw) => Fact::RawAgent,
                    None => Fact::Other,
                };
                self.locals.extend(vec![("self".into(), fact)]);
            }
            #[allow(unreachable_patterns, reason = "syn may add a kind of argument")]
            _ => {}
        }
    }

    fn add(&mut self, at: impl Spanned, shape: Shape, edit: Option<Edit>) {
        self.sites.push(Site {
            offset: self.source.range(at.span()).start,
            function: self.functions.last().cloned(),
            shape,
            edit,
            conditions: self.conditions.clone(),
        });
    }

    fn unresolved(&mut self, at: impl Spanned, shape: SiteShape, reason: String) {
        self.add(at, Shape::Unresolved(shape, reason), None);
    }

    /// A place that names backends by this expression, in a call that can be rewritten.
    fn judge(&mut self, at: impl Spanned, names: &Names, call: Call, around: Range<usize>) {
        match shape_of(names) {
            Shape::HardCoded => match self.modules {
                Some(modules) => self.add(at, Shape::HardCoded, Some(Edit { call, around, modules, repeat: None })),
                None => self.unresolved(at, SiteShape::Unclear, "is in a module inside of a function".into()),
            },
            shape => self.add(at, shape, None),
        }
    }

    /// A call of a function of a class: `NixlAgent::with_backends(…)`.
    fn path_call(&mut self, call: &'a ExprCall, callee: &'a ExprPath) {
        let path = Segments::of(&callee.path);
        let last = &callee.path.segments.last().map_or_else(|| callee.span(), |last| last.ident.span());
        if self.is_function(&path) {
            return self.with_backends(*last, call);
        }
        let is_choosing = CHOOSING.contains(&path.last());
        self.note_created(call, callee, &path, is_choosing);
        if !is_choosing && !ADDING.contains(&path.last()) {
            return;
        }
        let (class, owner) = match self.owner(callee, &path) {
            Owner::Class(class) => (class, AGENT),
            Owner::Other => return,
            Owner::Untraced(shape, reason) => {
                let names = call.args.get(1).map(|argument| shape_of(&constant::names(&self.place(), argument)));
                return match names {
                    // Storage, or nothing: no matter whose class it is.
                    Some(names @ Shape::Configured(_)) => self.add(*last, names, None),
                    _ => self.unresolved(*last, shape, reason),
                };
            }
        };
        match (class, path.last()) {
            (Class::Agent, "with_backends") => self.with_backends(*last, call),
            (Class::Agent, "from_nixl_backend_config") => {
                let names = call.args.get(1).map(|argument| constant::names(&self.place(), argument));
                let names = names.unwrap_or(Names::Unknown(Why::Expression));
                let shape = match shape_of(&names) {
                    Shape::Unresolved(..) => Shape::Configured("by a `NixlBackendConfig`".into()),
                    shape => shape,
                };
                self.add(*last, shape, None);
            }
            (_, name) if !is_choosing => {
                let reason = format!("`{owner}::{name}` is called by its path; only the method call is rewritten");
                self.unresolved(*last, SiteShape::Unclear, reason);
            }
            _ => {}
        }
    }

    /// Notes an agent that is created without a backend, or by a function of the type itself.
    fn note_created(&mut self, call: &'a ExprCall, callee: &ExprPath, path: &Segments, is_choosing: bool) {
        let is_bare = CREATING.contains(&path.last()) && !matches!(self.owner(callee, path), Owner::Other);
        let own = || path.parent().is_some_and(|owner| owner.single() == Some("Self"));
        let is_own = is_choosing && self.self_class.is_none() && self.self_is_named && own();
        if !is_bare && !is_own {
            return;
        }
        let names = call.args.get(1).filter(|_| is_own);
        let shape = names.map(|argument| shape_of(&constant::names(&self.place(), argument)));
        let last = callee.path.segments.last().map_or_else(|| callee.span(), |last| last.ident.span());
        let (offset, function) = (self.source.range(last).start, self.functions.last().cloned());
        self.created.push(Created { offset, function, shape });
    }

    /// Whether a path is a local variable that holds the function `with_backends`.
    fn is_function(&self, path: &Segments) -> bool {
        let place = self.place();
        path.single().and_then(|name| place.local(name)) == Some(&Fact::WithBackends)
    }

    fn with_backends(&mut self, at: proc_macro2::Span, call: &'a ExprCall) {
        let Some(argument) = call.args.get(1) else { return };
        let names = constant::names(&self.place(), argument);
        let around = self.source.range(call.func.span());
        self.judge(at, &names, Call::WithBackends, around);
    }

    /// The class before the last name of a path.
    fn owner(&self, callee: &ExprPath, path: &Segments) -> Owner {
        let owner = match &callee.qself {
            Some(qself) if callee.path.segments.len() == 1 || qself.position == 0 => {
                return match self.place().of_type(&qself.ty) {
                    Fact::Agent { .. } => Owner::Class(Class::Agent),
                    Fact::RawAgent => Owner::Class(Class::Raw),
                    _ => Owner::Other,
                };
            }
            Some(_) => return Owner::Other,
            None => path.parent(),
        };
        let Some(owner) = owner else { return Owner::Other };
        if owner.single() == Some("Self") {
            return self.self_class.map_or(Owner::Other, Owner::Class);
        }
        let meaning = self.scopes.resolve(self.scope, &owner);
        if let Some(class) = fact::class(&meaning) {
            return Owner::Class(class);
        }
        match meaning {
            Meaning::Foreign(item) if owner.last() == AGENT || item.last().is_some_and(|last| last == AGENT) => {
                let reason = format!("may not be Dynamo's agent: `{owner}` is `{}`", item.join("::"));
                Owner::Untraced(SiteShape::Unclear, reason)
            }
            Meaning::Unknown(why) if owner.last() == AGENT => {
                let reason = format!("may not be Dynamo's agent: `{owner}` is {}", why.words());
                Owner::Untraced(SiteShape::Unclear, reason)
            }
            _ => Owner::Other,
        }
    }

    /// `agent.add_backend(…)`.
    fn method_call(&mut self, call: &'a ExprMethodCall) {
        let method = call.method.unraw().to_string();
        if !ADDING.contains(&method.as_str()) {
            return;
        }
        let Some(argument) = call.args.first() else { return };
        let names = constant::names(&self.place(), argument);
        let receiver = self.place().agent(&call.receiver);
        let at = &call.method;
        match (receiver, method.as_str()) {
            (Fact::Agent { reference }, "add_backend") => {
                let around = self.source.range(call.receiver.span());
                self.judge(at, &names, Call::AddBackend { reference }, around);
            }
            (Fact::Agent { .. }, "add_backend_with_params") => match shape_of(&names) {
                Shape::HardCoded => {
                    self.add(at, Shape::Configured(format!("`{UCX}` with parameters of its own")), None);
                }
                shape => self.add(at, shape, None),
            },
            (_, "create_backend") => match shape_of(&names) {
                Shape::HardCoded => self.create_backend(at),
                Shape::Unresolved(..) if receiver_is_other(&self.place(), call) => {}
                shape => self.add(at, shape, None),
            },
            _ => {
                let receiver = self.text(self.source.range(call.receiver.span()));
                let reason = format!("may not be Dynamo's agent: the type of `{receiver}` is not traced");
                self.unresolved(at, SiteShape::Unclear, reason);
            }
        }
    }

    /// `agent.create_backend("UCX", …)`, on an agent of nixl-sys.
    fn create_backend(&mut self, at: impl Spanned) {
        let (Some(statement), Some(modules)) = (self.statements.last(), self.modules) else {
            return self.add(at, Shape::BlockManager(Some("it is in no statement that can be repeated")), None);
        };
        if !self.takes_anyhow {
            let why = "whether its function returns an `anyhow::Error` is not certain";
            return self.add(at, Shape::BlockManager(Some(why)), None);
        }
        let (around, repeat) = (statement.range.clone(), Some(statement.repeat.clone()));
        let edit = Edit { call: Call::CreateBackend, around, modules, repeat };
        self.add(at, Shape::BlockManager(None), Some(edit).filter(|_| self.block_manager));
    }

    fn text(&self, range: Range<usize>) -> &str {
        let text = self.source.text.get(range).unwrap_or_default();
        text.lines().next().unwrap_or_default()
    }
}

/// Whether it is certain that the receiver is no agent, because it is something else that the file shows.
fn receiver_is_other(place: &Place, call: &ExprMethodCall) -> bool {
    place.agent(&call.receiver) == Fact::Other
}

/// What the last name of a path belongs to.
enum Owner {
    Class(Class),
    Other,
    /// Something that may be the agent's class.
    Untraced(SiteShape, String),
}

/// How a place chooses that names backends so.
fn shape_of(names: &Names) -> Shape {
    match names {
        Names::Constant(names) => of_constant(names),
        Names::Environment(variable) => {
            Shape::EnvironmentAware(ChoiceReport { variable: variable.clone(), ..ChoiceReport::default() })
        }
        Names::Parameter(name) => {
            Shape::Unresolved(SiteShape::Parameter, format!("the caller chooses, by the parameter `{name}`"))
        }
        Names::Unknown(_) => {
            Shape::Unresolved(SiteShape::Unclear, "the backends are not constants of this file".into())
        }
    }
}

fn of_constant(names: &[String]) -> Shape {
    let is = |name: &String, wanted: &str| name.eq_ignore_ascii_case(wanted);
    match names {
        [] => Shape::Configured("no backend".into()),
        [one] if is(one, UCX) => Shape::HardCoded,
        many => {
            let listed = format!("`{}`", many.join("`, `"));
            let is_storage = |name: &String| STORAGE.iter().any(|storage| is(name, storage));
            if many.iter().all(is_storage) {
                return Shape::Configured(format!("storage: {listed}"));
            }
            if many.iter().all(|name| is_storage(name) || is(name, UCX)) {
                return Shape::Configured(format!("{listed}; only a list of `{UCX}` alone is rewritten"));
            }
            Shape::Configured(format!("{NETWORK} {listed}"))
        }
    }
}

fn source_of(node: &impl Spanned, source: &Source) -> String {
    source.text.get(source.range(node.span())).unwrap_or_default().to_string()
}

impl<'a> Visit<'a> for Finder<'a> {
    fn visit_item(&mut self, item: &'a Item) {
        self.under(site::attributes_of(item), |finder| match item {
            Item::Fn(item) => finder.function(&item.sig, &item.block),
            // Inside of a function, an item sees none of its variables.
            _ => {
                let outer = std::mem::take(&mut finder.locals);
                visit::visit_item(finder, item);
                finder.locals = outer;
            }
        });
    }

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        let Some(scope) = self.scopes.inline(self.scope, item) else { return };
        let in_function = !self.functions.is_empty();
        let modules = self.modules.filter(|_| !in_function).map(|modules| modules + 1);
        let outer = std::mem::replace(&mut self.modules, modules);
        self.in_scope(scope, |finder| visit::visit_item_mod(finder, item));
        self.modules = outer;
    }

    fn visit_item_impl(&mut self, item: &'a ItemImpl) {
        let scope = self.generic(&item.generics);
        let class = match self.place().of_type(&item.self_ty) {
            Fact::Agent { .. } => Some(Class::Agent),
            Fact::RawAgent => Some(Class::Raw),
            _ => None,
        };
        let outer = std::mem::replace(&mut self.self_class, class);
        let is_named = matches!(&*item.self_ty, syn::Type::Path(it) if Segments::of(&it.path).last() == AGENT);
        let outer_is_named = std::mem::replace(&mut self.self_is_named, is_named);
        self.in_scope(scope, |finder| visit::visit_item_impl(finder, item));
        self.self_class = outer;
        self.self_is_named = outer_is_named;
    }

    fn visit_impl_item_fn(&mut self, item: &'a ImplItemFn) {
        self.under(&item.attrs, |finder| finder.function(&item.sig, &item.block));
    }

    fn visit_item_trait(&mut self, item: &'a ItemTrait) {
        let scope = self.generic(&item.generics);
        let outer = self.self_class.take();
        self.in_scope(scope, |finder| visit::visit_item_trait(finder, item));
        self.self_class = outer;
    }

    fn visit_trait_item_fn(&mut self, item: &'a TraitItemFn) {
        if let Some(block) = &item.default {
            self.under(&item.attrs, |finder| finder.function(&item.sig, block));
        }
    }

    fn visit_block(&mut self, block: &'a Block) {
        let scope = self.scopes.block(self.scope, block);
        self.in_scope(scope, |finder| {
            finder.with_locals(|finder| {
                for (number, statement) in block.stmts.iter().enumerate() {
                    // The last one may be the block's value.
                    let repeated = (number + 1 < block.stmts.len())
                        .then(|| block_manager::statement(finder.source, statement))
                        .flatten();
                    let before = finder.statements.len();
                    finder.statements.extend(repeated);
                    finder.visit_stmt(statement);
                    finder.statements.truncate(before);
                }
            });
        });
    }

    fn visit_local(&mut self, local: &'a Local) {
        self.under(&local.attrs, |finder| {
            let Some(init) = &local.init else {
                let bound = fact::bound(&local.pat, &Fact::Other, &finder.place());
                finder.locals.extend(bound);
                return;
            };
            let fact = constant::fact(&finder.place(), &init.expr);
            // `let make = NixlAgent::with_backends;`: its calls are judged.
            if fact != Fact::WithBackends || !matches!(local.pat, syn::Pat::Ident(_)) {
                finder.visit_expr(&init.expr);
            }
            if let Some((_, otherwise)) = &init.diverge {
                finder.visit_expr(otherwise);
            }
            let bound = fact::bound(&local.pat, &fact, &finder.place());
            finder.locals.extend(bound);
        });
    }

    fn visit_arm(&mut self, arm: &'a Arm) {
        self.under(&arm.attrs, |finder| finder.with_locals(|finder| visit::visit_arm(finder, arm)));
    }

    fn visit_expr_match(&mut self, node: &'a syn::ExprMatch) {
        self.visit_expr(&node.expr);
        let fact = constant::fact(&self.place(), &node.expr);
        for arm in &node.arms {
            self.under(&arm.attrs, |finder| {
                finder.with_locals(|finder| {
                    let bound = fact::bound(&arm.pat, &fact, &finder.place());
                    finder.locals.extend(bound);
                    finder.visit_pat(&arm.pat);
                    finder.visit_expr(&arm.body);
                });
            });
        }
    }

    fn visit_expr_if(&mut self, node: &'a ExprIf) {
        self.with_locals(|finder| {
            finder.visit_expr(&node.cond);
            finder.visit_block(&node.then_branch);
        });
        if let Some((_, otherwise)) = &node.else_branch {
            self.visit_expr(otherwise);
        }
    }

    fn visit_expr_while(&mut self, node: &'a ExprWhile) {
        self.with_locals(|finder| visit::visit_expr_while(finder, node));
    }

    fn visit_expr_let(&mut self, node: &'a ExprLet) {
        self.visit_expr(&node.expr);
        let fact = constant::fact(&self.place(), &node.expr);
        let bound = fact::bound(&node.pat, &fact, &self.place());
        self.locals.extend(bound);
    }

    fn visit_expr_for_loop(&mut self, node: &'a ExprForLoop) {
        self.visit_expr(&node.expr);
        let fact = match constant::fact(&self.place(), &node.expr) {
            Fact::Names(names) => Fact::Names(names),
            _ => Fact::Other,
        };
        self.with_locals(|finder| {
            let bound = fact::bound(&node.pat, &fact, &finder.place());
            finder.locals.extend(bound);
            finder.visit_block(&node.body);
        });
    }

    fn visit_expr_closure(&mut self, node: &'a ExprClosure) {
        self.with_locals(|finder| {
            for input in &node.inputs {
                let name = source_of(input, finder.source);
                let bound = fact::bound(input, &Fact::Names(Names::Parameter(name)), &finder.place());
                finder.locals.extend(bound);
            }
            finder.where_errors(false, |finder| finder.visit_expr(&node.body));
        });
    }

    fn visit_expr_async(&mut self, node: &'a ExprAsync) {
        self.where_errors(false, |finder| visit::visit_expr_async(finder, node));
    }

    fn visit_expr_block(&mut self, node: &'a syn::ExprBlock) {
        self.under(&node.attrs, |finder| visit::visit_expr_block(finder, node));
    }

    fn visit_expr_call(&mut self, call: &'a ExprCall) {
        self.under(&call.attrs, |finder| {
            match called(&call.func) {
                Some(callee) => finder.path_call(call, callee),
                None => finder.visit_expr(&call.func),
            }
            call.args.iter().for_each(|argument| finder.visit_expr(argument));
        });
    }

    fn visit_expr_method_call(&mut self, call: &'a ExprMethodCall) {
        self.under(&call.attrs, |finder| {
            finder.method_call(call);
            visit::visit_expr_method_call(finder, call);
        });
    }

    /// The function itself, not called here.
    fn visit_expr_path(&mut self, node: &'a ExprPath) {
        let path = Segments::of(&node.path);
        let named = path.last() == "with_backends" && matches!(self.owner(node, &path), Owner::Class(Class::Agent));
        if named || self.is_function(&path) {
            let reason = format!("`{path}` is passed on, and whoever calls it chooses the backends");
            self.unresolved(node, SiteShape::PassedOn, reason);
        }
    }

    fn visit_macro(&mut self, node: &'a Macro) {
        if tokens::names(&node.tokens, &IN_MACROS) {
            let reason = format!("is in the macro `{}!`, whose expansion is not known", shown(&node.path));
            self.unresolved(&node.path, SiteShape::Unclear, reason);
        }
    }
}

impl Finder<'_> {
    fn generic(&mut self, generics: &Generics) -> ScopeId {
        self.scopes.generic(self.scope, generics)
    }
}

/// The path that a call calls.
fn called(callee: &Expr) -> Option<&ExprPath> {
    match callee {
        Expr::Path(path) => Some(path),
        Expr::Paren(inner) => called(&inner.expr),
        Expr::Group(inner) => called(&inner.expr),
        _ => None,
    }
}

fn shown(path: &Path) -> String {
    Segments::of(path).to_string()
}
