//! The block manager's way to a backend, in dynamo-llm's `src/block_manager/distributed/worker.rs` and
//! `src/block_manager/state/resources.rs`: a `match` or an `if let` of `agent.get_plugin_params("UCX")`, with
//! `agent.create_backend("UCX", …)` in it. Such a statement is repeated for each backend that the variable names, in a
//! closure: one that cannot be made ends its own round alone.

use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Expr, ExprAwait, ExprBreak, ExprContinue, ExprIf, ExprLit, ExprMatch, ExprMethodCall, ExprReturn, ExprYield, Lit,
    Macro, Stmt,
};

use super::site::Repeat;
use super::syntax::Source;
use super::tokens;

/// The backend that the statement names.
const UCX: &str = "UCX";
/// What leads out of the statement, or cannot be in a closure, where a macro has it.
const LEAVING: [&str; 5] = ["return", "break", "continue", "await", "yield"];

/// A statement that can be repeated.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    /// Its place.
    pub range: Range<usize>,
    /// What is inserted in it.
    pub repeat: Repeat,
}

/// The statement, if it is one of those.
pub(super) fn statement(source: &Source, statement: &Stmt) -> Option<Statement> {
    let Stmt::Expr(expression, _) = statement else { return None };
    let asked = match expression {
        Expr::Match(ExprMatch { expr, .. }) => expr.as_ref(),
        Expr::If(ExprIf { cond, .. }) => match cond.as_ref() {
            Expr::Let(condition) => condition.expr.as_ref(),
            _ => return None,
        },
        _ => return None,
    };
    let Expr::MethodCall(asked) = asked else { return None };
    let agent = call_of(asked, "get_plugin_params")?;
    let mut found = Found { agent, created: Vec::new(), literals: Vec::new(), leaves: false };
    found.visit_expr(expression);
    let [created] = found.created.as_slice() else { return None };
    if found.leaves {
        return None;
    }
    let range = source.range(statement.span());
    let literals = found.literals.iter().map(|literal| source.range(literal.span())).collect();
    let (lines, indent) = (lines(source, &range), indent(source.text, range.start));
    let repeat = Repeat { literals, created: source.range(created.span()), lines, indent };
    Some(Statement { range, repeat })
}

/// The variable that this method is called on, with UCX.
fn call_of(call: &ExprMethodCall, method: &str) -> Option<String> {
    let Expr::Path(receiver) = call.receiver.as_ref() else { return None };
    let named = call.args.first().is_some_and(is_ucx);
    (call.method == method && named).then_some(receiver.path.get_ident()?.to_string())
}

fn is_ucx(expression: &Expr) -> bool {
    matches!(expression, Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if text.value() == UCX)
}

struct Found<'a> {
    agent: String,
    /// What names the backend where one is created.
    created: Vec<&'a Expr>,
    literals: Vec<&'a ExprLit>,
    /// Whether it ends the function or a loop around it, goes on with that, or waits.
    leaves: bool,
}

impl<'a> Visit<'a> for Found<'a> {
    fn visit_expr_method_call(&mut self, call: &'a ExprMethodCall) {
        if call_of(call, "create_backend").as_ref() == Some(&self.agent) {
            self.created.extend(call.args.first());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_lit(&mut self, literal: &'a ExprLit) {
        if matches!(&literal.lit, Lit::Str(text) if text.value() == UCX) {
            self.literals.push(literal);
        }
    }

    fn visit_expr_break(&mut self, _: &'a ExprBreak) {
        self.leaves = true;
    }

    fn visit_expr_continue(&mut self, _: &'a ExprContinue) {
        self.leaves = true;
    }

    fn visit_expr_return(&mut self, _: &'a ExprReturn) {
        self.leaves = true;
    }

    fn visit_expr_await(&mut self, _: &'a ExprAwait) {
        self.leaves = true;
    }

    fn visit_expr_yield(&mut self, _: &'a ExprYield) {
        self.leaves = true;
    }

    fn visit_macro(&mut self, node: &'a Macro) {
        self.leaves |= tokens::names(&node.tokens, &LEAVING);
    }
}

/// The starts of the statement's lines after the first, which get a deeper indentation. None where a token spans lines:
/// its text would change.
fn lines(source: &Source, range: &Range<usize>) -> Vec<usize> {
    let text = &source.text[range.clone()];
    let spans_lines = |token: &tokens::Token| token.text.contains('\n');
    if text.parse().map_or(true, |tokens| tokens::flat(tokens).iter().any(spans_lines)) {
        return Vec::new();
    }
    let starts = text.match_indices('\n').map(|(at, _)| range.start + at + 1);
    starts.filter(|start| !source.text[*start..].starts_with(['\n', '\r'])).collect()
}

/// The blanks that a line begins with.
fn indent(text: &str, offset: usize) -> String {
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    text[start..offset].chars().take_while(|blank| blank.is_whitespace()).collect()
}
