//! Whether `?` in a function takes an `anyhow::Error`, as the inserted code gives one.

use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{
    Block, ExprAsync, ExprClosure, GenericArgument, Item, Macro, Path, PathArguments, ReturnType, Signature, Type,
};

use super::names::{Meaning, ScopeId, Scopes, Segments, Why};

/// Macros of anyhow that return its error from the function around them.
const RETURNING: [&str; 2] = ["bail", "ensure"];

/// Whether it certainly does: by the function's type, or where a glob import hides what that is, because the function
/// returns such an error by `anyhow::bail!`.
pub(super) fn takes_anyhow(scopes: &Scopes, scope: ScopeId, signature: &Signature, block: &Block) -> bool {
    let ReturnType::Type(_, returned) = &signature.output else { return false };
    let Type::Path(returned) = returned.as_ref() else { return false };
    if returned.qself.is_some() || !has_default_error(&returned.path) {
        return false;
    }
    let path = Segments::of(&returned.path);
    match scopes.resolve(scope, &path) {
        Meaning::Foreign(names) => names == ["anyhow", "Result"],
        Meaning::Unknown(Why::Glob) if path.single() == Some("Result") => {
            let mut found = Returning { scopes, scope, is_there: false };
            found.visit_block(block);
            found.is_there
        }
        _ => false,
    }
}

/// `Result<T>`, not `Result<T, E>`.
fn has_default_error(path: &Path) -> bool {
    match path.segments.last().map(|last| &last.arguments) {
        Some(PathArguments::AngleBracketed(list)) => {
            list.args.iter().filter(|it| matches!(it, GenericArgument::Type(_))).count() <= 1
        }
        _ => true,
    }
}

/// Looks for a macro that returns anyhow's error from the function itself.
struct Returning<'s, 'a> {
    scopes: &'s Scopes<'a>,
    scope: ScopeId,
    is_there: bool,
}

impl<'ast> Visit<'ast> for Returning<'_, '_> {
    fn visit_macro(&mut self, node: &'ast Macro) {
        let named =
            node.path.segments.last().is_some_and(|last| RETURNING.iter().any(|name| last.ident.unraw() == name));
        let meaning = || self.scopes.resolve(self.scope, &Segments::of(&node.path));
        self.is_there |=
            named && matches!(meaning(), Meaning::Foreign(names) if names.len() == 2 && names[0] == "anyhow");
        visit::visit_macro(self, node);
    }

    fn visit_expr_closure(&mut self, _: &'ast ExprClosure) {}

    fn visit_expr_async(&mut self, _: &'ast ExprAsync) {}

    fn visit_item(&mut self, _: &'ast Item) {}
}
