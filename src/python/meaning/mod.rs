//! What an expression can stand for in this file: a module, a module's member, a function, a class, an agent.
//!
//! Each version of a variable is traced once. A set of meanings that grows too large, or goes round in a circle, becomes
//! unknown, so that all of a file takes linear time.

mod alias;
mod class;
mod function;
mod kind;
mod set;
mod traced;

use rustc_hash::FxHashMap;
use rustpython_parser::ast::{BoolOp, Constant, Expr, ExprAttribute, ExprCall};

use super::bindings::{Bindings, Imported, Opaque, Origin, ScopeId, StarImport, Symbol, Value, VariableId, VersionId};
use super::walk;
use alias::is_nixl;
pub(crate) use alias::{Alias, Certainty, Imports, NixlClass};
use kind::Text;
pub(crate) use kind::{Meaning, Node, Why};
pub(crate) use set::{Meanings, Sets};
use traced::{InFour, Traced};

/// The longest chain of expressions that is traced at once.
const DEPTH: usize = 200;
/// The modules whose `cast` returns its second argument.
const CAST: [&str; 2] = ["typing", "typing_extensions"];
/// How many calls of one function are followed to its parameters, and how many functions of one name.
pub(crate) const FOLLOWED: usize = 16;

/// Traces names through one module.
pub(crate) struct Resolver<'b, 'a> {
    /// The module's bindings.
    pub(crate) bindings: &'b Bindings<'a>,
    /// The sets of meanings.
    pub(crate) sets: Sets<'a>,
    texts: Vec<String>,
    text_numbers: FxHashMap<String, Text>,
    /// What each version stands for, as far as it was asked for.
    of_version: Vec<InFour>,
    of_variable: FxHashMap<VariableId, Meanings>,
    of_function: FxHashMap<ScopeId, Traced>,
    of_attribute: FxHashMap<(ScopeId, Symbol), Traced>,
    /// The class that stands for all classes related to one by inheritance.
    families: Vec<ScopeId>,
    /// The classes of each family of more than one.
    relatives: FxHashMap<ScopeId, Vec<ScopeId>>,
    /// What the calls in this file pass for a parameter.
    arguments: FxHashMap<VariableId, Vec<&'a Expr>>,
    depth: usize,
    /// What was found before, where something is made from itself.
    before: Before,
    /// Whether all versions are traced.
    complete: bool,
    /// The attribute that was looked up last, and what it can be.
    last_attribute: Option<(Attribute<'a>, Meanings)>,
    /// What the modules beside this file bind; None where the file is judged alone.
    imports: Option<&'b dyn Imports>,
}

/// An attribute: its owners, its name, and the name's symbol.
type Attribute<'a> = (Meanings, &'a str, Option<Symbol>);

/// What a first pass found. What is traced while it is itself being traced is incomplete: a second pass uses this instead.
#[derive(Default)]
struct Before {
    /// Whether anything is made from itself.
    circular: bool,
    of_version: Vec<InFour>,
    of_function: FxHashMap<ScopeId, Traced>,
    of_attribute: FxHashMap<(ScopeId, Symbol), Traced>,
}

impl<'b, 'a> Resolver<'b, 'a> {
    /// A resolver for a module's bindings, and for what the modules around it bind.
    pub(crate) fn new(bindings: &'b Bindings<'a>, imports: Option<&'b dyn Imports>) -> Self {
        let mut resolver = Resolver {
            bindings,
            sets: Sets::new(),
            texts: Vec::new(),
            text_numbers: FxHashMap::default(),
            of_version: vec![InFour::from(Traced::Not); bindings.version_count()],
            of_variable: FxHashMap::default(),
            of_function: FxHashMap::default(),
            of_attribute: FxHashMap::default(),
            families: Vec::new(),
            relatives: FxHashMap::default(),
            arguments: FxHashMap::default(),
            depth: 0,
            before: Before::default(),
            complete: false,
            last_attribute: None,
            imports,
        };
        resolver.relate_classes();
        resolver.collect_arguments();
        resolver.trace_all();
        if resolver.before.circular {
            resolver.before.of_version =
                std::mem::replace(&mut resolver.of_version, vec![InFour::from(Traced::Not); bindings.version_count()]);
            resolver.before.of_function = std::mem::take(&mut resolver.of_function);
            resolver.before.of_attribute = std::mem::take(&mut resolver.of_attribute);
            resolver.of_variable.clear();
            resolver.trace_all();
        }
        resolver.complete = true;
        resolver
    }

    /// Traces all versions, in their order, since nearly all build on earlier ones: so no chain of them is deep.
    fn trace_all(&mut self) {
        for version in 0..self.bindings.version_count() as VersionId {
            // What a definition makes is found at once when it is asked for, and only then takes a set of its own.
            if !self.is_definition(version) {
                self.version(version);
            }
        }
    }

    fn is_definition(&self, version: VersionId) -> bool {
        matches!(self.bindings.version(version).origin, Origin::Bound(Value::Function(_) | Value::Class(_)))
    }

    /// What is made from itself: what a first pass found, if there was one, and anything.
    fn circular(&mut self, before: Option<Traced>) -> Meanings {
        self.before.circular = true;
        let unknown = self.unknown(Why::Circular);
        match before {
            Some(Traced::Done(found)) => self.sets.union(found, unknown),
            _ => unknown,
        }
    }

    /// The meanings in a set.
    pub(crate) fn list(&self, meanings: Meanings) -> &[Meaning<'a>] {
        self.sets.list(meanings)
    }

    /// A text.
    pub(crate) fn text(&self, text: Text) -> &str {
        &self.texts[text.0 as usize]
    }

    fn intern(&mut self, text: &str) -> Text {
        if let Some(&known) = self.text_numbers.get(text) {
            return known;
        }
        let number = Text(self.texts.len() as u32);
        self.texts.push(text.to_string());
        self.text_numbers.insert(text.to_string(), number);
        number
    }

    /// The module of NIXL's agent class, where this is that class.
    pub(crate) fn agent_module(&self, meaning: &Meaning) -> Option<&str> {
        self.module_of(meaning, NixlClass::Agent)
    }

    /// The module of NIXL's configuration class, where this is that class.
    pub(crate) fn configuration_module(&self, meaning: &Meaning) -> Option<&str> {
        self.module_of(meaning, NixlClass::Configuration)
    }

    /// Whether this may be NIXL's agent class, going by its name.
    pub(crate) fn is_named_agent(&self, meaning: &Meaning) -> bool {
        self.named_class(meaning) == Some(NixlClass::Agent)
    }

    /// NIXL's class that this may be, going by its name.
    pub(crate) fn named_class(&self, meaning: &Meaning) -> Option<NixlClass> {
        match *meaning {
            Meaning::Unknown(Why::NamedAgent | Why::Opaque(Opaque::AgentPattern)) => Some(NixlClass::Agent),
            Meaning::Unknown(Why::NamedConfiguration) => Some(NixlClass::Configuration),
            Meaning::Doubtful(class, _) => Some(class),
            Meaning::Member(_, name) => NixlClass::named(self.text(name)),
            _ => None,
        }
    }

    /// The module of this class of NIXL, where the meaning is that class.
    pub(crate) fn module_of(&self, meaning: &Meaning, class: NixlClass) -> Option<&str> {
        let Meaning::Member(module, name) = *meaning else { return None };
        let module = self.text(module);
        (self.text(name) == class.name() && is_nixl(module)).then_some(module)
    }

    /// A member of a module; some members are modules themselves.
    fn member(&mut self, module: &str, name: &str) -> Meanings {
        if is_nixl(module) && !module.contains('.') && name.starts_with('_') {
            let full = self.intern(&format!("{module}.{name}"));
            return self.one(Meaning::Module(full));
        }
        match self.alias_of(module, name) {
            Some(alias) => self.alias(alias),
            None => {
                let member = Meaning::Member(self.intern(module), self.intern(name));
                self.one(member)
            }
        }
    }

    /// NIXL's class that a module of the tree binds under this name.
    pub(crate) fn alias_of(&self, module: &str, name: &str) -> Option<Alias> {
        self.imports.filter(|_| !is_nixl(module))?.alias(module, name)
    }

    /// Everything that an alias can stand for.
    fn alias(&mut self, alias: Alias) -> Meanings {
        let found: Vec<Meaning<'a>> = match alias.certainty {
            Certainty::Certain { modules, or_none } => {
                let name = self.intern(alias.class.name());
                let members = modules.iter().map(|module| Meaning::Member(self.intern(module), name));
                members.chain(or_none.then_some(Meaning::None)).collect()
            }
            Certainty::Doubtful(why) => vec![Meaning::Doubtful(alias.class, self.intern(&why))],
        };
        self.sets.of(&found)
    }

    fn one(&mut self, meaning: Meaning<'a>) -> Meanings {
        self.sets.of(&[meaning])
    }

    fn unknown(&mut self, why: Why) -> Meanings {
        self.one(Meaning::Unknown(why))
    }

    /// Everything that an expression can stand for.
    pub(crate) fn meanings(&mut self, expression: &'a Expr) -> Meanings {
        if self.depth >= DEPTH {
            return Sets::TOO_MANY;
        }
        self.depth += 1;
        let found = self.trace(expression);
        self.depth -= 1;
        found
    }

    fn trace(&mut self, expression: &'a Expr) -> Meanings {
        match expression {
            Expr::Name(name) => match self.bindings.load(expression) {
                Some(version) => self.seen(version),
                None => self.not_bound(&name.id),
            },
            Expr::Attribute(attribute) => self.attribute(attribute),
            Expr::Call(call) => self.call(expression, call, false),
            Expr::Await(node) => match node.value.as_ref() {
                inner @ Expr::Call(call) => self.call(inner, call, true),
                _ => self.unknown(Why::Call),
            },
            Expr::IfExp(node) => {
                let (body, orelse) = (self.meanings(&node.body), self.meanings(&node.orelse));
                self.sets.union(body, orelse)
            }
            Expr::BoolOp(node) => {
                let mut all = Sets::NOTHING;
                for (number, value) in node.values.iter().enumerate() {
                    let mut found = self.meanings(value);
                    if node.op == BoolOp::Or && number + 1 < node.values.len() {
                        found = self.without(found, |meaning| *meaning == Meaning::None);
                    }
                    all = self.sets.union(all, found);
                }
                all
            }
            Expr::NamedExpr(node) => self.meanings(&node.value),
            Expr::Constant(node) if node.value == Constant::None => self.one(Meaning::None),
            Expr::Tuple(_) | Expr::List(_) => self.one(Meaning::Sequence(Node(expression))),
            Expr::Subscript(node) => match self.module_in_table(&node.value, &node.slice) {
                Some(module) => self.one(module),
                None => self.unknown(Why::Subscript),
            },
            Expr::Lambda(_) => self.unknown(Why::Lambda),
            Expr::Yield(_) | Expr::YieldFrom(_) | Expr::Starred(_) => self.unknown(Why::Call),
            _ => self.one(Meaning::Other),
        }
    }

    /// `sys.modules["…"]`.
    fn module_in_table(&mut self, table: &'a Expr, key: &'a Expr) -> Option<Meaning<'a>> {
        let key = self.constant(key)?;
        let found = self.meanings(table);
        let is_table = self.list(found).iter().any(|it| self.is_member(it, "sys", &["modules"]));
        is_table.then(|| Meaning::Module(self.intern(key)))
    }

    /// Whether a meaning is one of these members of a module.
    pub(crate) fn is_member(&self, meaning: &Meaning, module: &str, names: &[&str]) -> bool {
        matches!(*meaning, Meaning::Member(of, name) if self.text(of) == module && names.contains(&self.text(name)))
    }

    /// Whether this is a module of NIXL that has its classes.
    pub(crate) fn is_nixl_module(&self, meaning: &Meaning) -> bool {
        match *meaning {
            Meaning::Module(module) => is_nixl(self.text(module)),
            // `from nixl import _api`
            Meaning::Member(module, name) => is_nixl(&format!("{}.{}", self.text(module), self.text(name))),
            _ => false,
        }
    }

    /// The set without some meanings.
    pub(crate) fn without(&mut self, meanings: Meanings, unwanted: impl Fn(&Meaning) -> bool) -> Meanings {
        let kept: Vec<Meaning<'a>> = self.list(meanings).iter().copied().filter(|meaning| !unwanted(meaning)).collect();
        self.sets.of(&kept)
    }

    /// What a name stands for that this file does not bind: a builtin, or part of an `import *`.
    fn not_bound(&mut self, name: &str) -> Meanings {
        let stars = &self.bindings.star_imports;
        let is_binding = |star: &StarImport| star.level == 0 && is_nixl(star.module);
        let nixl = stars.iter().copied().find(|star| is_binding(star) && name.starts_with("nixl_"));
        let others = stars.iter().any(|star| !is_binding(star));
        let of_nixl = nixl.map_or(Sets::NOTHING, |star| self.member(star.module, name));
        if let Some(alias) = stars.iter().find_map(|star| self.alias_in(star, name)) {
            let found = self.alias(alias);
            // Alone, it is as certain as `from module import name`.
            let replaced = if stars.len() > 1 { self.unknown(Why::Opaque(Opaque::Star)) } else { Sets::NOTHING };
            return self.sets.union(found, replaced);
        }
        let other = if others {
            self.unknown(Why::Opaque(Opaque::Star))
        } else if nixl.is_none() {
            let builtin = Meaning::Builtin(self.intern(name));
            self.one(builtin)
        } else {
            Sets::NOTHING
        };
        self.sets.union(of_nixl, other)
    }

    /// NIXL's class that a module of the tree gives to `import *` under this name.
    fn alias_in(&self, star: &StarImport, name: &str) -> Option<Alias> {
        let module = match star.level {
            0 => star.module.to_string(),
            level => self.imports?.absolute(level, star.module),
        };
        self.alias_of(&module, name)
    }

    /// What a name of the module's own level can stand for at any time; None where nothing in the file binds it.
    pub(crate) fn module_name(&mut self, name: &str) -> Option<Meanings> {
        let variable = self.bindings.module_variable(name)?;
        let bindings = self.bindings;
        let bound = bindings.variable(variable).bindings.as_slice();
        (!bound.is_empty()).then(|| self.any_of(bound))
    }

    /// What a name stands for that other modules can import from this one, though nothing in the file binds it: part of
    /// an `import *`.
    pub(crate) fn starred_name(&mut self, name: &str) -> Option<Meanings> {
        (!self.bindings.star_imports.is_empty()).then(|| self.not_bound(name))
    }

    /// What the use of a name stands for that sees this version.
    pub(crate) fn seen(&mut self, version: VersionId) -> Meanings {
        let now = self.version(version);
        let variable = self.bindings.version(version).variable;
        let always = self.at_any_time(variable);
        self.sets.union(now, always)
    }

    /// What other scopes make of a variable, at any time.
    fn at_any_time(&mut self, variable: VariableId) -> Meanings {
        let made = &self.bindings.variable(variable).at_any_time;
        if made.is_empty() {
            return Sets::NOTHING;
        }
        if let Some(&known) = self.of_variable.get(&variable) {
            return known;
        }
        // While it is traced, a use of the variable in what it is bound to adds nothing.
        self.of_variable.insert(variable, Sets::NOTHING);
        let all = self.any_of(made);
        self.of_variable.insert(variable, all);
        all
    }

    fn any_of(&mut self, versions: &[VersionId]) -> Meanings {
        let mut all = Sets::NOTHING;
        for &version in versions {
            let found = self.version(version);
            all = self.sets.union(all, found);
            if self.sets.is_too_many(all) {
                break;
            }
        }
        all
    }

    /// What a version stands for.
    fn version(&mut self, version: VersionId) -> Meanings {
        match self.of_version[version as usize].into() {
            Traced::Done(meanings) => return meanings,
            Traced::Now => {
                return self.circular(self.before.of_version.get(version as usize).map(|it| Traced::from(*it)));
            }
            Traced::Not if self.depth >= DEPTH && !self.is_definition(version) => return Sets::TOO_MANY,
            Traced::Not => {}
        }
        self.of_version[version as usize] = Traced::Now.into();
        self.depth += 1;
        let meanings = self.origin(version);
        self.depth -= 1;
        self.of_version[version as usize] = Traced::Done(meanings).into();
        meanings
    }

    fn origin(&mut self, version: VersionId) -> Meanings {
        let bindings = self.bindings;
        let variable = bindings.version(version).variable;
        match &bindings.version(version).origin {
            Origin::Unbound => Sets::UNBOUND,
            Origin::Bound(value) => self.value(*value, variable),
            Origin::Join(join) => {
                let mut all = join.before.map_or(Sets::NOTHING, |before| self.version(before));
                for (_, arm) in &join.arms {
                    let found = self.version(*arm);
                    all = self.sets.union(all, found);
                }
                all
            }
            Origin::Span { before, from, to } => {
                let mut all = self.version(*before);
                for &bound in bindings.bound_between(variable, *from, *to) {
                    let found = self.version(bound);
                    all = self.sets.union(all, found);
                    if self.sets.is_too_many(all) {
                        break;
                    }
                }
                all
            }
        }
    }

    fn value(&mut self, value: Value<'a>, variable: VariableId) -> Meanings {
        match value {
            Value::Module(module) => {
                let module = self.intern(module);
                self.one(Meaning::Module(module))
            }
            Value::Member(import, number) => {
                let Imported { module, name, level } = Imported::of(import, number);
                match (level, self.imports) {
                    (0, _) => self.member(module, name),
                    // Without the tree around the file, a relative import is a module of the package itself, never NIXL.
                    (_, None) => self.member(".", name),
                    (_, Some(imports)) => self.member(&imports.absolute(level, module), name),
                }
            }
            Value::Expression(expression) => self.meanings(expression),
            Value::Element(expression, number) => self.element(expression, number as usize),
            Value::Iteration(expression) => self.iteration(expression),
            Value::Context(expression) => {
                let (found, unknown) = (self.meanings(expression), self.unknown(Why::With));
                self.sets.union(found, unknown)
            }
            Value::Function(scope) => self.one(Meaning::Function(scope)),
            Value::Class(scope) | Value::ClassItself(scope) => self.one(Meaning::Class(scope)),
            Value::Instance(class) => self.one(Meaning::Instance(class)),
            Value::Parameter(default) => self.parameter(variable, default),
            Value::Opaque(opaque) => self.unknown(Why::Opaque(opaque)),
        }
    }

    /// An element of a tuple that is written out, or that a local function returns.
    fn element(&mut self, expression: &'a Expr, number: usize) -> Meanings {
        let whole = self.meanings(expression);
        let mut all = Sets::NOTHING;
        for meaning in self.list(whole).to_vec() {
            let found = match meaning {
                Meaning::Unbound | Meaning::None => Sets::NOTHING,
                Meaning::Sequence(Node(Expr::Tuple(node))) => self.item(&node.elts, number),
                Meaning::Sequence(Node(list @ Expr::List(node))) if std::ptr::eq(list, expression) => {
                    self.item(&node.elts, number)
                }
                _ => self.unknown(Why::Opaque(Opaque::Unpacked)),
            };
            all = self.sets.union(all, found);
        }
        all
    }

    fn item(&mut self, items: &'a [Expr], number: usize) -> Meanings {
        match items.get(number) {
            Some(item) if !items.iter().any(rustpython_ast::Expr::is_starred_expr) => self.meanings(item),
            _ => self.unknown(Why::Opaque(Opaque::Unpacked)),
        }
    }

    fn iteration(&mut self, expression: &'a Expr) -> Meanings {
        let whole = self.meanings(expression);
        let items = match (self.list(whole), expression) {
            ([Meaning::Sequence(Node(Expr::Tuple(node)))], _) => node.elts.as_slice(),
            // A list that has a name may have got other elements.
            ([Meaning::Sequence(_)], Expr::List(node)) => node.elts.as_slice(),
            _ => return self.unknown(Why::Loop),
        };
        let mut all = Sets::NOTHING;
        for item in items {
            let found = self.meanings(item);
            all = self.sets.union(all, found);
            if self.sets.is_too_many(all) {
                break;
            }
        }
        all
    }

    fn attribute(&mut self, attribute: &'a ExprAttribute) -> Meanings {
        let owners = self.meanings(&attribute.value);
        let (name, symbol) = (attribute.attr.as_str(), self.bindings.attribute_symbol(attribute));
        // Many calls in a row are of the same function of the same module.
        if let Some((attribute, known)) = self.last_attribute
            && attribute == (owners, name, symbol)
        {
            return known;
        }
        let found = self.attribute_of(owners, name, symbol);
        // While versions are traced, what is found can be incomplete.
        self.last_attribute = self.complete.then_some(((owners, name, symbol), found));
        found
    }

    fn attribute_of(&mut self, owners: Meanings, name: &str, symbol: Option<Symbol>) -> Meanings {
        let mut all = Sets::NOTHING;
        for owner in self.list(owners).to_vec() {
            let found = match owner {
                // Raises.
                Meaning::Unbound | Meaning::None => Sets::NOTHING,
                Meaning::Module(module) => {
                    let module = self.text(module).to_string();
                    let member = self.member(&module, name);
                    let replaced = self.replaced_member(&module, name, symbol);
                    self.sets.union(member, replaced)
                }
                Meaning::Member(module, of) => {
                    let module = format!("{}.{}", self.text(module), self.text(of));
                    let member = self.member(&module, name);
                    let replaced = self.replaced_member(&module, name, symbol);
                    self.sets.union(member, replaced)
                }
                Meaning::Instance(class) => self.class_attribute(class, name, symbol, true),
                Meaning::Class(class) => self.class_attribute(class, name, symbol, false),
                _ => self.attribute_by_name(name, symbol),
            };
            all = self.sets.union(all, found);
        }
        all
    }

    /// What this file puts in the place of a class of NIXL's module, or of its alias: `api.nixl_agent = …`.
    fn replaced_member(&mut self, module: &str, name: &str, symbol: Option<Symbol>) -> Meanings {
        let bindings = self.bindings;
        match symbol.filter(|_| is_nixl(module) || self.alias_of(module, name).is_some()) {
            Some(symbol) => self.any_of(bindings.foreign_attributes_named(symbol)),
            None => Sets::NOTHING,
        }
    }

    /// Whether reading an attribute of this owner certainly raises.
    pub(crate) fn raises_for(&mut self, owner: Meaning<'a>, name: &str, attribute: &ExprAttribute) -> bool {
        let owner = self.one(owner);
        self.attribute_of(owner, name, self.bindings.attribute_symbol(attribute)) == Sets::NOTHING
    }

    /// An attribute of any object: what is assigned to an attribute of that name somewhere, or something else.
    fn attribute_by_name(&mut self, name: &str, symbol: Option<Symbol>) -> Meanings {
        let bindings = self.bindings;
        let assigned = symbol.map_or(&[][..], |symbol| bindings.attributes_named(symbol));
        let why = match NixlClass::named(name) {
            Some(NixlClass::Agent) => Why::NamedAgent,
            Some(NixlClass::Configuration) => Why::NamedConfiguration,
            None => Why::Attribute,
        };
        let (assigned, unknown) = (self.any_of(assigned), self.unknown(why));
        self.sets.union(assigned, unknown)
    }

    fn call(&mut self, expression: &'a Expr, call: &'a ExprCall, awaited: bool) -> Meanings {
        let callees = self.meanings(&call.func);
        let mut all = Sets::NOTHING;
        for callee in self.list(callees).to_vec() {
            let found = self.result(expression, call, callee, awaited);
            all = self.sets.union(all, found);
        }
        all
    }

    fn result(&mut self, expression: &'a Expr, call: &'a ExprCall, callee: Meaning<'a>, awaited: bool) -> Meanings {
        if self.agent_module(&callee).is_some() {
            return self.one(Meaning::Agent(Node(expression)));
        }
        if self.configuration_module(&callee).is_some() {
            return self.one(Meaning::Configuration(Node(expression)));
        }
        match callee {
            // Raises.
            Meaning::Unbound | Meaning::None => Sets::NOTHING,
            Meaning::Function(function) => self.returned(function, awaited),
            Meaning::Class(class) => self.one(Meaning::Instance(class)),
            Meaning::Builtin(name) if self.text(name) == "getattr" => self.getattr(call),
            _ if self.imports(&callee) => match call.args.first().and_then(|module| self.constant(module)) {
                Some(module) => {
                    let module = self.intern(module);
                    self.one(Meaning::Module(module))
                }
                None => self.unknown(Why::Call),
            },
            _ => {
                let unknown = self.unknown(Why::Call);
                let Some([_, value]) = walk::cast(call) else { return unknown };
                let value = self.meanings(value);
                let is_typings = CAST.iter().any(|module| self.is_member(&callee, module, &["cast"]));
                if is_typings { value } else { self.sets.union(value, unknown) }
            }
        }
    }

    fn imports(&self, callee: &Meaning) -> bool {
        self.is_member(callee, "importlib", &["import_module"])
    }

    fn getattr(&mut self, call: &'a ExprCall) -> Meanings {
        let unknown = self.unknown(Why::Getattr);
        let [owner, name, ..] = call.args.as_slice() else { return unknown };
        let Some(name) = self.constant(name) else { return unknown };
        let owners = self.meanings(owner);
        let found = self.attribute_of(owners, name, None);
        self.sets.union(found, unknown)
    }

    /// The text of a string literal, or of a name that is always bound to one.
    pub(crate) fn constant(&self, expression: &'a Expr) -> Option<&'a str> {
        let mut expression = expression;
        for _ in 0..8 {
            if let Expr::Constant(node) = expression {
                return if let Constant::Str(text) = &node.value { Some(text) } else { None };
            }
            let version = self.plain(self.bindings.load(expression)?);
            match self.bindings.version(version).origin {
                Origin::Bound(Value::Expression(value)) => expression = value,
                _ => return None,
            }
        }
        None
    }

    /// A version without the spans around it in which nothing is bound.
    pub(crate) fn plain(&self, version: VersionId) -> VersionId {
        let mut version = version;
        loop {
            let it = self.bindings.version(version);
            match it.origin {
                Origin::Span { before, from, to } if self.bindings.bound_between(it.variable, from, to).is_empty() => {
                    version = before;
                }
                _ => return version,
            }
        }
    }
}
