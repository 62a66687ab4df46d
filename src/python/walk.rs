//! The expressions inside an expression.

use rustpython_parser::ast::{Arguments, Expr};

/// Calls `visit` for each direct child of `expression` that is evaluated in the same scope: lambdas and comprehensions
/// open scopes of their own, so nothing in them is visited.
pub(super) fn children<'a>(expression: &'a Expr, visit: &mut dyn FnMut(&'a Expr)) {
    match expression {
        Expr::BoolOp(node) => node.values.iter().for_each(visit),
        Expr::NamedExpr(node) => [&node.target, &node.value].into_iter().for_each(|child| visit(child)),
        Expr::BinOp(node) => [&node.left, &node.right].into_iter().for_each(|child| visit(child)),
        Expr::UnaryOp(node) => visit(&node.operand),
        Expr::IfExp(node) => [&node.test, &node.body, &node.orelse].into_iter().for_each(|child| visit(child)),
        Expr::Dict(node) => {
            node.keys.iter().flatten().for_each(&mut *visit);
            node.values.iter().for_each(visit);
        }
        Expr::Set(node) => node.elts.iter().for_each(visit),
        Expr::Await(node) => visit(&node.value),
        Expr::Yield(node) => node.value.iter().for_each(|child| visit(child)),
        Expr::YieldFrom(node) => visit(&node.value),
        Expr::Compare(node) => {
            visit(&node.left);
            node.comparators.iter().for_each(visit);
        }
        Expr::Call(node) => {
            visit(&node.func);
            node.args.iter().for_each(&mut *visit);
            node.keywords.iter().for_each(|keyword| visit(&keyword.value));
        }
        Expr::FormattedValue(node) => {
            visit(&node.value);
            node.format_spec.iter().for_each(|child| visit(child));
        }
        Expr::JoinedStr(node) => node.values.iter().for_each(visit),
        Expr::Attribute(node) => visit(&node.value),
        Expr::Subscript(node) => [&node.value, &node.slice].into_iter().for_each(|child| visit(child)),
        Expr::Starred(node) => visit(&node.value),
        Expr::List(node) => node.elts.iter().for_each(visit),
        Expr::Tuple(node) => node.elts.iter().for_each(visit),
        Expr::Slice(node) => {
            [&node.lower, &node.upper, &node.step].into_iter().flatten().for_each(|child| visit(child));
        }
        Expr::Lambda(_) | Expr::ListComp(_) | Expr::SetComp(_) | Expr::DictComp(_) | Expr::GeneratorExp(_) => {}
        Expr::Constant(_) | Expr::Name(_) => {}
    }
}

/// The default values of parameters, which are evaluated in the scope of the definition.
pub(super) fn defaults(arguments: &Arguments) -> impl Iterator<Item = &Expr> {
    let with_default = arguments.posonlyargs.iter().chain(&arguments.args).chain(&arguments.kwonlyargs);
    with_default.filter_map(|argument| argument.default.as_deref())
}

/// All parameters in order, with their annotations.
pub(super) fn parameters(arguments: &Arguments) -> impl Iterator<Item = &rustpython_parser::ast::Arg> {
    let positional = arguments.posonlyargs.iter().chain(&arguments.args).map(|argument| &argument.def);
    let keyword = arguments.kwonlyargs.iter().map(|argument| &argument.def);
    positional.chain(arguments.vararg.as_deref()).chain(keyword).chain(arguments.kwarg.as_deref())
}
