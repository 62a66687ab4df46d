//! What a file names outside itself: its imports, what it prints and ends the process with, and what it compares.

use std::collections::HashSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Expr, Item, Meta, Pat};

use super::modules::{self, House, Target, is_for_tests, plain};
use super::rules;

/// A name of another file.
#[derive(Clone)]
pub(crate) struct Import {
    /// Where it is named.
    pub line: usize,
    /// The file that it is named in.
    pub from: usize,
    /// The file that defines it.
    pub to: usize,
    /// Whether the path says by itself where it leads: a `use`, or a path from `crate`, `self` or `super`.
    pub plain: bool,
    /// Whether it is a module, whose items are then named one by one.
    pub module: bool,
}

/// What one file names.
#[derive(Default)]
pub(crate) struct Names {
    /// Names of other files.
    pub imports: Vec<Import>,
    /// What prints or ends the process: line, and the macro or the function's path.
    pub speech: Vec<(usize, String)>,
    /// Comparisons of a typed value with text: line, and the value's name.
    pub comparisons: Vec<(usize, String)>,
}

/// Reads one file; what is only compiled for tests is passed over.
pub(crate) fn read(house: &House, file: usize) -> Names {
    let source = &house.files[file];
    if source.test_only {
        return Names::default();
    }
    let mut reader = Reader { house, file, module: source.module, names: Names::default() };
    reader.visit_file(&source.tree);
    reader.names
}

struct Reader<'a> {
    house: &'a House,
    file: usize,
    module: usize,
    names: Names,
}

impl Reader<'_> {
    fn follow(&mut self, path: &[String], line: usize, is_use: bool) {
        let (module, is_module) = match self.house.resolve(self.module, path) {
            Target::Module(module) => (module, true),
            Target::Item(module) => (module, false),
            Target::Outside(path) => {
                let path = path.join("::").replacen("core::", "std::", 1);
                if !is_use && rules::ENDING.contains(&path.as_str()) {
                    self.names.speech.push((line, path));
                }
                return;
            }
        };
        let to = self.house.file_of(module);
        if to != self.file && (is_use || !is_module) {
            let plain = is_use || is_anchor(&path[0]);
            self.names.imports.push(Import { line, from: self.file, to, plain, module: is_module });
        }
    }

    /// A macro's body and an attribute's arguments are read word by word.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is =
            |at: usize, sign: char| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == sign);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(name) => {
                    let line = name.span().start().line;
                    let member = at > 0 && is(at - 1, '.') && !(at > 1 && is(at - 2, '.'));
                    let mut path = vec![plain(name)];
                    while let (true, true, Some(TokenTree::Ident(next))) =
                        (is(at + 1, ':'), is(at + 2, ':'), tokens.get(at + 3))
                    {
                        path.push(plain(next));
                        at += 3;
                    }
                    if is(at + 1, '!') && !is(at + 2, '=') {
                        self.spoken(&path, line);
                    }
                    if member && path == ["exit_process"] {
                        self.names.speech.push((line, "ExitCode::exit_process".into()));
                    } else if !member && !is_bare(&path) {
                        self.follow(&path, line, false);
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// A macro by that name.
    fn spoken(&mut self, path: &[String], line: usize) {
        let name = path.last().expect("a path has a segment");
        let standard = path.len() == 1 || path[0] == "std";
        if standard && rules::PRINTING.contains(&name.as_str()) {
            self.names.speech.push((line, format!("{name}!")));
        }
    }

    fn compared(&mut self, value: &Expr, line: usize) {
        if let Some(name) = value_name(value).filter(|name| rules::TYPED.contains(&name.as_str())) {
            self.names.comparisons.push((line, name));
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, node: &'ast Item) {
        if !is_for_tests(modules::attributes(node)) {
            visit::visit_item(self, node);
        }
    }

    fn visit_impl_item(&mut self, node: &'ast syn::ImplItem) {
        if !is_for_tests(modules::attributes_in_impl(node)) {
            visit::visit_impl_item(self, node);
        }
    }

    fn visit_trait_item(&mut self, node: &'ast syn::TraitItem) {
        if !is_for_tests(modules::attributes_in_trait(node)) {
            visit::visit_trait_item(self, node);
        }
    }

    fn visit_local(&mut self, node: &'ast syn::Local) {
        if !is_for_tests(&node.attrs) {
            visit::visit_local(self, node);
        }
    }

    fn visit_field(&mut self, node: &'ast syn::Field) {
        if !is_for_tests(&node.attrs) {
            visit::visit_field(self, node);
        }
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        if !is_for_tests(&node.attrs) {
            visit::visit_arm(self, node);
        }
    }

    fn visit_expr_block(&mut self, node: &'ast syn::ExprBlock) {
        if !is_for_tests(&node.attrs) {
            visit::visit_expr_block(self, node);
        }
    }

    fn visit_item_mod(&mut self, node: &'ast syn::ItemMod) {
        let Some(child) = self.house.child(self.module, &plain(&node.ident)) else { return };
        if node.content.is_some() {
            let outer = std::mem::replace(&mut self.module, child);
            visit::visit_item_mod(self, node);
            self.module = outer;
        }
    }

    fn visit_item_use(&mut self, node: &'ast syn::ItemUse) {
        for used in modules::flatten(node) {
            self.follow(&used.path, used.line, true);
            // A glob of a module may bring anything that the module's own file defines.
            if used.name.is_none()
                && let Target::Module(module) = self.house.resolve(self.module, &used.path)
                && self.house.file_of(module) != self.file
            {
                let to = self.house.file_of(module);
                self.names.imports.push(Import { line: used.line, from: self.file, to, plain: true, module: false });
            }
        }
    }

    /// `pub(super)` and `pub(in path)` name a module and use nothing of it.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, node: &'ast syn::Path) {
        let path: Vec<String> = node.segments.iter().map(|segment| plain(&segment.ident)).collect();
        if !is_bare(&path) {
            self.follow(&path, node.span().start().line, false);
        }
        visit::visit_path(self, node);
    }

    fn visit_macro(&mut self, node: &'ast syn::Macro) {
        let path: Vec<String> = node.path.segments.iter().map(|segment| plain(&segment.ident)).collect();
        self.spoken(&path, node.path.span().start().line);
        self.visit_path(&node.path);
        self.scan(node.tokens.clone());
    }

    fn visit_attribute(&mut self, node: &'ast Attribute) {
        match &node.meta {
            Meta::List(list) => self.scan(list.tokens.clone()),
            Meta::NameValue(node) => self.visit_expr(&node.value),
            Meta::Path(_) => {}
        }
    }

    fn visit_expr_method_call(&mut self, node: &'ast syn::ExprMethodCall) {
        if node.method == "exit_process" {
            self.names.speech.push((node.method.span().start().line, "ExitCode::exit_process".into()));
        }
        // Asking whether a stream is a terminal prints nothing.
        if !(node.method == "is_terminal" && is_stream(&node.receiver)) {
            visit::visit_expr_method_call(self, node);
        }
    }

    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        if matches!(node.op, BinOp::Eq(_) | BinOp::Ne(_)) {
            for (value, other) in [(&node.left, &node.right), (&node.right, &node.left)] {
                if is_text(other) {
                    self.compared(value, node.span().start().line);
                }
            }
        }
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_match(&mut self, node: &'ast syn::ExprMatch) {
        if let Some(arm) = node.arms.iter().find(|arm| is_text_pattern(&arm.pat)) {
            self.compared(&node.expr, arm.pat.span().start().line);
        }
        visit::visit_expr_match(self, node);
    }
}

/// `self`, `super` or `crate` alone.
fn is_bare(path: &[String]) -> bool {
    path.len() == 1 && is_anchor(&path[0])
}

fn is_anchor(name: &str) -> bool {
    ["crate", "self", "super"].contains(&name)
}

/// `io::stdout()` or `io::stderr()`.
fn is_stream(value: &Expr) -> bool {
    let Expr::Call(call) = value else { return false };
    let Expr::Path(function) = &*call.func else { return false };
    function.path.segments.last().is_some_and(|last| last.ident == "stdout" || last.ident == "stderr")
}

/// The field or the variable that a value is taken from: `stage` of `failure.stage.as_str()`.
fn value_name(value: &Expr) -> Option<String> {
    match value {
        Expr::Path(node) => node.path.segments.last().map(|segment| plain(&segment.ident)),
        Expr::Field(node) => match &node.member {
            syn::Member::Named(name) => Some(plain(name)),
            syn::Member::Unnamed(_) => None,
        },
        Expr::MethodCall(node) => value_name(&node.receiver),
        Expr::Reference(node) => value_name(&node.expr),
        Expr::Unary(node) => value_name(&node.expr),
        Expr::Paren(node) => value_name(&node.expr),
        _ => None,
    }
}

/// `"efa"` or `Some("efa")`.
fn is_text(value: &Expr) -> bool {
    match value {
        Expr::Lit(node) => matches!(node.lit, syn::Lit::Str(_)),
        Expr::Call(node) => node.args.len() == 1 && node.args.iter().all(is_text),
        _ => false,
    }
}

fn is_text_pattern(pattern: &Pat) -> bool {
    match pattern {
        Pat::Lit(node) => matches!(node.lit, syn::Lit::Str(_)),
        Pat::Or(node) => node.cases.iter().any(is_text_pattern),
        Pat::TupleStruct(node) => node.elems.iter().any(is_text_pattern),
        _ => false,
    }
}

/// One import a file and line and file imported, a plain one before another one.
pub(crate) fn distinct(mut imports: Vec<Import>) -> Vec<Import> {
    imports.sort_by_key(|import| (import.from, import.to, !import.plain, import.line));
    let mut seen = HashSet::new();
    imports.retain(|import| seen.insert((import.from, import.to, import.line, import.module)));
    imports
}
