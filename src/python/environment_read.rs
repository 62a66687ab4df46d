//! Reads of environment variables, and what is made of the value before it is a list of backends.

use rustc_hash::FxHashMap;
use rustpython_parser::ast::{CmpOp, Constant, Expr, ExprCall, ExprCompare};

use super::bindings::{Origin, PathId, Placed, ScopeId, Value, VariableId, VersionId};
use super::meaning::{Meaning, Node, Resolver};
use super::walk;
use crate::report::file::ChoiceReport;

/// The longest chain of expressions that is followed.
const DEPTH: usize = 200;
/// How many names of backends are kept.
const NAMES: usize = 16;
/// Methods that put their arguments into a list or a set.
pub(crate) const ADDS: [&str; 5] = ["append", "extend", "insert", "add", "update"];

/// Finds reads of environment variables behind expressions.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// None while one is followed, so that circular names end.
    of_version: FxHashMap<VersionId, Option<ChoiceReport>>,
    of_function: FxHashMap<ScopeId, Option<ChoiceReport>>,
    /// The calls that add to what a variable holds, by their number; None before they are needed.
    additions: Option<FxHashMap<VariableId, Vec<usize>>>,
    of_additions: FxHashMap<VariableId, Option<ChoiceReport>>,
    depth: usize,
}

impl Environment {
    /// The first read in an expression, in what its names were assigned from, or in the conditions between several
    /// assignments: hand patches spread over several statements.
    pub(crate) fn read<'a>(&mut self, resolver: &mut Resolver<'_, 'a>, expression: &'a Expr) -> Option<ChoiceReport> {
        if self.depth >= DEPTH {
            return None;
        }
        self.depth += 1;
        let read = self.follow(resolver, expression);
        self.depth -= 1;
        read
    }

    /// The first read in the conditions around a place, innermost first, and its statement.
    pub(crate) fn test_around<'a>(&mut self, resolver: &mut Resolver<'_, 'a>, path: PathId) -> Option<ChoiceReport> {
        let bindings = resolver.bindings;
        let branchings = bindings.paths(path).map(|(_, path)| path.branching);
        branchings.flat_map(|id| &bindings.branching(id).tests).find_map(|test| self.read(resolver, test))
    }

    fn follow<'a>(&mut self, resolver: &mut Resolver<'_, 'a>, expression: &'a Expr) -> Option<ChoiceReport> {
        if let Some(read) = self.here(resolver, expression) {
            return Some(read);
        }
        let read = match expression {
            Expr::Name(_) => {
                return resolver.bindings.load(expression).and_then(|version| self.version(resolver, version));
            }
            Expr::Attribute(_) => self.attribute(resolver, expression),
            Expr::Call(call) => self.called(resolver, call),
            _ => None,
        };
        let mut read = read.or_else(|| self.inside(resolver, expression))?;
        self.describe(resolver, expression, &mut read);
        Some(read)
    }

    fn inside<'a>(&mut self, resolver: &mut Resolver<'_, 'a>, expression: &'a Expr) -> Option<ChoiceReport> {
        let mut read = None;
        let mut look = |child: &'a Expr| {
            if read.is_none() {
                read = self.read(resolver, child);
            }
        };
        walk::comprehension_parts(expression).into_iter().for_each(&mut look);
        walk::children(expression, &mut look);
        read
    }

    /// `os.environ[…]`, `os.environ.get(…)`, `os.getenv(…)`, `… in os.environ`.
    fn here<'a>(&mut self, resolver: &mut Resolver<'_, 'a>, expression: &'a Expr) -> Option<ChoiceReport> {
        match expression {
            Expr::Subscript(node) => {
                let unbound = is_environ(resolver, &node.value)?;
                Some(named(resolver, Some(&node.slice), None, unbound))
            }
            Expr::Compare(node) => {
                let unbound = node.comparators.iter().find_map(|it| is_environ(resolver, it))?;
                Some(named(resolver, Some(&node.left), None, unbound))
            }
            Expr::Call(call) => {
                let getenv = is_os(resolver, &call.func, &["getenv", "getenvb"]);
                let method = call.func.as_attribute_expr().and_then(|attribute| is_environ(resolver, &attribute.value));
                let unbound = getenv.or(method)?;
                let keyword =
                    |name: &str| call.keywords.iter().find(|it| it.arg.as_deref() == Some(name)).map(|it| &it.value);
                let (key, default) =
                    (call.args.first().or_else(|| keyword("key")), call.args.get(1).or_else(|| keyword("default")));
                Some(named(resolver, key, default, unbound))
            }
            _ => None,
        }
    }

    fn attribute<'a>(&mut self, resolver: &mut Resolver<'_, 'a>, expression: &'a Expr) -> Option<ChoiceReport> {
        let attribute = expression.as_attribute_expr()?;
        let bindings = resolver.bindings;
        let symbol = bindings.attribute_symbol(attribute)?;
        let owners = resolver.meanings(&attribute.value);
        let class = resolver.list(owners).iter().find_map(|owner| match owner {
            Meaning::Instance(class) | Meaning::Class(class) => Some(*class),
            _ => None,
        });
        let Some(class) = class else {
            return bindings.attributes_named(symbol).iter().find_map(|version| self.version(resolver, *version));
        };
        let (of_class, of_instances) = bindings.class_variables(class, symbol);
        let versions =
            of_instances.into_iter().chain(of_class).flat_map(|variable| &bindings.variable(variable).bindings);
        versions.copied().find_map(|version| self.version(resolver, version))
    }

    /// A read in what a function of this file returns.
    fn called<'a>(&mut self, resolver: &mut Resolver<'_, 'a>, call: &'a ExprCall) -> Option<ChoiceReport> {
        let callees = resolver.meanings(&call.func);
        let functions: Vec<ScopeId> = resolver
            .list(callees)
            .iter()
            .filter_map(|it| if let Meaning::Function(function) = it { Some(*function) } else { None })
            .collect();
        functions.into_iter().find_map(|function| self.function(resolver, function))
    }

    fn function<'a>(&mut self, resolver: &mut Resolver<'_, 'a>, scope: ScopeId) -> Option<ChoiceReport> {
        if let Some(known) = self.of_function.get(&scope) {
            return known.clone();
        }
        self.of_function.insert(scope, None);
        let bindings = resolver.bindings;
        let returns = || bindings.scope(scope).function.iter().flat_map(|function| &function.returns);
        let read = returns().filter_map(|returned| returned.value).find_map(|value| self.read(resolver, value));
        // A constant that is returned under a condition.
        let read = read.or_else(|| returns().find_map(|returned| self.test_around(resolver, returned.path)));
        self.of_function.insert(scope, read.clone());
        read
    }

    fn version<'a>(&mut self, resolver: &mut Resolver<'_, 'a>, version: VersionId) -> Option<ChoiceReport> {
        if let Some(known) = self.of_version.get(&version) {
            return known.clone();
        }
        if self.depth >= DEPTH {
            return None;
        }
        self.of_version.insert(version, None);
        self.depth += 1;
        let read = self.origin(resolver, version);
        self.depth -= 1;
        self.of_version.insert(version, read.clone());
        read
    }

    fn origin<'a>(&mut self, resolver: &mut Resolver<'_, 'a>, version: VersionId) -> Option<ChoiceReport> {
        let bindings = resolver.bindings;
        let variable = bindings.version(version).variable;
        match &bindings.version(version).origin {
            Origin::Bound(
                Value::Expression(value) | Value::Element(value, _) | Value::Iteration(value) | Value::Context(value),
            ) => {
                let read = self.read(resolver, value);
                read.or_else(|| holds_more(value).then(|| self.added(resolver, variable)).flatten())
            }
            Origin::Unbound | Origin::Bound(_) => None,
            Origin::Join(join) => {
                let versions = join.arms.iter().map(|(_, arm)| *arm).chain(join.before);
                let from_arms = versions.into_iter().find_map(|it| self.version(resolver, it));
                let tests = &bindings.branching(join.branching).tests;
                let from_tests = tests.iter().find_map(|test| self.read(resolver, test));
                let allowed = from_tests.as_ref().map(|read| read.allowed.clone()).unwrap_or_default();
                let mut read = from_arms.or(from_tests)?;
                if read.allowed.is_empty() {
                    read.allowed = allowed;
                }
                Some(read)
            }
            Origin::Span { before, from, to } => {
                let bound = bindings.bound_between(variable, *from, *to);
                bound.iter().chain([before]).find_map(|version| self.version(resolver, *version))
            }
        }
    }

    /// A read in what is put into a list that this variable holds, or in the conditions around it.
    fn added<'a>(&mut self, resolver: &mut Resolver<'_, 'a>, variable: VariableId) -> Option<ChoiceReport> {
        if let Some(known) = self.of_additions.get(&variable) {
            return known.clone();
        }
        self.of_additions.insert(variable, None);
        let bindings = resolver.bindings;
        let numbers = self.additions.get_or_insert_with(|| additions(resolver)).get(&variable).cloned();
        let mut calls = numbers.into_iter().flatten().map(|number| &bindings.calls[number]);
        let read = calls.find_map(|placed: &Placed<'a>| {
            let arguments = placed.node.as_call_expr().map(|call| call.args.iter());
            let read = arguments.into_iter().flatten().find_map(|argument| self.read(resolver, argument));
            read.or_else(|| self.test_around(resolver, placed.path))
        });
        self.of_additions.insert(variable, read.clone());
        read
    }

    /// Adds what an expression does with the value.
    fn describe<'a>(&mut self, resolver: &mut Resolver<'_, 'a>, expression: &'a Expr, read: &mut ChoiceReport) {
        match expression {
            Expr::Call(call) => {
                let method = call.func.as_attribute_expr().map(|attribute| attribute.attr.as_str());
                read.list |= matches!(method, Some("split" | "rsplit"));
            }
            Expr::BoolOp(node) => {
                if let Some(default) = node.values.last().and_then(|last| resolver.constant(last)) {
                    read.default.get_or_insert_with(|| default.to_string());
                }
            }
            Expr::Compare(node) if read.allowed.is_empty() => read.allowed = compared(resolver, node),
            _ => {}
        }
    }
}

/// Whether a value is a list or a set that is filled later, or has one.
fn holds_more(value: &Expr) -> bool {
    match value {
        Expr::List(_) | Expr::Set(_) => true,
        // `chosen, unknown = [], []`.
        Expr::Tuple(node) => node.elts.iter().any(holds_more),
        Expr::Call(call) => call.func.as_name_expr().is_some_and(|name| matches!(name.id.as_str(), "list" | "set")),
        _ => false,
    }
}

/// The calls of methods that add to what a variable holds, by the variable.
fn additions(resolver: &Resolver) -> FxHashMap<VariableId, Vec<usize>> {
    let bindings = resolver.bindings;
    let mut additions: FxHashMap<VariableId, Vec<usize>> = FxHashMap::default();
    for (number, placed) in bindings.calls.iter().enumerate() {
        let method = placed.node.as_call_expr().and_then(|call| call.func.as_attribute_expr());
        let Some(method) = method.filter(|method| ADDS.contains(&method.attr.as_str())) else { continue };
        if let Some(version) = bindings.load(&method.value) {
            additions.entry(bindings.version(version).variable).or_default().push(number);
        }
    }
    additions
}

/// The names that a value is compared with.
fn compared<'a>(resolver: &mut Resolver<'_, 'a>, node: &'a ExprCompare) -> Vec<String> {
    let wanted = [CmpOp::In, CmpOp::NotIn, CmpOp::Eq, CmpOp::NotEq];
    let mut names: Vec<String> = Vec::new();
    for (_, comparator) in node.ops.iter().zip(&node.comparators).filter(|(op, _)| wanted.contains(op)) {
        if let Some(name) = resolver.constant(comparator) {
            names.push(name.to_string());
            continue;
        }
        let items: &'a [Expr] = match comparator {
            Expr::Set(node) => &node.elts,
            _ => {
                let found = resolver.meanings(comparator);
                match resolver.list(found) {
                    [Meaning::Sequence(Node(Expr::Tuple(node)))] => &node.elts,
                    [Meaning::Sequence(Node(Expr::List(node)))] => &node.elts,
                    _ => &[],
                }
            }
        };
        names.extend(items.iter().filter_map(|item| resolver.constant(item)).map(str::to_string).take(NAMES));
    }
    names
}

/// Whether an expression is `os.environ`, and the name in it that nothing binds.
fn is_environ<'a>(resolver: &mut Resolver<'_, 'a>, expression: &'a Expr) -> Option<Option<&'a str>> {
    is_os(resolver, expression, &["environ", "environb"])
}

fn is_os<'a>(resolver: &mut Resolver<'_, 'a>, expression: &'a Expr, names: &[&str]) -> Option<Option<&'a str>> {
    if !matches!(expression, Expr::Name(_) | Expr::Attribute(_)) {
        return None;
    }
    let found = resolver.meanings(expression);
    if resolver.list(found).iter().any(|meaning| resolver.is_member(meaning, "os", names)) {
        return Some(None);
    }
    let attribute = expression.as_attribute_expr().filter(|attribute| names.contains(&attribute.attr.as_str()))?;
    let owner = attribute.value.as_name_expr().filter(|name| matches!(name.id.as_str(), "os" | "_os"))?;
    let bound = resolver.bindings.load(&attribute.value).is_some() || !resolver.bindings.star_imports.is_empty();
    (!bound).then_some(Some(owner.id.as_str()))
}

fn named<'a>(
    resolver: &Resolver<'_, 'a>,
    key: Option<&'a Expr>,
    default: Option<&'a Expr>,
    unbound: Option<&str>,
) -> ChoiceReport {
    let bytes = |expression: &Expr| match expression.as_constant_expr().map(|constant| &constant.value) {
        Some(Constant::Bytes(bytes)) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    };
    let text = |expression: Option<&'a Expr>| {
        let expression = expression?;
        resolver.constant(expression).map(str::to_string).or_else(|| bytes(expression))
    };
    ChoiceReport {
        variable: text(key),
        default: text(default),
        unbound: unbound.map(str::to_string),
        ..ChoiceReport::default()
    }
}
