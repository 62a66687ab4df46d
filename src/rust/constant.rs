//! Lists of backends' names as a source writes them.

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Expr, ExprCall, ExprRange, Lit, Macro, Token};

use super::fact::{Fact, Locals, Names, Place, Why};
use super::names::{Segments, Value};

/// Methods whose result has the names of what they are called on.
const KEEPS: [&str; 15] = [
    "as_slice",
    "as_ref",
    "as_str",
    "iter",
    "into_iter",
    "copied",
    "cloned",
    "to_vec",
    "clone",
    "to_string",
    "to_owned",
    "into",
    "as_deref",
    "to_uppercase",
    "to_ascii_uppercase",
];
/// The longest list of backends.
const LONGEST: usize = 64;
/// How many expressions are searched for a read of the environment.
const SEARCHED: usize = 2_000;
/// The deepest chain of constants.
const DEEPEST: usize = 32;

/// What an expression is.
pub(super) fn fact(place: &Place, expression: &Expr) -> Fact {
    let agent = place.agent(expression);
    if agent != Fact::Other {
        return agent;
    }
    match names(place, expression) {
        Names::Unknown(_) => Fact::Other,
        names => Fact::Names(names),
    }
}

/// The names that an expression is.
pub(super) fn names(place: &Place, expression: &Expr) -> Names {
    of(place, expression, DEEPEST)
}

fn of(place: &Place, expression: &Expr, fuel: usize) -> Names {
    let Some(fuel) = fuel.checked_sub(1) else { return Names::Unknown(Why::Expression) };
    match expression {
        Expr::Paren(inner) => of(place, &inner.expr, fuel),
        Expr::Group(inner) => of(place, &inner.expr, fuel),
        Expr::Reference(inner) => of(place, &inner.expr, fuel),
        Expr::Cast(inner) => of(place, &inner.expr, fuel),
        Expr::Try(inner) => of(place, &inner.expr, fuel),
        Expr::Index(list) if matches!(list.index.as_ref(), Expr::Range(range) if is_full(range)) => {
            of(place, &list.expr, fuel)
        }
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Names::Constant(vec![text.value()]),
            _ => Names::Unknown(Why::Expression),
        },
        Expr::Array(array) => all(place, array.elems.iter(), fuel),
        Expr::Macro(call) if call.mac.path.is_ident("vec") => of_vec(place, &call.mac, fuel),
        Expr::Path(path) if path.qself.is_none() => of_path(place, &Segments::of(&path.path), fuel),
        Expr::MethodCall(call) if KEEPS.iter().any(|keeps| call.method == keeps) && call.args.is_empty() => {
            match of(place, &call.receiver, fuel) {
                Names::Unknown(_) => read(place, expression),
                names => names,
            }
        }
        Expr::Call(call) if is_string_from(call) => {
            call.args.first().map_or(Names::Unknown(Why::Expression), |argument| of(place, argument, fuel))
        }
        _ => read(place, expression),
    }
}

/// Whether a range is `..`.
fn is_full(range: &ExprRange) -> bool {
    range.start.is_none() && range.end.is_none()
}

fn is_string_from(call: &ExprCall) -> bool {
    let Expr::Path(callee) = call.func.as_ref() else { return false };
    Segments::of(&callee.path).to_string() == "String::from" && call.args.len() == 1
}

fn of_path(place: &Place, path: &Segments, fuel: usize) -> Names {
    if let Some(local) = path.single().and_then(|name| place.local(name)) {
        return match local {
            Fact::Names(names) => names.clone(),
            _ => Names::Unknown(Why::Expression),
        };
    }
    match place.scopes.value(place.scope, path) {
        Some((Value::Constant(value), scope)) => {
            of(&Place { scope, locals: &Locals::default(), ..*place }, value, fuel)
        }
        _ => Names::Unknown(Why::Expression),
    }
}

fn of_vec(place: &Place, call: &Macro, fuel: usize) -> Names {
    let elements = call.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated);
    elements.map_or(Names::Unknown(Why::Expression), |elements| all(place, elements.iter(), fuel))
}

fn all<'e>(place: &Place, elements: impl Iterator<Item = &'e Expr>, fuel: usize) -> Names {
    let mut constant = Vec::new();
    for element in elements {
        match of(place, element, fuel) {
            Names::Constant(names) if constant.len() < LONGEST => constant.extend(names),
            Names::Constant(_) => return Names::Unknown(Why::Expression),
            other => return other,
        }
    }
    Names::Constant(constant)
}

/// Whether an expression reads an environment variable: by itself, or in a function of this file that it calls.
fn read(place: &Place, expression: &Expr) -> Names {
    let mut reads = Reads { found: None, called: Vec::new(), left: SEARCHED };
    reads.visit_expr(expression);
    for path in std::mem::take(&mut reads.called) {
        if let Some((Value::Function(function), _)) = place.scopes.value(place.scope, &path) {
            reads.visit_block(&function.block);
        }
    }
    reads.found.map_or(Names::Unknown(Why::Expression), Names::Environment)
}

/// Looks for `std::env::var(…)` and for functions named `from_env`.
struct Reads {
    found: Option<Option<String>>,
    called: Vec<Segments>,
    /// How many more expressions are searched.
    left: usize,
}

impl<'ast> Visit<'ast> for Reads {
    fn visit_expr(&mut self, expression: &'ast Expr) {
        if self.found.is_some() || self.left == 0 {
            return;
        }
        self.left -= 1;
        visit::visit_expr(self, expression);
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Expr::Path(callee) = call.func.as_ref() {
            let path = Segments::of(&callee.path);
            let text = path.to_string();
            if ["env::var", "env::var_os"].iter().any(|read| text == *read || text.ends_with(&format!("::{read}"))) {
                self.found.get_or_insert(call.args.first().and_then(text_of));
            } else if path.last() == "from_env" {
                self.found.get_or_insert(None);
            } else {
                self.called.push(path);
            }
        }
        visit::visit_expr_call(self, call);
    }
}

fn text_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}
