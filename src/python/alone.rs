//! A simple statement that stands alone on its lines: it can be read again without what is around it.

use rustpython_parser::ast::Stmt;

use super::span::{end, start};
use super::walk;
use crate::source::lines::{line_end, line_start};
use crate::source::near;
use crate::source::offset::TextOffset;

/// How many blocks around it are looked through: each `elif` is in the one before it, and there can be thousands.
const DEPTH: usize = 16;

/// A simple statement, with what follows it on its last line.
pub(super) struct Alone<'a> {
    /// The statement.
    pub statement: &'a Stmt,
    /// Its first token.
    pub start: TextOffset,
    /// The start of the line after it.
    pub end: TextOffset,
}

/// The one around an offset that is neither its start nor its end. `last` is the number of the top-level statement that
/// the search before this one ended at.
pub(super) fn around<'a>(text: &str, module: &'a [Stmt], offset: TextOffset, last: &mut usize) -> Option<Alone<'a>> {
    *last = near::partition_point(module, *last, |statement| end(statement) <= offset);
    let statement = innermost(&module[*last..], offset).filter(|statement| is_simple(statement))?;
    let (start, end_of_statement) = (start(statement), end(statement));
    let line = line_start(text, start);
    let end = line_end(text, end_of_statement);
    let goes_on = text[..line.0].trim_end_matches(['\n', '\r']).ends_with('\\');
    let rest = text[end_of_statement.0..end.0].trim_matches(BLANK);
    let is_alone = text[line.0..start.0].trim_start_matches(BLANK).is_empty()
        && (rest.is_empty() || rest.starts_with(['#', '\n', '\r']));
    (is_alone && !goes_on).then_some(Alone { statement, start, end })
}

/// What can be before a statement on its line.
const BLANK: [char; 3] = [' ', '\t', '\x0c'];

/// The innermost statement around an offset; the first one ends behind it.
fn innermost(module: &[Stmt], offset: TextOffset) -> Option<&Stmt> {
    let mut statement = module.first().filter(|first| start(*first) < offset)?;
    for _ in 0..DEPTH {
        match walk::bodies(statement).into_iter().find_map(|body| containing(body, offset)) {
            Some(inner) => statement = inner,
            None => return Some(statement),
        }
    }
    None
}

fn containing(body: &[Stmt], offset: TextOffset) -> Option<&Stmt> {
    let number = body.partition_point(|statement| end(statement) <= offset);
    body.get(number).filter(|statement| start(*statement) < offset)
}

/// Whether the first token of a statement is where its node begins, and no block follows it.
fn is_simple(statement: &Stmt) -> bool {
    matches!(
        statement,
        Stmt::Return(_)
            | Stmt::Assign(_)
            | Stmt::AnnAssign(_)
            | Stmt::AugAssign(_)
            | Stmt::Expr(_)
            | Stmt::Raise(_)
            | Stmt::Assert(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::syntax::parse;

    /// The text of the statement around `call`.
    fn found(text: &str) -> Option<&str> {
        let module = parse(text).unwrap();
        let offset = TextOffset(text.find("call").unwrap() + 1);
        around(text, &module, offset, &mut 0).map(|alone| &text[alone.start.0..alone.end.0])
    }

    #[test]
    fn a_statement_on_lines_of_its_own_is_found() {
        assert_eq!(found("x = 1\ncall(2)  # y\nz"), Some("call(2)  # y\n"));
        assert_eq!(found("def f():\n\treturn call(\n2)"), Some("return call(\n2)"));
        assert_eq!(found("if x:\n    pass\nelif y:\n    a = b = call()\r\n\r\n"), Some("a = b = call()\r\n"));
        assert_eq!(
            found("try:\n  a\nexcept E:\n  raise call() \\\n    from x\n"),
            Some("raise call() \\\n    from x\n")
        );
        assert_eq!(found("(  # (\n  call(2))\n"), Some("(  # (\n  call(2))\n"));
        assert_eq!(found("(\ncall(2)\n)\n"), Some("(\ncall(2)\n)\n"));
        assert_eq!(found("(\ncall(2)\n).x = (\n1)\n"), Some("(\ncall(2)\n).x = (\n1)\n"));
    }

    #[test]
    fn others_are_not() {
        for text in [
            "x; call(2)\n",
            "call(2); x\n",
            "call(2);\n",
            "if x: call(2)\n",
            "if x: \\\n  call(2)\n",
            "if call(2): pass\n",
            "with call(2) as x:\n    pass\n",
            "@call\ndef f(): pass\n",
            "def f(x=call(2)):\n    return x\n",
            "del call.x\n",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
        let chain: String = (0..2 * DEPTH).map(|number| format!("elif x{number}:\n    y\n")).collect();
        assert_eq!(found(&format!("if x:\n    y\n{chain}else:\n    call()\n")), None);
    }
}
