//! What an expression can stand for in this file: a module, a module's member, a function, a plain value.
//!
//! Traces assignments, imports, unpacked results of local functions and attributes of `self`. What cannot be traced is
//! unknown, with a reason.

use rustc_hash::FxHashSet;

use rustpython_parser::ast::{Constant, Expr, ExprCall};

use super::bindings::{Binding, Bindings, MODULE_SCOPE, PathId, Placed, ScopeId, Value};
use super::span::{end, start};
use crate::source::offset::TextOffset;

/// The longest chain of assignments, calls and attributes that is traced.
pub(super) const DEPTH: usize = 24;

/// The expressions already visited, so that circular names end.
type Seen = FxHashSet<(TextOffset, TextOffset, ScopeId)>;

/// One possible meaning of an expression.
#[derive(Clone, Debug)]
pub(crate) enum Meaning<'a> {
    /// A module, by its full name.
    Module(String),
    /// A name imported from a module, or an attribute of a module.
    Member {
        /// The module's full name.
        module: String,
        /// Its member's name.
        name: String,
    },
    /// A function of this file, by the scope of its body.
    Function(ScopeId),
    /// An expression that stands for itself: a call, a literal, …
    Plain(Placed<'a, Expr>),
    /// A class of this file, or a builtin: certainly not NIXL's.
    Other,
    /// This file does not tell; why.
    Unknown(String),
}

impl Meaning<'_> {
    /// The module of NIXL's agent class, where this is that class.
    pub(crate) fn nixl_agent_module(&self) -> Option<&str> {
        self.nixl_member("nixl_agent")
    }

    /// The module of NIXL's configuration class, where this is that class.
    pub(crate) fn nixl_config_module(&self) -> Option<&str> {
        self.nixl_member("nixl_agent_config")
    }

    fn nixl_member(&self, wanted: &str) -> Option<&str> {
        match self {
            Meaning::Member { module, name } if name == wanted && is_nixl(module) => Some(module),
            _ => None,
        }
    }
}

/// Whether a module is NIXL's Python binding: one of the packages `nixl` (a meta package), `nixl_cu12`, `nixl_cu13` and
/// `nixl_rocm`, or `_api` in one of them.
pub(crate) fn is_nixl(module: &str) -> bool {
    let (package, rest) = module.split_once('.').unwrap_or((module, "_api"));
    let known = package == "nixl" || package == "nixl_rocm" || package.strip_prefix("nixl_cu").is_some_and(is_number);
    known && rest == "_api"
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A member of a module; some members are modules themselves.
fn member<'a>(module: &str, name: &str) -> Meaning<'a> {
    let full = format!("{module}.{name}");
    let is_module = is_nixl(module) && !module.contains('.') && name.starts_with('_');
    if is_module { Meaning::Module(full) } else { Meaning::Member { module: module.into(), name: name.into() } }
}

/// Traces names through one module.
pub(crate) struct Resolver<'b, 'a> {
    pub(super) bindings: &'b Bindings<'a>,
}

impl<'b, 'a> Resolver<'b, 'a> {
    /// A resolver for a module's bindings.
    pub(crate) fn new(bindings: &'b Bindings<'a>) -> Self {
        Resolver { bindings }
    }

    /// Everything that an expression can stand for.
    pub(crate) fn meanings(&self, placed: Placed<'a, Expr>) -> Vec<Meaning<'a>> {
        let mut found = Vec::new();
        self.collect(placed, DEPTH, &mut Seen::default(), &mut found);
        found
    }

    /// Everything that a name with these bindings can stand for.
    pub(crate) fn meanings_of_bindings(&self, name: &str, bindings: &[&Binding<'a>]) -> Vec<Meaning<'a>> {
        let mut found = Vec::new();
        bindings.iter().for_each(|binding| self.binding(name, binding, DEPTH, &mut Seen::default(), &mut found));
        found
    }

    fn collect(&self, placed: Placed<'a, Expr>, depth: usize, seen: &mut Seen, found: &mut Vec<Meaning<'a>>) {
        let expression = placed.node;
        if depth == 0 {
            return found.push(Meaning::Unknown("too many assignments to trace".into()));
        }
        if !seen.insert((start(expression), end(expression), placed.scope)) {
            return;
        }
        let same = |node| Placed { node, ..placed };
        match expression {
            Expr::Name(name) => self.name(&name.id, start(expression), placed.scope, placed.path, depth, seen, found),
            Expr::Attribute(attribute) => {
                let mut owners = Vec::new();
                self.collect(same(&attribute.value), depth - 1, seen, &mut owners);
                if let Some(assigned) = self.attribute(placed, depth, seen) {
                    return found.extend(assigned);
                }
                let modules: Vec<_> = owners.iter().filter_map(|owner| module_member(owner, &attribute.attr)).collect();
                if modules.is_empty() {
                    found.push(Meaning::Unknown(format!("the object of `.{}` cannot be traced", attribute.attr)));
                }
                found.extend(modules);
            }
            Expr::IfExp(node) => {
                [&node.body, &node.orelse].into_iter().for_each(|e| self.collect(same(e), depth - 1, seen, found));
            }
            Expr::BoolOp(node) => node.values.iter().for_each(|e| self.collect(same(e), depth - 1, seen, found)),
            Expr::NamedExpr(node) => self.collect(same(&node.value), depth - 1, seen, found),
            Expr::Call(call) => {
                match self.imported_by_call(Placed { node: call, scope: placed.scope, path: placed.path }, depth) {
                    Some(module) => found.push(Meaning::Module(module)),
                    None => found.push(Meaning::Plain(placed)),
                }
            }
            _ => found.push(Meaning::Plain(placed)),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one step of a recursion")]
    fn name(
        &self,
        name: &str,
        position: TextOffset,
        scope: ScopeId,
        path: PathId,
        depth: usize,
        seen: &mut Seen,
        found: &mut Vec<Meaning<'a>>,
    ) {
        match self.bindings.look_up(name, scope, position, path) {
            Some((_, bindings)) => {
                bindings.into_iter().for_each(|binding| self.binding(name, binding, depth, seen, found));
            }
            None => found.push(self.star_imported(name)),
        }
    }

    fn star_imported(&self, name: &str) -> Meaning<'a> {
        let modules = &self.bindings.scope(MODULE_SCOPE).star_imports;
        let nixl = modules.iter().find(|module| is_nixl(module) && name.starts_with("nixl_"));
        match nixl {
            Some(module) => member(module, name),
            // Bound nowhere: a builtin, or a NameError.
            None if modules.is_empty() => Meaning::Other,
            None => Meaning::Unknown(format!("`{name}` may come from `from {} import *`", modules[0])),
        }
    }

    fn binding(&self, name: &str, binding: &Binding<'a>, depth: usize, seen: &mut Seen, found: &mut Vec<Meaning<'a>>) {
        let placed = |node| Placed { node, scope: binding.scope, path: binding.path };
        match binding.value {
            Value::Module(module) => found.push(Meaning::Module(module.into())),
            Value::Member { module, name } => found.push(member(module, name)),
            Value::Function(scope) => found.push(Meaning::Function(scope)),
            Value::Expression(expression) => self.collect(placed(expression), depth - 1, seen, found),
            Value::Element(expression, number) => self.element(placed(expression), number, depth - 1, seen, found),
            Value::Class => found.push(Meaning::Other),
            Value::Parameter => {
                found.push(Meaning::Unknown(format!("`{name}` is a parameter, so its value comes from the caller")));
            }
            Value::Opaque(how) => found.push(Meaning::Unknown(format!("`{name}` is {how}"))),
        }
    }

    /// An element of a tuple that is written out, or that a local function returns.
    fn element(
        &self,
        placed: Placed<'a, Expr>,
        number: usize,
        depth: usize,
        seen: &mut Seen,
        found: &mut Vec<Meaning<'a>>,
    ) {
        let mut whole = Vec::new();
        self.collect(placed, depth, seen, &mut whole);
        for meaning in whole {
            let Meaning::Plain(plain) = meaning else {
                found.push(untraced_tuple());
                continue;
            };
            for tuple in self.results(plain, depth) {
                let elements = match tuple.node {
                    Expr::Tuple(node) => &node.elts,
                    Expr::List(node) => &node.elts,
                    _ => {
                        found.push(untraced_tuple());
                        continue;
                    }
                };
                if let Some(element) = elements.get(number) {
                    self.collect(Placed { node: element, ..tuple }, depth.saturating_sub(1), seen, found);
                }
            }
        }
    }

    /// What the function returns, where `plain` calls a local one; otherwise the expression itself.
    fn results(&self, plain: Placed<'a, Expr>, depth: usize) -> Vec<Placed<'a, Expr>> {
        let Expr::Call(call) = plain.node else { return vec![plain] };
        let functions = self.local_functions(Placed { node: call, scope: plain.scope, path: plain.path }, depth);
        let returns = self.bindings.returns.iter().filter(|returned| functions.contains(&returned.scope));
        let returned: Vec<_> = returns.copied().collect();
        if returned.is_empty() { vec![plain] } else { returned }
    }

    /// What the function returns, where `plain` calls a local one; otherwise the expression itself.
    pub(crate) fn returned(&self, plain: Placed<'a, Expr>) -> Vec<Placed<'a, Expr>> {
        self.results(plain, DEPTH)
    }

    /// The functions of this file that a call may call.
    pub(super) fn local_functions(&self, call: Placed<'a, ExprCall>, depth: usize) -> Vec<ScopeId> {
        let mut callees = Vec::new();
        let callee = Placed { node: call.node.func.as_ref(), scope: call.scope, path: call.path };
        self.collect(callee, depth.saturating_sub(1), &mut Seen::default(), &mut callees);
        let function = |meaning: &Meaning| if let Meaning::Function(scope) = meaning { Some(*scope) } else { None };
        callees.iter().filter_map(function).collect()
    }

    /// What `self.NAME` was assigned in the same class, or `config.NAME` in the same scope.
    fn attribute(&self, placed: Placed<'a, Expr>, depth: usize, seen: &mut Seen) -> Option<Vec<Meaning<'a>>> {
        let attribute = placed.node.as_attribute_expr()?;
        let owner = attribute.value.as_name_expr()?;
        let assigned = self.attribute_bindings(placed, &owner.id, &attribute.attr)?;
        let mut found = Vec::new();
        assigned.into_iter().for_each(|binding| self.binding(&attribute.attr, binding, depth, seen, &mut found));
        Some(found)
    }

    /// The assignments to an attribute of a name that are in force at a place.
    pub(super) fn attribute_bindings(
        &self,
        placed: Placed<'a, Expr>,
        owner: &'a str,
        attribute: &'a str,
    ) -> Option<Vec<&'b Binding<'a>>> {
        let class = self.bindings.class_of_method(placed.scope, owner);
        let bindings = self.bindings.scope(class.unwrap_or(placed.scope)).attributes.get(&(owner, attribute))?;
        // Methods run in no known order.
        let position = class.is_none().then_some(start(placed.node));
        Some(self.bindings.reaching(bindings, position, placed.path))
    }

    /// The values that `NAME.backends = …` gives a configuration held in a variable, in the variable's own scope.
    pub(crate) fn assigned_backends(&self, placed: Placed<'a, Expr>) -> Vec<Binding<'a>> {
        let Some(name) = placed.node.as_name_expr() else { return Vec::new() };
        let key = (name.id.as_str(), "backends");
        let scopes = std::iter::successors(Some(placed.scope), |&id| self.bindings.scope(id).parent);
        scopes.filter_map(|id| self.bindings.scope(id).attributes.get(&key)).flatten().cloned().collect()
    }

    /// `importlib.import_module("…")`.
    fn imported_by_call(&self, call: Placed<'a, ExprCall>, depth: usize) -> Option<String> {
        let mut callees = Vec::new();
        let callee = Placed { node: call.node.func.as_ref(), scope: call.scope, path: call.path };
        self.collect(callee, depth.saturating_sub(1), &mut Seen::default(), &mut callees);
        let imports = |m: &Meaning| matches!(m, Meaning::Member { module, name } if module == "importlib" && name == "import_module");
        callees.iter().any(imports).then_some(())?;
        constant_text(call.node.args.first()?).map(str::to_string)
    }
}

fn untraced_tuple<'a>() -> Meaning<'a> {
    Meaning::Unknown("unpacked from a value that cannot be traced".into())
}

fn module_member<'a>(owner: &Meaning, attribute: &str) -> Option<Meaning<'a>> {
    match owner {
        Meaning::Module(module) => Some(member(module, attribute)),
        _ => None,
    }
}

/// The value of a string literal.
pub(super) fn constant_text(expression: &Expr) -> Option<&str> {
    match &expression.as_constant_expr()?.value {
        Constant::Str(text) => Some(text),
        _ => None,
    }
}
