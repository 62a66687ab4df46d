//! The arguments of a call.

use rustpython_parser::ast::{Constant, Expr, ExprCall};

use super::super::span::end;
use crate::source::offset::TextOffset;

/// The argument at a position or of this name.
pub(super) fn argument<'a>(call: &'a ExprCall, position: usize, name: &str) -> Option<&'a Expr> {
    call.args.get(position).or_else(|| keyword(call, name))
}

/// The argument of this name.
pub(super) fn keyword<'a>(call: &'a ExprCall, name: &str) -> Option<&'a Expr> {
    let named = call.keywords.iter().find(|keyword| keyword.arg.as_ref().is_some_and(|arg| arg.as_str() == name));
    named.map(|keyword| &keyword.value)
}

/// Why a call's arguments cannot be told apart.
pub(super) fn unclear(call: &ExprCall) -> Option<&'static str> {
    if call.args.iter().any(rustpython_ast::Expr::is_starred_expr) {
        return Some("its arguments are unpacked from a sequence (`*`)");
    }
    if call.keywords.iter().any(|keyword| keyword.arg.is_none()) {
        return Some("its arguments are unpacked from a mapping (`**`)");
    }
    if call.args.iter().any(rustpython_ast::Expr::is_generator_exp_expr) {
        return Some("its argument is a generator expression");
    }
    None
}

/// Whether an expression is the constant None.
pub(super) fn is_none(expression: &Expr) -> bool {
    expression.as_constant_expr().is_some_and(|constant| constant.value == Constant::None)
}

/// The end of a call's last argument, before a trailing comma and the call's closing parenthesis.
pub(super) fn after_last(text: &str, call: &ExprCall) -> TextOffset {
    let close = end(call).0 - 1;
    let values = call.args.iter().chain(call.keywords.iter().map(|keyword| &keyword.value));
    let Some(last) = values.map(end).max() else { return TextOffset(close) };
    // An argument's node does not include the parentheses around it.
    let TextOffset(mut offset) = last;
    let mut rest = offset;
    let bytes = text.as_bytes();
    while rest < close && bytes[rest] != b',' {
        match bytes[rest] {
            b'#' => rest = memchr::memchr2(b'\n', b'\r', &bytes[rest..close]).map_or(close, |newline| rest + newline),
            b')' => {
                rest += 1;
                offset = rest;
            }
            _ => rest += 1,
        }
    }
    TextOffset(offset)
}
