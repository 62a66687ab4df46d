//! The modules below src/, what each of them names, and where a path leads.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, Meta, TraitItem, UseTree};

use super::rules::LIBRARY;

/// A file that belongs to the program.
pub(crate) struct SourceFile {
    /// Its path below src/, with slashes.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Its syntax tree.
    pub tree: syn::File,
    /// The module that it is.
    pub module: usize,
    /// Whether it is only compiled for tests.
    pub test_only: bool,
}

impl SourceFile {
    /// Its module's path: `smoke::plan` of `smoke/plan/mod.rs` and of `smoke/plan.rs`.
    pub(crate) fn module_path(&self) -> String {
        let path = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        path.strip_suffix("/mod").unwrap_or(path).replace('/', "::")
    }
}

/// A module, which is a file or lies in one.
#[derive(Default)]
struct Module {
    file: usize,
    parent: Option<usize>,
    children: HashMap<String, usize>,
    items: HashSet<String>,
    /// What `use` names here: name and path.
    named: Vec<(String, Vec<String>)>,
    /// What `use` names inside functions here.
    named_within: Vec<(String, Vec<String>)>,
    globs: Vec<Vec<String>>,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// A module.
    Module(usize),
    /// An item that this module defines.
    Item(usize),
    /// Something of another crate, or a name that nothing here defines.
    Outside(Vec<String>),
}

/// All modules of a folder.
#[derive(Default)]
pub(crate) struct House {
    /// The files that `main.rs` and `lib.rs` lead to.
    pub files: Vec<SourceFile>,
    /// The other files below src/.
    pub strangers: Vec<String>,
    modules: Vec<Module>,
    library: Option<usize>,
}

/// One name that a `use` brings.
pub(crate) struct Used {
    /// The path that it stands for; of a glob the path before `*`.
    pub path: Vec<String>,
    /// The name; None for a glob.
    pub name: Option<String>,
    /// Where its last segment is.
    pub line: usize,
}

impl House {
    /// Reads all files below a folder.
    pub(crate) fn read(root: &Path) -> House {
        let mut house = House::default();
        for name in ["lib.rs", "main.rs"] {
            if root.join(name).exists() {
                let module = house.read_file(root, name.into(), root.to_path_buf(), None, false);
                if name == "lib.rs" {
                    house.library = Some(module);
                }
            }
        }
        let known: HashSet<&str> = house.files.iter().map(|file| file.path.as_str()).collect();
        let mut all = Vec::new();
        list(root, root, &mut all);
        house.strangers = all.into_iter().filter(|path| !known.contains(path.as_str())).collect();
        house
    }

    fn read_file(&mut self, root: &Path, path: String, folder: PathBuf, parent: Option<usize>, test: bool) -> usize {
        let text = fs::read_to_string(root.join(&path)).unwrap_or_else(|error| panic!("src/{path}: {error}"));
        let tree = syn::parse_file(&text).unwrap_or_else(|error| panic!("src/{path}: {error}"));
        let test_only = test || is_for_tests(&tree.attrs);
        let (file, module) = (self.files.len(), self.modules.len());
        let items = tree.items.clone();
        self.files.push(SourceFile { path, text, tree, module, test_only });
        self.modules.push(Module { file, parent, ..Module::default() });
        self.read_items(root, &items, module, &folder, test_only);
        module
    }

    fn read_items(&mut self, root: &Path, items: &[Item], module: usize, folder: &Path, test: bool) {
        for item in items {
            let for_tests = is_for_tests(attributes(item));
            if let Item::Mod(node) = item {
                let name = plain(&node.ident);
                let child = match &node.content {
                    Some((_, inner)) if !for_tests => {
                        let child = self.modules.len();
                        let file = self.modules[module].file;
                        self.modules.push(Module { file, parent: Some(module), ..Module::default() });
                        self.read_items(root, inner, child, &folder.join(&name), test);
                        Some(child)
                    }
                    Some(_) => None,
                    None => self.find_file(root, folder, node, module, test || for_tests),
                };
                if let Some(child) = child.filter(|_| !for_tests) {
                    self.modules[module].children.insert(name, child);
                }
            } else if !for_tests {
                self.name(item, module);
                if !matches!(item, Item::Use(_)) {
                    let mut within = Within::default();
                    within.visit_item(item);
                    self.modules[module].named_within.extend(within.named);
                }
            }
        }
    }

    fn find_file(
        &mut self,
        root: &Path,
        folder: &Path,
        node: &syn::ItemMod,
        parent: usize,
        test: bool,
    ) -> Option<usize> {
        let name = plain(&node.ident);
        let inside = folder.join(&name);
        let declared = node.attrs.iter().find_map(path_attribute);
        let here = root.join(&self.files[self.modules[parent].file].path).parent().map(Path::to_path_buf)?;
        let (file, folder) = match declared {
            Some(path) => {
                let file = here.join(path);
                let folder = file.parent()?.to_path_buf();
                (file, folder)
            }
            None if folder.join(format!("{name}.rs")).exists() => (folder.join(format!("{name}.rs")), inside),
            None => (inside.join("mod.rs"), inside),
        };
        Some(self.read_file(root, below(root, &file), folder, Some(parent), test))
    }

    fn name(&mut self, item: &Item, module: usize) {
        let name = match item {
            Item::Const(node) => &node.ident,
            Item::Enum(node) => &node.ident,
            Item::Fn(node) => &node.sig.ident,
            Item::Static(node) => &node.ident,
            Item::Struct(node) => &node.ident,
            Item::Trait(node) => &node.ident,
            Item::TraitAlias(node) => &node.ident,
            Item::Type(node) => &node.ident,
            Item::Union(node) => &node.ident,
            Item::Macro(node) => match &node.ident {
                Some(name) => name,
                None => return,
            },
            Item::Use(node) => {
                for used in flatten(node) {
                    match used.name {
                        Some(name) => self.modules[module].named.push((name, used.path)),
                        None => self.modules[module].globs.push(used.path),
                    }
                }
                return;
            }
            Item::ForeignMod(node) => {
                for item in &node.items {
                    match item {
                        syn::ForeignItem::Fn(node) => self.modules[module].items.insert(plain(&node.sig.ident)),
                        syn::ForeignItem::Static(node) => self.modules[module].items.insert(plain(&node.ident)),
                        _ => false,
                    };
                }
                return;
            }
            _ => return,
        };
        self.modules[module].items.insert(plain(name));
    }

    /// A module inside another one.
    pub(crate) fn child(&self, module: usize, name: &str) -> Option<usize> {
        self.modules[module].children.get(name).copied()
    }

    /// The file that a module lies in.
    pub(crate) fn file_of(&self, module: usize) -> usize {
        self.modules[module].file
    }

    /// Where a path leads that is written in that module.
    pub(crate) fn resolve(&self, module: usize, path: &[String]) -> Target {
        self.lead(module, path, &mut HashSet::new())
    }

    fn lead(&self, module: usize, path: &[String], seen: &mut HashSet<(usize, String)>) -> Target {
        let mut here = module;
        let mut rest = path;
        let mut rooted = false;
        while let Some((first, others)) = rest.split_first() {
            here = match first.as_str() {
                "crate" => self.root(module),
                "self" => here,
                "super" => self.modules[here].parent.unwrap_or(here),
                name if name == LIBRARY && !rooted && self.is_beside_library(module) => self.library.unwrap_or(here),
                _ => break,
            };
            rooted = true;
            rest = others;
        }
        while let Some((name, others)) = rest.split_first() {
            let inside = !rooted;
            match self.find(here, name, others.is_empty(), inside, seen) {
                Some(Target::Module(module)) => here = module,
                Some(Target::Outside(mut path)) => {
                    path.extend(others.iter().cloned());
                    return Target::Outside(path);
                }
                Some(item) => return item,
                None if rooted => return Target::Item(here),
                None => return Target::Outside(rest.to_vec()),
            }
            rooted = true;
            rest = others;
        }
        Target::Module(here)
    }

    fn find(
        &self,
        module: usize,
        name: &str,
        last: bool,
        inside: bool,
        seen: &mut HashSet<(usize, String)>,
    ) -> Option<Target> {
        let node = &self.modules[module];
        if last && node.items.contains(name) {
            return Some(Target::Item(module));
        }
        let child = node.children.get(name).map(|child| Target::Module(*child));
        if !last && child.is_some() {
            return child;
        }
        if !seen.insert((module, name.to_string())) {
            return None;
        }
        let within = if inside { node.named_within.as_slice() } else { &[] };
        let named = node.named.iter().chain(within).filter(|(own, _)| own == name);
        let found: Vec<Target> = named.map(|(_, path)| self.lead(module, path, &mut seen.clone())).collect();
        // A name can stand for an item and for a module at once: a path ends at the item, and goes on in the module.
        let wanted = |target: &&Target| {
            if last { matches!(target, Target::Item(_)) } else { matches!(target, Target::Module(_)) }
        };
        let found = found.iter().find(wanted).or(found.first()).cloned();
        if let Some(found) = found.or(child) {
            return Some(found);
        }
        if node.items.contains(name) {
            return Some(Target::Item(module));
        }
        node.globs.iter().find_map(|glob| match self.lead(module, glob, &mut seen.clone()) {
            Target::Module(other) if other != module => self.find(other, name, last, false, seen),
            _ => None,
        })
    }

    fn root(&self, mut module: usize) -> usize {
        while let Some(parent) = self.modules[module].parent {
            module = parent;
        }
        module
    }

    fn is_beside_library(&self, module: usize) -> bool {
        self.library.is_some_and(|library| self.root(module) != library)
    }
}

/// The `use` items inside functions.
#[derive(Default)]
struct Within {
    named: Vec<(String, Vec<String>)>,
}

impl<'ast> Visit<'ast> for Within {
    fn visit_item(&mut self, node: &'ast Item) {
        if !is_for_tests(attributes(node)) {
            visit::visit_item(self, node);
        }
    }

    fn visit_item_use(&mut self, node: &'ast syn::ItemUse) {
        self.named.extend(flatten(node).into_iter().filter_map(|used| Some((used.name?, used.path))));
    }
}

/// Every name that a `use` brings.
pub(crate) fn flatten(node: &syn::ItemUse) -> Vec<Used> {
    fn walk(tree: &UseTree, before: &[String], used: &mut Vec<Used>) {
        let with = |name: &syn::Ident| match plain(name) {
            name if name == "self" && !before.is_empty() => before.to_vec(),
            name => before.iter().cloned().chain([name]).collect(),
        };
        match tree {
            UseTree::Path(node) => walk(&node.tree, &with(&node.ident), used),
            UseTree::Name(node) => {
                let path = with(&node.ident);
                used.push(Used { name: path.last().cloned(), path, line: node.ident.span().start().line });
            }
            UseTree::Rename(node) => used.push(Used {
                path: with(&node.ident),
                name: Some(plain(&node.rename)),
                line: node.ident.span().start().line,
            }),
            UseTree::Glob(node) => {
                used.push(Used { path: before.to_vec(), name: None, line: node.star_token.spans[0].start().line });
            }
            UseTree::Group(node) => node.items.iter().for_each(|tree| walk(tree, before, used)),
        }
    }
    let mut used = Vec::new();
    walk(&node.tree, &[], &mut used);
    used
}

/// An identifier without `r#`.
pub(crate) fn plain(name: &syn::Ident) -> String {
    name.to_string().trim_start_matches("r#").to_string()
}

/// An item's attributes.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(node) => &node.attrs,
        Item::Enum(node) => &node.attrs,
        Item::ExternCrate(node) => &node.attrs,
        Item::Fn(node) => &node.attrs,
        Item::ForeignMod(node) => &node.attrs,
        Item::Impl(node) => &node.attrs,
        Item::Macro(node) => &node.attrs,
        Item::Mod(node) => &node.attrs,
        Item::Static(node) => &node.attrs,
        Item::Struct(node) => &node.attrs,
        Item::Trait(node) => &node.attrs,
        Item::TraitAlias(node) => &node.attrs,
        Item::Type(node) => &node.attrs,
        Item::Union(node) => &node.attrs,
        Item::Use(node) => &node.attrs,
        _ => &[],
    }
}

/// The attributes of an implementation's item.
pub(crate) fn attributes_in_impl(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(node) => &node.attrs,
        ImplItem::Fn(node) => &node.attrs,
        ImplItem::Type(node) => &node.attrs,
        ImplItem::Macro(node) => &node.attrs,
        _ => &[],
    }
}

/// The attributes of a trait's item.
pub(crate) fn attributes_in_trait(item: &TraitItem) -> &[Attribute] {
    match item {
        TraitItem::Const(node) => &node.attrs,
        TraitItem::Fn(node) => &node.attrs,
        TraitItem::Type(node) => &node.attrs,
        TraitItem::Macro(node) => &node.attrs,
        _ => &[],
    }
}

/// Whether what has these attributes is only compiled for tests.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    fn wants_test(tokens: TokenStream) -> bool {
        let mut negated = false;
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(name) => {
                // `any` is left out too: what it guards may be compiled for something else.
                negated = name == "not" || name == "any";
                name == "test"
            }
            TokenTree::Group(group) => !std::mem::take(&mut negated) && wants_test(group.stream()),
            _ => false,
        })
    }
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => list.path.is_ident("cfg") && wants_test(list.tokens.clone()),
        Meta::NameValue(_) => false,
    })
}

fn path_attribute(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(node) = &attribute.meta else { return None };
    match &node.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) if node.path.is_ident("path") => {
            Some(text.value())
        }
        _ => None,
    }
}

fn list(root: &Path, folder: &Path, found: &mut Vec<String>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(below(root, &path));
        }
    }
}

fn below(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).expect("a path below src/");
    let names: Vec<_> = path.components().map(|name| name.as_os_str().to_string_lossy().into_owned()).collect();
    names.join("/")
}
