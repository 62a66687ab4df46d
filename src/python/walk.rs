//! The expressions inside an expression or a statement, a call by its name, and the names in a pattern.

use rustpython_parser::ast::{Arguments, ExceptHandler, Expr, ExprCall, Pattern, Stmt, StmtIf};

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

/// The iterables, conditions and results of a comprehension.
pub(super) fn comprehension_parts(expression: &Expr) -> Vec<&Expr> {
    let (generators, results): (_, Vec<&Expr>) = match expression {
        Expr::ListComp(node) => (&node.generators, vec![&node.elt]),
        Expr::SetComp(node) => (&node.generators, vec![&node.elt]),
        Expr::GeneratorExp(node) => (&node.generators, vec![&node.elt]),
        Expr::DictComp(node) => (&node.generators, vec![&node.key, &node.value]),
        _ => return Vec::new(),
    };
    generators
        .iter()
        .flat_map(|generator| std::iter::once(&generator.iter).chain(&generator.ifs))
        .chain(results)
        .collect()
}

/// The arms of an `if` with its `elif`s and `else`: condition and body. An `elif` is an `if` alone in the `else` before
/// it, so a chain of thousands is as deep.
pub(super) fn if_arms(first: &StmtIf) -> Vec<(Option<&Expr>, &[Stmt])> {
    let mut arms: Vec<(Option<&Expr>, &[Stmt])> = vec![(Some(&first.test), &first.body)];
    let mut orelse = first.orelse.as_slice();
    while let [Stmt::If(next)] = orelse {
        arms.push((Some(&next.test), &next.body));
        orelse = &next.orelse;
    }
    if !orelse.is_empty() {
        arms.push((None, orelse));
    }
    arms
}

/// The expressions of a statement itself, not those of the statements in it.
pub(super) fn expressions_of<'a>(statement: &'a Stmt, visit: &mut dyn FnMut(&'a Expr)) {
    match statement {
        Stmt::Return(node) => node.value.iter().for_each(|value| visit(value)),
        Stmt::Delete(node) => node.targets.iter().for_each(visit),
        Stmt::Assign(node) => node.targets.iter().chain(std::iter::once(node.value.as_ref())).for_each(visit),
        Stmt::AnnAssign(node) => node.value.iter().for_each(|value| visit(value)),
        Stmt::AugAssign(node) => visit(&node.value),
        Stmt::For(node) => visit(&node.iter),
        Stmt::AsyncFor(node) => visit(&node.iter),
        Stmt::While(node) => visit(&node.test),
        Stmt::If(node) => visit(&node.test),
        Stmt::With(node) => node.items.iter().for_each(|item| visit(&item.context_expr)),
        Stmt::AsyncWith(node) => node.items.iter().for_each(|item| visit(&item.context_expr)),
        Stmt::Match(node) => {
            visit(&node.subject);
            node.cases.iter().filter_map(|case| case.guard.as_deref()).for_each(visit);
        }
        Stmt::Raise(node) => node.exc.iter().chain(&node.cause).for_each(|child| visit(child)),
        Stmt::Assert(node) => std::iter::once(&node.test).chain(&node.msg).for_each(|child| visit(child)),
        Stmt::Expr(node) => visit(&node.value),
        Stmt::FunctionDef(node) => {
            node.decorator_list.iter().for_each(&mut *visit);
            defaults(&node.args).for_each(visit);
        }
        Stmt::AsyncFunctionDef(node) => {
            node.decorator_list.iter().for_each(&mut *visit);
            defaults(&node.args).for_each(visit);
        }
        Stmt::ClassDef(node) => {
            node.decorator_list.iter().chain(&node.bases).for_each(&mut *visit);
            node.keywords.iter().for_each(|keyword| visit(&keyword.value));
        }
        _ => {}
    }
}

/// The statements inside a statement, body by body.
pub(super) fn bodies(statement: &Stmt) -> Vec<&[Stmt]> {
    match statement {
        Stmt::FunctionDef(node) => vec![&node.body],
        Stmt::AsyncFunctionDef(node) => vec![&node.body],
        Stmt::ClassDef(node) => vec![&node.body],
        Stmt::For(node) => vec![&node.body, &node.orelse],
        Stmt::AsyncFor(node) => vec![&node.body, &node.orelse],
        Stmt::While(node) => vec![&node.body, &node.orelse],
        Stmt::If(node) => vec![&node.body, &node.orelse],
        Stmt::With(node) => vec![&node.body],
        Stmt::AsyncWith(node) => vec![&node.body],
        Stmt::Match(node) => node.cases.iter().map(|case| case.body.as_slice()).collect(),
        Stmt::Try(node) => {
            let handlers = node.handlers.iter().map(|ExceptHandler::ExceptHandler(handler)| handler.body.as_slice());
            [node.body.as_slice(), &node.orelse, &node.finalbody].into_iter().chain(handlers).collect()
        }
        Stmt::TryStar(node) => {
            let handlers = node.handlers.iter().map(|ExceptHandler::ExceptHandler(handler)| handler.body.as_slice());
            [node.body.as_slice(), &node.orelse, &node.finalbody].into_iter().chain(handlers).collect()
        }
        _ => Vec::new(),
    }
}

/// The statements inside a statement, body by body, to be changed.
pub(super) fn bodies_mut(statement: &mut Stmt) -> Vec<&mut [Stmt]> {
    match statement {
        Stmt::FunctionDef(node) => vec![&mut node.body],
        Stmt::AsyncFunctionDef(node) => vec![&mut node.body],
        Stmt::ClassDef(node) => vec![&mut node.body],
        Stmt::For(node) => vec![&mut node.body, &mut node.orelse],
        Stmt::AsyncFor(node) => vec![&mut node.body, &mut node.orelse],
        Stmt::While(node) => vec![&mut node.body, &mut node.orelse],
        Stmt::If(node) => vec![&mut node.body, &mut node.orelse],
        Stmt::With(node) => vec![&mut node.body],
        Stmt::AsyncWith(node) => vec![&mut node.body],
        Stmt::Match(node) => node.cases.iter_mut().map(|case| case.body.as_mut_slice()).collect(),
        Stmt::Try(node) => {
            let handlers =
                node.handlers.iter_mut().map(|ExceptHandler::ExceptHandler(handler)| handler.body.as_mut_slice());
            [node.body.as_mut_slice(), &mut node.orelse, &mut node.finalbody].into_iter().chain(handlers).collect()
        }
        Stmt::TryStar(node) => {
            let handlers =
                node.handlers.iter_mut().map(|ExceptHandler::ExceptHandler(handler)| handler.body.as_mut_slice());
            [node.body.as_mut_slice(), &mut node.orelse, &mut node.finalbody].into_iter().chain(handlers).collect()
        }
        _ => Vec::new(),
    }
}

/// The last name of what is called: `c` of `a.b.c()`.
pub(super) fn last_name(callee: &Expr) -> Option<&str> {
    match callee {
        Expr::Name(name) => Some(&name.id),
        Expr::Attribute(attribute) => Some(&attribute.attr),
        _ => None,
    }
}

/// The arguments of `cast(kind, value)`, which is its value.
pub(super) fn cast(call: &ExprCall) -> Option<&[Expr; 2]> {
    let is_plain = last_name(&call.func) == Some("cast")
        && call.keywords.is_empty()
        && !call.args.iter().any(Expr::is_starred_expr);
    is_plain.then(|| call.args.as_slice().try_into().ok()).flatten()
}

/// The names that a pattern binds; of what is bound to an attribute, the attribute's name.
pub(super) fn pattern_names<'a>(pattern: &'a Pattern, visit: &mut dyn FnMut(&'a str, Option<&'a str>)) {
    pattern_of(pattern, None, visit);
}

fn pattern_of<'a>(pattern: &'a Pattern, attribute: Option<&'a str>, visit: &mut dyn FnMut(&'a str, Option<&'a str>)) {
    match pattern {
        Pattern::MatchValue(_) | Pattern::MatchSingleton(_) => {}
        Pattern::MatchSequence(node) => node.patterns.iter().for_each(|inner| pattern_of(inner, None, visit)),
        Pattern::MatchMapping(node) => {
            node.patterns.iter().for_each(|inner| pattern_of(inner, None, visit));
            node.rest.iter().for_each(|name| visit(name, None));
        }
        Pattern::MatchClass(node) => {
            node.patterns.iter().for_each(|inner| pattern_of(inner, None, visit));
            let attributes = node.kwd_attrs.iter().zip(&node.kwd_patterns);
            attributes.for_each(|(name, inner)| pattern_of(inner, Some(name), visit));
        }
        Pattern::MatchStar(node) => node.name.iter().for_each(|name| visit(name, None)),
        Pattern::MatchAs(node) => {
            node.pattern.iter().for_each(|inner| pattern_of(inner, attribute, visit));
            node.name.iter().for_each(|name| visit(name, attribute));
        }
        Pattern::MatchOr(node) => node.patterns.iter().for_each(|inner| pattern_of(inner, attribute, visit)),
    }
}
