//! The proof, in memory, that a rewrite did what it should and nothing else.

use std::convert::Infallible;
use std::fmt;

use rustpython_ast::Fold;
use rustpython_parser::ast::{self, BoolOp, Expr, Ranged, Stmt};
use rustpython_parser::text_size::{TextRange, TextSize};

use super::first_offset;
use super::syntax::parse_at;
use crate::source::edit::{self, InsertedSpan, original_offset};
use crate::source::lines::{line_end, line_start};
use crate::source::marker::Marker;

/// In what way a rewrite is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// It is no text.
    NotText,
    /// It does not parse.
    Syntax(String),
    /// Something is in the tree that was not inserted, or is gone from it.
    Tree,
    /// Taking out what was inserted does not give the original.
    Revert,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::NotText => f.write_str("the rewritten file is no text"),
            Mismatch::Syntax(error) => write!(f, "the rewritten file does not parse: {error}"),
            Mismatch::Tree => {
                f.write_str("the rewritten file's syntax tree differs from the original's outside the edits")
            }
            Mismatch::Revert => f.write_str("the rewritten file cannot be turned back into the original"),
        }
    }
}

impl std::error::Error for Mismatch {}

/// Checks that `patched` parses, and that its tree is the original's, ranges included, once what lies inside the
/// inserted spans is taken out.
///
/// Only the lines of those statements of the outermost level that something was put into are parsed again. The others
/// are the same bytes between the same statements' ends, where a parser is in the state that it begins a module with:
/// their trees are the ones that were parsed.
///
/// # Errors
/// Where it is not so.
pub(crate) fn verify(text: &str, original: &[Stmt], patched: &str, spans: &[InsertedSpan]) -> Result<(), Mismatch> {
    let mut without = WithoutInsertions { spans };
    for region in regions(text, original, spans) {
        let (start, end) = (patched_offset(region.start, spans, false), patched_offset(region.end, spans, true));
        let part = patched.get(start..end).ok_or(Mismatch::NotText)?;
        let part = parse_at(part, start).map_err(|error| Mismatch::Syntax(error.to_string()))?;
        let part: Vec<Stmt> = part.into_iter().filter(|statement| !without.is_inserted(statement)).collect();
        let Ok(part) = without.fold(part);
        if part != original[region.statements] {
            return Err(Mismatch::Tree);
        }
    }
    Ok(())
}

/// Whole lines of the outermost level that belong together, and the statements in them.
#[derive(Debug, PartialEq, Eq)]
struct Region {
    start: usize,
    end: usize,
    statements: std::ops::Range<usize>,
}

/// The lines that insertions touch, together with the statements that reach into them.
fn regions(text: &str, module: &[Stmt], spans: &[InsertedSpan]) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    for span in spans {
        let region = region(text, module, span.offset);
        match regions.last_mut() {
            Some(last) if region.start < last.end || region == *last => {
                last.end = last.end.max(region.end);
                last.statements.end = last.statements.end.max(region.statements.end);
            }
            _ => regions.push(region),
        }
    }
    regions
}

/// The region around one offset: its line at least, since what is inserted may reach into the rest of it.
fn region(text: &str, module: &[Stmt], offset: usize) -> Region {
    let line_end_of = |statement: &Stmt| line_end(text, super::end(statement));
    let first = module.partition_point(|statement| line_end_of(statement) <= offset);
    let mut region = Region { start: line_start(text, offset), end: line_end(text, offset), statements: first..first };
    while let Some(statement) = module.get(region.statements.end).filter(|next| first_offset(next) < region.end) {
        region.start = region.start.min(line_start(text, first_offset(statement)));
        region.end = region.end.max(line_end_of(statement));
        region.statements.end += 1;
    }
    region
}

/// The offset in the patched text of an offset in the original; behind what was inserted there, or before it.
fn patched_offset(original: usize, spans: &[InsertedSpan], behind: bool) -> usize {
    let before = spans.iter().take_while(|span| span.offset < original || (behind && span.offset == original));
    original + before.map(|span| span.length).sum::<usize>()
}

/// Checks that the marker of `patched` leads back to `original`.
///
/// # Errors
/// Where it does not.
pub(crate) fn reverts(original: &[u8], sha256: &str, patched: &[u8]) -> Result<(), Mismatch> {
    let marker = Marker::find(patched).filter(|marker| marker.sha256 == sha256);
    let back = marker.and_then(|marker| edit::remove(patched, &marker.inserted));
    if back.as_deref() == Some(original) { Ok(()) } else { Err(Mismatch::Revert) }
}

/// Takes inserted nodes out of a tree and moves the others to where they were.
struct WithoutInsertions<'a> {
    spans: &'a [InsertedSpan],
}

impl WithoutInsertions<'_> {
    fn is_inserted(&self, node: &impl Ranged) -> bool {
        let (start, end) = (usize::from(node.start()), usize::from(node.end()));
        let mut shift = 0;
        self.spans.iter().any(|span| {
            let inside = span.offset + shift <= start && end <= span.offset + shift + span.length;
            shift += span.length;
            inside
        })
    }

    fn original(&self, offset: TextSize) -> TextSize {
        // An offset in the original is never larger than the parser's own of 32 bits.
        TextSize::new(original_offset(usize::from(offset), self.spans) as u32)
    }
}

impl Fold<TextRange> for WithoutInsertions<'_> {
    type TargetU = TextRange;
    type Error = Infallible;
    type UserContext = ();

    fn will_map_user(&mut self, _range: &TextRange) {}

    fn map_user(&mut self, range: TextRange, _context: ()) -> Result<TextRange, Infallible> {
        Ok(TextRange::new(self.original(range.start()), self.original(range.end())))
    }

    fn fold_expr_call(&mut self, mut call: ast::ExprCall) -> Result<ast::ExprCall, Infallible> {
        call.args.retain(|argument| !self.is_inserted(argument));
        call.keywords.retain(|keyword| !self.is_inserted(keyword));
        rustpython_ast::fold::fold_expr_call(self, call)
    }

    fn fold_expr(&mut self, expression: Expr) -> Result<Expr, Infallible> {
        match expression {
            Expr::BoolOp(mut node) if node.op == BoolOp::Or => {
                node.values.retain(|value| !self.is_inserted(value));
                if node.values.len() > 1 {
                    return rustpython_ast::fold::fold_expr(self, Expr::BoolOp(node));
                }
                match node.values.pop() {
                    Some(only) => self.fold_expr(only),
                    None => Ok(Expr::BoolOp(node)),
                }
            }
            other => rustpython_ast::fold::fold_expr(self, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::syntax::parse;
    use crate::source::edit::Insertion;

    fn verified(text: &str, insertions: &[(usize, &str)]) -> Result<(), Mismatch> {
        let insertions: Vec<Insertion> = insertions.iter().map(|(at, content)| Insertion::new(*at, *content)).collect();
        let spans: Vec<InsertedSpan> = insertions.iter().map(Insertion::span).collect();
        let patched = String::from_utf8(edit::insert(text.as_bytes(), &insertions)).unwrap();
        verify(text, &parse(text).unwrap(), &patched, &spans)
    }

    const TEXT: &str = "import a\n@d(1)\ndef f(x):\n    return g(x)\ny = 1; z = h(2)  # c\nw = '''\n'''\n";

    #[test]
    fn insertions_that_add_and_change_nothing_else_pass() {
        let call = TEXT.find("x)\ny").unwrap() + 1;
        let last = TEXT.find("2)").unwrap() + 1;
        assert_eq!(verified(TEXT, &[(9, "def k():\n    pass\n")]), Ok(()));
        assert_eq!(verified(TEXT, &[(9, "def k():\n  pass\n"), (call, ", c(b=k())"), (last, " or c(b=k())")]), Ok(()));
        assert_eq!(verified(TEXT, &[(0, "v = 0\n"), (TEXT.len(), "v = 0\n")]), Ok(()));
    }

    #[test]
    fn everything_else_is_a_mismatch() {
        let call = TEXT.find("x)\ny").unwrap() + 1;
        let cases: [(usize, &str); 9] = [
            (9, "def k(:\n"),
            (9, "'''"),
            (9, "if True:\n  "),
            (9, "async "),
            (call, ")("),
            (call, "+ 1"),
            (call, "y"),
            (TEXT.find("y = 1").unwrap(), "    "),
            (TEXT.find("'''\n'''").unwrap() + 3, "text"),
        ];
        for (offset, content) in cases {
            assert!(verified(TEXT, &[(offset, content)]).is_err(), "{content} at {offset}");
        }
    }

    #[test]
    fn a_region_is_whole_lines_and_whole_statements() {
        let module = parse(TEXT).unwrap();
        let around = |at| region(TEXT, &module, at);
        let inside = around(TEXT.find("x)\ny").unwrap() + 1);
        assert_eq!(&TEXT[inside.start..inside.end], "@d(1)\ndef f(x):\n    return g(x)\n");
        let shared = around(TEXT.find("h(2").unwrap());
        assert_eq!(&TEXT[shared.start..shared.end], "y = 1; z = h(2)  # c\n");
        assert_eq!(shared.statements, 2..4);
        assert_eq!(around(9), Region { start: 9, end: inside.end, statements: 1..2 });
        assert_eq!(around(TEXT.len()), Region { start: TEXT.len(), end: TEXT.len(), statements: 5..5 });
    }
}
