//! The backends that an installed NIXL uses where nobody names any: the default of `nixl_agent_config`'s `backends`.
//!
//! Source: `_api.py` of NIXL 0.2.0 to 1.5.1, `def __init__(self, …, backends: list[str] = ["UCX"], …)`, and
//! `self.backends = backends` in its body. Image builds that change the default change one of the two.

use rustpython_parser::ast::{Constant, Expr, Stmt, StmtClassDef, StmtFunctionDef, Suite};

use super::span::{end, start};
use super::syntax::{parse, parse_at};
use crate::source::offset::TextOffset;

/// The class.
const CLASS: &str = "nixl_agent_config";
/// Its parameter and attribute.
const BACKENDS: &str = "backends";

/// What an unnamed backend means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NixlDefault {
    /// These names.
    Names(Vec<String>),
    /// Whatever this expression gives.
    Computed(String),
}

/// The default in the source of NIXL's `_api.py`; None where it has no such class, or is not understood.
pub(crate) fn of(text: &str) -> Option<NixlDefault> {
    let alone = parse_class(text).filter(|part| class_in(part).is_some());
    let module = alone.or_else(|| parse(text).ok())?;
    let class = class_in(&module)?;
    let functions = class.body.iter().filter_map(Stmt::as_function_def_stmt);
    let init = functions.into_iter().find(|function| function.name.as_str() == "__init__")?;
    let value = assigned(init).filter(|value| value.as_name_expr().is_none()).or_else(|| default(init))?;
    Some(names(value).map_or_else(|| NixlDefault::Computed(source(text, value)), NixlDefault::Names))
}

fn class_in(module: &[Stmt]) -> Option<&StmtClassDef> {
    module.iter().filter_map(Stmt::as_class_def_stmt).find(|class| class.name.as_str() == CLASS)
}

/// The class alone, where nothing but the statement that defines it can be meant: a tree of the whole module takes ten times as
/// long.
fn parse_class(text: &str) -> Option<Suite> {
    let header = format!("\nclass {CLASS}");
    let mut all = text.match_indices(&header);
    let (Some((before, _)), None) = (all.next(), all.next()) else { return None };
    let class = &text[before + 1..];
    let is_beyond = |line: &&str| line.starts_with(|c: char| !c.is_whitespace() && !"#)]}".contains(c));
    let length: usize = class
        .split_inclusive('\n')
        .enumerate()
        .take_while(|(at, line)| *at == 0 || !is_beyond(line))
        .map(|(_, line)| line.len())
        .sum();
    parse_at(&class[..length], TextOffset(before + 1)).ok()
}

fn default(init: &StmtFunctionDef) -> Option<&Expr> {
    let parameters = init.args.posonlyargs.iter().chain(&init.args.args).chain(&init.args.kwonlyargs);
    parameters.into_iter().find(|parameter| parameter.def.arg.as_str() == BACKENDS)?.default.as_deref()
}

/// What the constructor assigns to the attribute.
fn assigned(init: &StmtFunctionDef) -> Option<&Expr> {
    init.body.iter().filter_map(Stmt::as_assign_stmt).find_map(|assign| {
        let mut targets = assign.targets.iter().filter_map(Expr::as_attribute_expr);
        targets.any(|target| target.attr.as_str() == BACKENDS).then_some(assign.value.as_ref())
    })
}

fn names(value: &Expr) -> Option<Vec<String>> {
    let items = match value {
        Expr::List(list) => &list.elts,
        Expr::Tuple(tuple) => &tuple.elts,
        _ => return None,
    };
    items
        .iter()
        .map(|item| match &item.as_constant_expr()?.value {
            Constant::Str(name) => Some(name.clone()),
            _ => None,
        })
        .collect()
}

fn source(text: &str, expression: &Expr) -> String {
    text.get(start(expression).0..end(expression).0).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(parameter: &str, assigned: &str) -> Option<NixlDefault> {
        of(&format!(
            "class nixl_agent_config:\n    def __init__(self, a=1, {parameter}, b=2):\n        self.backends = {assigned}\n"
        ))
    }

    #[test]
    fn the_default_is_read_from_the_signature_or_the_body() {
        let names = |names: &[&str]| Some(NixlDefault::Names(names.iter().map(ToString::to_string).collect()));
        assert_eq!(with("backends: list[str] = [\"UCX\"]", "backends"), names(&["UCX"]));
        assert_eq!(with("backends=['LIBFABRIC', 'UCX']", "backends"), names(&["LIBFABRIC", "UCX"]));
        assert_eq!(with("backends=None", "['LIBFABRIC']"), names(&["LIBFABRIC"]));
        let computed = Some(NixlDefault::Computed("backends or [os.environ['B']]".into()));
        assert_eq!(with("backends=None", "backends or [os.environ['B']]"), computed);
        let init = "    def __init__(self, backends=both()):\n        self.backends = backends\n";
        for (before, after) in [
            ("import os\n", "\n\nother = 1\n"),
            ("", "    x = '''\nnot indented\n'''\n# a comment\n    y = 1\n"),
            ("s = '''\nclass nixl_agent_config:\n    pass\n'''\n", "class other:\n    pass\n"),
            ("if s:\n    pass\n", "def f(:\n"),
            ("", "class nixl_agent_config_of_another:\n    pass\n"),
        ] {
            let found = of(&format!("{before}class nixl_agent_config:\n{init}{after}"));
            assert_eq!(found, Some(NixlDefault::Computed("both()".into())), "{before}{after}");
        }
        assert_eq!(of("class other: pass\n"), None);
        assert_eq!(of("class nixl_agent_config(:\n"), None);
    }
}
