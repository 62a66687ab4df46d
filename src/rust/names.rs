//! What a path names: through `use` items, their renames and globs, type aliases, inline modules, and items of blocks.
//!
//! Only what a file itself shows counts. A name that another file of the crate may bind is unknown.

use rustc_hash::FxHashMap;
use syn::ext::IdentExt;
use syn::{Block, Expr, Generics, Item, ItemFn, ItemMod, ItemUse, Path, Stmt, Type, UseTree};

use super::condition;

/// Crates that a path may begin with although nothing in the file binds them.
const CRATES: [&str; 3] = ["dynamo_memory", "nixl_sys", "anyhow"];
/// Modules whose contents are known, so that a glob import of one binds these names.
const GLOBS: [(&[&str], &str); 3] =
    [(&["dynamo_memory", "nixl"], "NixlAgent"), (&["dynamo_memory", "nixl"], "Agent"), (&["nixl_sys"], "Agent")];
/// How many globs of a scope, or bindings of a name, are looked at.
const MOST: usize = 64;
/// How many aliases are followed, one after the other.
const LONGEST: usize = 32;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// An item of another crate, by its path from there: `dynamo_memory::nixl::NixlAgent`.
    Foreign(Vec<String>),
    /// An item of this file.
    Own,
    /// Something that the file does not tell.
    Unknown(Why),
}

/// Why a path is not traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Nothing in the file binds its first name.
    Unbound,
    /// A glob import of an unknown module may bind it.
    Glob,
    /// It is an item of another file of this crate.
    OtherFile,
    /// It is bound several times, for different conditions of compilation.
    Twice,
    /// It leads to itself, or through too many aliases.
    TooLong,
}

impl Why {
    /// In words, after the name and `is`.
    pub(super) fn words(self) -> &'static str {
        match self {
            Why::Unbound => "not bound in this file",
            Why::Glob => "imported by a glob, of a module that this file does not show",
            Why::OtherFile => "imported from another file of this crate",
            Why::Twice => "bound several times, to different things",
            Why::TooLong => "bound through too many aliases",
        }
    }
}

/// A path as its segments, without `r#`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segments {
    /// Whether it begins with `::`.
    absolute: bool,
    /// The names.
    names: Vec<String>,
}

impl Segments {
    /// Those of a path, without generic arguments.
    pub(super) fn of(path: &Path) -> Self {
        let names = path.segments.iter().map(|segment| segment.ident.unraw().to_string()).collect();
        Segments { absolute: path.leading_colon.is_some(), names }
    }

    /// The last name.
    pub(super) fn last(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    /// All but the last name; None of a single one.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, names) = self.names.split_last().filter(|(_, before)| !before.is_empty())?;
        Some(Segments { absolute: self.absolute, names: names.to_vec() })
    }

    /// The only name of a path of one.
    pub(super) fn single(&self) -> Option<&str> {
        match self.names.as_slice() {
            [one] if !self.absolute => Some(one),
            _ => None,
        }
    }
}

impl std::fmt::Display for Segments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.absolute { "::" } else { "" }, self.names.join("::"))
    }
}

/// A module, or a block with items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScopeId(usize);

impl ScopeId {
    /// The file's own module.
    pub(super) const ROOT: Self = ScopeId(0);
}

/// A function or a constant.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// A function.
    Function(&'a ItemFn),
    /// The expression of a `const` or a `static`.
    Constant(&'a Expr),
}

enum Binding<'a> {
    Use(Segments),
    Alias(&'a Type),
    Module(ScopeId),
    Own,
}

struct Scope<'a> {
    /// The scope around it; of a module, its parent, whose names it does not see.
    outer: Option<ScopeId>,
    is_module: bool,
    types: FxHashMap<String, Vec<Binding<'a>>>,
    values: FxHashMap<String, Vec<Value<'a>>>,
    globs: Vec<Segments>,
}

/// The scopes of a file.
pub(super) struct Scopes<'a> {
    scopes: Vec<Scope<'a>>,
}

impl<'a> Scopes<'a> {
    /// Those of its modules.
    pub(super) fn of(items: &'a [Item]) -> Self {
        let mut scopes = Scopes { scopes: Vec::new() };
        scopes.module(None, items);
        scopes
    }

    /// The scope of a block in `outer`, which is `outer` itself where it has no items.
    pub(super) fn block(&mut self, outer: ScopeId, block: &'a Block) -> ScopeId {
        let items: Vec<&'a Item> = block
            .stmts
            .iter()
            .filter_map(|statement| match statement {
                Stmt::Item(item) => Some(item),
                _ => None,
            })
            .collect();
        if items.is_empty() {
            return outer;
        }
        let scope = self.empty(Some(outer), false);
        items.into_iter().for_each(|item| self.bind(scope, item));
        scope
    }

    /// The scope of something with type parameters.
    pub(super) fn generic(&mut self, outer: ScopeId, generics: &Generics) -> ScopeId {
        if generics.type_params().next().is_none() {
            return outer;
        }
        let scope = self.empty(Some(outer), false);
        for parameter in generics.type_params() {
            self.add(scope, parameter.ident.unraw().to_string(), Binding::Own);
        }
        scope
    }

    /// The scope of an inline module.
    pub(super) fn inline(&self, outer: ScopeId, module: &ItemMod) -> Option<ScopeId> {
        let bindings = self.scopes[outer.0].types.get(&module.ident.unraw().to_string())?;
        bindings.iter().find_map(|binding| match binding {
            Binding::Module(scope) => Some(*scope),
            _ => None,
        })
    }

    fn empty(&mut self, outer: Option<ScopeId>, is_module: bool) -> ScopeId {
        let (types, values) = (FxHashMap::default(), FxHashMap::default());
        self.scopes.push(Scope { outer, is_module, types, values, globs: Vec::new() });
        ScopeId(self.scopes.len() - 1)
    }

    fn module(&mut self, parent: Option<ScopeId>, items: &'a [Item]) -> ScopeId {
        let scope = self.empty(parent, true);
        items.iter().for_each(|item| self.bind(scope, item));
        scope
    }

    fn add(&mut self, scope: ScopeId, name: String, binding: Binding<'a>) {
        self.scopes[scope.0].types.entry(name).or_default().push(binding);
    }

    fn add_value(&mut self, scope: ScopeId, name: String, value: Value<'a>) {
        self.scopes[scope.0].values.entry(name).or_default().push(value);
    }

    fn bind(&mut self, scope: ScopeId, item: &'a Item) {
        if condition::is_test(super::site::attributes_of(item)) {
            return;
        }
        match item {
            Item::Use(item) => self.import(scope, item),
            Item::Mod(item) => {
                let binding = match &item.content {
                    Some((_, items)) => Binding::Module(self.module(Some(scope), items)),
                    None => Binding::Own,
                };
                self.add(scope, item.ident.unraw().to_string(), binding);
            }
            Item::Type(item) => self.add(scope, item.ident.unraw().to_string(), Binding::Alias(&item.ty)),
            Item::Struct(item) => self.add(scope, item.ident.unraw().to_string(), Binding::Own),
            Item::Enum(item) => self.add(scope, item.ident.unraw().to_string(), Binding::Own),
            Item::Union(item) => self.add(scope, item.ident.unraw().to_string(), Binding::Own),
            Item::Trait(item) => self.add(scope, item.ident.unraw().to_string(), Binding::Own),
            Item::ExternCrate(item) => {
                let name = item.rename.as_ref().map_or(&item.ident, |(_, name)| name);
                let path = Segments { absolute: true, names: vec![item.ident.unraw().to_string()] };
                self.add(scope, name.unraw().to_string(), Binding::Use(path));
            }
            Item::Fn(item) => self.add_value(scope, item.sig.ident.unraw().to_string(), Value::Function(item)),
            Item::Const(item) => self.add_value(scope, item.ident.unraw().to_string(), Value::Constant(&item.expr)),
            Item::Static(item) => self.add_value(scope, item.ident.unraw().to_string(), Value::Constant(&item.expr)),
            _ => {}
        }
    }

    fn import(&mut self, scope: ScopeId, item: &'a ItemUse) {
        let start = Segments { absolute: item.leading_colon.is_some(), names: Vec::new() };
        let mut rest = vec![(start, &item.tree)];
        while let Some((mut path, tree)) = rest.pop() {
            match tree {
                UseTree::Path(tree) => {
                    path.names.push(tree.ident.unraw().to_string());
                    rest.push((path, &tree.tree));
                }
                UseTree::Group(tree) => rest.extend(tree.items.iter().map(|tree| (path.clone(), tree))),
                UseTree::Glob(_) => self.scopes[scope.0].globs.push(path),
                UseTree::Name(tree) => {
                    if tree.ident != "self" {
                        path.names.push(tree.ident.unraw().to_string());
                    }
                    let name = path.last().to_string();
                    self.add(scope, name, Binding::Use(path));
                }
                UseTree::Rename(tree) => {
                    if tree.ident != "self" {
                        path.names.push(tree.ident.unraw().to_string());
                    }
                    self.add(scope, tree.rename.unraw().to_string(), Binding::Use(path));
                }
            }
        }
    }

    /// What a path names in a scope.
    pub(super) fn resolve(&self, scope: ScopeId, path: &Segments) -> Meaning {
        self.follow(scope, path, &mut Vec::new())
    }

    /// The function or constant that a path names in a scope, and the scope of its item.
    pub(super) fn value(&self, scope: ScopeId, path: &Segments) -> Option<(Value<'a>, ScopeId)> {
        let names: Vec<&str> = path.names.iter().map(String::as_str).collect();
        let (mut at, name) = match names.as_slice() {
            [one] if !path.absolute => (scope, *one),
            ["self", one] => (self.module_of(scope), *one),
            ["super", one] => (self.scopes[self.module_of(scope).0].outer?, *one),
            _ => return None,
        };
        loop {
            let found = &self.scopes[at.0];
            if let Some(values) = found.values.get(name) {
                return match values.as_slice() {
                    [one] => Some((*one, at)),
                    _ => None,
                };
            }
            if found.is_module || found.types.contains_key(name) {
                return None;
            }
            at = found.outer?;
        }
    }

    fn module_of(&self, mut scope: ScopeId) -> ScopeId {
        while !self.scopes[scope.0].is_module {
            let Some(outer) = self.scopes[scope.0].outer else { break };
            scope = outer;
        }
        scope
    }

    /// `seen` has the names that are being followed, each with its scope.
    fn follow(&self, scope: ScopeId, path: &Segments, seen: &mut Vec<(usize, String)>) -> Meaning {
        let Some((first, rest)) = path.names.split_first() else { return Meaning::Unknown(Why::Unbound) };
        if path.absolute {
            return Meaning::Foreign(path.names.clone());
        }
        match first.as_str() {
            "crate" => Meaning::Unknown(Why::OtherFile),
            "Self" => Meaning::Unknown(Why::Unbound),
            "self" => self.inside(self.module_of(scope), rest, seen),
            "super" => match self.scopes[self.module_of(scope).0].outer {
                Some(parent) => self.inside(self.module_of(parent), rest, seen),
                None => Meaning::Unknown(Why::OtherFile),
            },
            _ => self.lexical(scope, first, rest, seen),
        }
    }

    /// A path relative to a module.
    fn inside(&self, module: ScopeId, path: &[String], seen: &mut Vec<(usize, String)>) -> Meaning {
        let Some((first, rest)) = path.split_first() else { return Meaning::Own };
        if first == "super" {
            let parent = self.scopes[module.0].outer.map(|parent| self.module_of(parent));
            return parent.map_or(Meaning::Unknown(Why::OtherFile), |parent| self.inside(parent, rest, seen));
        }
        self.bound(module, first, rest, seen).unwrap_or(Meaning::Unknown(Why::Unbound))
    }

    fn lexical(&self, scope: ScopeId, first: &str, rest: &[String], seen: &mut Vec<(usize, String)>) -> Meaning {
        let mut at = scope;
        let mut globs = false;
        loop {
            match self.bound(at, first, rest, seen) {
                Some(Meaning::Unknown(Why::Glob)) => globs = true,
                Some(meaning) => return meaning,
                None => {}
            }
            let found = &self.scopes[at.0];
            match found.outer {
                Some(outer) if !found.is_module => at = outer,
                _ => break,
            }
        }
        let foreign = || std::iter::once(first.to_string()).chain(rest.iter().cloned()).collect();
        if CRATES.contains(&first) {
            return Meaning::Foreign(foreign());
        }
        if globs {
            return Meaning::Unknown(Why::Glob);
        }
        if rest.is_empty() { Meaning::Unknown(Why::Unbound) } else { Meaning::Foreign(foreign()) }
    }

    /// What a scope itself binds a name to; None where it does not.
    fn bound(&self, scope: ScopeId, name: &str, rest: &[String], seen: &mut Vec<(usize, String)>) -> Option<Meaning> {
        // `use dynamo_memory;` binds the name to the crate.
        if seen.iter().any(|(at, known)| *at == scope.0 && known == name) {
            return None;
        }
        if seen.len() > LONGEST {
            return Some(Meaning::Unknown(Why::TooLong));
        }
        seen.push((scope.0, name.to_string()));
        let meaning = match self.scopes[scope.0].types.get(name) {
            Some(bindings) => Some(self.agreed(scope, bindings, rest, seen)),
            None => self.through_globs(scope, name, rest, seen),
        };
        seen.pop();
        meaning
    }

    fn agreed(
        &self,
        scope: ScopeId,
        bindings: &[Binding<'a>],
        rest: &[String],
        seen: &mut Vec<(usize, String)>,
    ) -> Meaning {
        if bindings.len() > MOST {
            return Meaning::Unknown(Why::Twice);
        }
        let mut meanings = bindings.iter().map(|binding| match binding {
            Binding::Own => Meaning::Own,
            Binding::Module(module) => self.inside(*module, rest, seen),
            Binding::Alias(alias) => self.alias(scope, alias, rest, seen),
            Binding::Use(path) => {
                let names = path.names.iter().chain(rest).cloned().collect();
                self.follow(scope, &Segments { absolute: path.absolute, names }, seen)
            }
        });
        let Some(first) = meanings.next() else { return Meaning::Unknown(Why::Unbound) };
        if meanings.all(|other| other == first) { first } else { Meaning::Unknown(Why::Twice) }
    }

    fn alias(&self, scope: ScopeId, alias: &Type, rest: &[String], seen: &mut Vec<(usize, String)>) -> Meaning {
        let path = match alias {
            Type::Path(alias) if alias.qself.is_none() => &alias.path,
            _ => return Meaning::Own,
        };
        // `type R = Result<NixlAgent>` is no name of the agent.
        if path.segments.iter().any(|segment| !segment.arguments.is_none()) {
            return Meaning::Own;
        }
        let mut path = Segments::of(path);
        path.names.extend(rest.iter().cloned());
        self.follow(scope, &path, seen)
    }

    fn through_globs(
        &self,
        scope: ScopeId,
        name: &str,
        rest: &[String],
        seen: &mut Vec<(usize, String)>,
    ) -> Option<Meaning> {
        let mut unknown = false;
        if self.scopes[scope.0].globs.len() > MOST {
            return Some(Meaning::Unknown(Why::Glob));
        }
        for glob in &self.scopes[scope.0].globs {
            match self.follow(scope, glob, seen) {
                Meaning::Foreign(module) => {
                    let known = GLOBS.iter().any(|(path, item)| module == *path && *item == name);
                    if known {
                        return Some(Meaning::Foreign(
                            module.into_iter().chain([name.to_string()]).chain(rest.iter().cloned()).collect(),
                        ));
                    }
                    // A module with that name may come from any other one.
                    unknown |= !GLOBS.iter().any(|(path, _)| module == *path);
                }
                Meaning::Own | Meaning::Unknown(_) => unknown = true,
            }
        }
        unknown.then_some(Meaning::Unknown(Why::Glob))
    }
}
