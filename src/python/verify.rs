//! The proof, in memory, that a rewrite did what it should and nothing else.

use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::Range;

use rustc_hash::FxHashSet;
use rustpython_ast::Fold;
use rustpython_parser::ast::{self, BoolOp, Expr, Ranged, Stmt};
use rustpython_parser::text_size::{TextRange, TextSize};
use thiserror::Error;

use super::agent_call::Edited;
use super::alone;
use super::encoding::SourceText;
use super::span::{end, first_offset, from_parser, start, to_parser};
use super::syntax::form::Forms;
use super::syntax::parse_at;
use crate::source::edit::{Inserted, InsertedSpan};
use crate::source::lines::{line_end, line_start};
use crate::source::marker::{self, Comment};
use crate::source::near;
use crate::source::offset::TextOffset;

/// In what way a rewrite is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Mismatch {
    /// Its bytes are not the rewritten text in the file's encoding.
    #[error("the rewritten file does not decode to the rewritten text")]
    Text,
    /// It does not parse.
    #[error("the rewritten file does not parse: {0}")]
    Syntax(String),
    /// Its tree lacks something, or has something that was not inserted.
    #[error("the rewritten file's syntax tree differs from the original's outside the insertions")]
    Tree,
    /// Removing the insertions does not give the original.
    #[error("the rewritten file cannot be reverted to the original")]
    Revert,
}

/// A module before the rewrite.
pub(crate) struct Tree<'a> {
    /// Its text.
    pub text: &'a str,
    /// Its statements.
    pub module: &'a [Stmt],
    /// Whether nothing was left out of them.
    pub is_whole: bool,
    /// The statements that were left out although something is inserted into them, in order.
    pub edited: &'a [Edited],
}

impl Tree<'_> {
    /// All statements of a region.
    fn statements(&self, region: &Region) -> Result<Cow<'_, [Stmt]>, Mismatch> {
        if self.is_whole {
            return Ok(Cow::Borrowed(&self.module[region.statements.clone()]));
        }
        read(self.text, region.start..region.end).map(Cow::Owned)
    }
}

/// The statements in a part of a text.
fn read(text: &str, part: Range<TextOffset>) -> Result<Vec<Stmt>, Mismatch> {
    let text = text.get(part.start.0..part.end.0).ok_or(Mismatch::Text)?;
    parse_at(text, part.start).map_err(|error| Mismatch::Syntax(error.to_string()))
}

/// Checks that `patched` parses, and that its tree without the nodes inside the insertions is the original's, ranges
/// included.
///
/// Only what something was inserted into is parsed again. A simple statement alone on its lines is: no bracket or string
/// is open around it, its indentation stays, and the grammar reads it the same in every block. Elsewhere, it is the lines
/// of the top-level statements. The rest is the same bytes between the ends of the same statements, where the parser's
/// state is that of a new module, so its tree is that of the original.
///
/// # Errors
/// Where it does not parse, or the trees differ.
pub(crate) fn verify(original: &Tree, patched: &str, spans: &[InsertedSpan<TextOffset>]) -> Result<(), Mismatch> {
    let (text, module) = (original.text, original.module);
    let mut proof = Proof {
        text,
        patched,
        spans,
        inserted: Inserted::new(spans),
        forms: Forms::default(),
        proven: FxHashSet::default(),
    };
    let mut regions: Vec<Region> = Vec::new();
    let (mut at, mut last) = (0, 0);
    let mut edited = original.edited.iter().peekable();
    let mut left_out = |offset: TextOffset| {
        while edited.next_if(|it| it.offset < offset).is_some() {}
        let it = edited.next_if(|it| it.offset == offset)?;
        Some((it.start, it.end))
    };
    while let Some(span) = spans.get(at) {
        // Many insertions can lie in one statement, and a region is whole lines.
        if regions.last().is_some_and(|last| span.offset < last.end) {
            at += 1;
        } else if let Some((start, end)) = left_out(span.offset) {
            at = proof.statement((start, end), None, at)?;
        } else if let Some(alone) = alone::around(text, module, span.offset, &mut last) {
            at = proof.statement((alone.start, alone.end), Some(alone.statement), at)?;
        } else {
            add(&mut regions, region(text, module, span.offset));
            at += 1;
        }
    }
    regions.iter().try_for_each(|region| proof.region(region, &original.statements(region)?))
}

/// The most forms that are remembered.
const REMEMBERED: usize = 1 << 12;

/// What is compared, and what was found to be right.
struct Proof<'a> {
    text: &'a str,
    patched: &'a str,
    spans: &'a [InsertedSpan<TextOffset>],
    inserted: Inserted<'a, TextOffset>,
    forms: Forms<'a>,
    /// The forms of statements with one insertion that were found to be right. Another statement of the same form is
    /// right too.
    proven: FxHashSet<Box<[u8]>>,
}

impl Proof<'_> {
    /// Checks one statement that is alone on its lines, which the insertion of this number is the first in. Without its
    /// node, it is read again. Returns the number of the first insertion behind it.
    fn statement(
        &mut self,
        (from, to): (TextOffset, TextOffset),
        node: Option<&Stmt>,
        first: usize,
    ) -> Result<usize, Mismatch> {
        let behind = near::partition_point(self.spans, first, |span| span.offset < to);
        let spans = &self.spans[first..behind];
        let (first_span, last_span) = (spans[0], spans[spans.len() - 1]);
        let start = self.inserted.start(first) - (first_span.offset.0 - from.0);
        let end = self.inserted.start(behind - 1) + last_span.length + (to.0 - last_span.offset.0);
        let part = self.patched.get(start..end).ok_or(Mismatch::Text)?;
        let text = self.text;
        let prove = || match node {
            Some(node) => compare(part, from, spans, std::slice::from_ref(node)),
            None => compare(part, from, spans, &read(text, from..to)?),
        };
        let [span] = spans else { return prove().map(|()| behind) };
        let inserted = span.offset.0 - from.0..span.offset.0 - from.0 + span.length;
        let (before, after) = (part.get(..inserted.start), part.get(inserted.end..));
        if before != text.get(from.0..span.offset.0) || after != text.get(span.offset.0..to.0) {
            return Err(Mismatch::Tree);
        }
        let form = self.forms.of(part, &inserted);
        if !self.proven.contains(form) {
            prove()?;
            if self.proven.len() < REMEMBERED {
                self.proven.insert(form.into());
            }
        }
        Ok(behind)
    }

    /// Checks whole lines.
    fn region(&self, region: &Region, original: &[Stmt]) -> Result<(), Mismatch> {
        let number = |passed: &dyn Fn(TextOffset) -> bool| self.spans.partition_point(|span| passed(span.offset));
        let spans = number(&|offset| offset < region.start)..number(&|offset| offset <= region.end);
        let start = self.inserted.patched(region.start.0, false);
        let end = self.inserted.patched(region.end.0, true);
        let part = self.patched.get(start..end).ok_or(Mismatch::Text)?;
        compare(part, region.start, &self.spans[spans], original)
    }
}

/// Checks that a part of the rewritten text is these statements, but for the insertions in it. Without them, it begins at
/// `start`.
fn compare(
    part: &str,
    start: TextOffset,
    spans: &[InsertedSpan<TextOffset>],
    original: &[Stmt],
) -> Result<(), Mismatch> {
    // Counted from the original's place, its offsets are those that it would have with these insertions alone.
    let part = parse_at(part, start).map_err(|error| Mismatch::Syntax(error.to_string()))?;
    let mut without = WithoutInsertions { inserted: Inserted::new(spans) };
    let part: Vec<Stmt> = part.into_iter().filter(|statement| !without.is_inserted(statement)).collect();
    let Ok(part) = without.fold(part);
    if part == original { Ok(()) } else { Err(Mismatch::Tree) }
}

/// Adds a region to those before it.
fn add(regions: &mut Vec<Region>, region: Region) {
    match regions.last_mut() {
        Some(last) if region.start < last.end || region == *last => {
            last.end = last.end.max(region.end);
            last.statements.end = last.statements.end.max(region.statements.end);
        }
        _ => regions.push(region),
    }
}

/// Whole lines with the top-level statements in them.
#[derive(Debug, PartialEq, Eq)]
struct Region {
    start: TextOffset,
    end: TextOffset,
    statements: Range<usize>,
}

/// The region around one offset: at least its line, since an insertion may affect the rest of it, and between two places
/// where the module can be cut.
fn region(text: &str, module: &[Stmt], offset: TextOffset) -> Region {
    let mut first = module.partition_point(|statement| line_end(text, end(statement)) <= offset);
    let mut last = (first + 1).min(module.len());
    let start = loop {
        match cut_before(text, module, first) {
            Some(cut) if cut <= line_start(text, offset) => break cut,
            _ if first == 0 => break TextOffset(0),
            _ => first -= 1,
        }
    };
    let end = loop {
        match cut_before(text, module, last) {
            Some(cut) if cut >= line_end(text, offset) => break cut,
            _ if last == module.len() => break TextOffset(text.len()),
            _ => last += 1,
        }
    };
    Region { start, end, statements: first..last }
}

/// The first line that belongs to no statement before `number`; None where that statement begins on a line of the one
/// before it. A statement's node does not include the parentheses around it: those that close the one before come first,
/// then those that open this one.
fn cut_before(text: &str, module: &[Stmt], number: usize) -> Option<TextOffset> {
    let Some(before) = number.checked_sub(1).and_then(|before| module.get(before)) else { return Some(TextOffset(0)) };
    let from = end(before).0;
    let to = module.get(number).map_or(text.len(), |statement| first_offset(text, statement).0);
    let gap = &text.as_bytes()[from..to];
    let (mut cut, mut at) = (None, 0);
    while at < gap.len() {
        match gap[at] {
            b'(' => break,
            b')' => cut = None,
            b'#' => at += memchr::memchr2(b'\n', b'\r', &gap[at..]).map_or(gap.len() - at, |newline| newline - 1),
            b'\\' => at += 1,
            b'\n' | b'\r' if cut.is_none() => cut = Some(line_end(text, TextOffset(from + at))),
            _ => {}
        }
        at += 1;
    }
    cut.or_else(|| (number == module.len()).then_some(TextOffset(text.len())))
}

/// Checks that Python reads `patched` as `text`: `verify` has seen the text alone.
///
/// # Errors
/// Where it does not decode to that.
pub(crate) fn decodes(patched: &[u8], text: &str) -> Result<(), Mismatch> {
    let same = SourceText::decode(patched).is_ok_and(|source| source.text() == text);
    if same { Ok(()) } else { Err(Mismatch::Text) }
}

/// Checks that the marker of `patched` leads back to `original`.
///
/// # Errors
/// Where it does not.
pub(crate) fn reverts(original: &[u8], sha256: &str, patched: &[u8]) -> Result<(), Mismatch> {
    let back = marker::leads_back(patched, Comment::Hash, sha256, original);
    if back { Ok(()) } else { Err(Mismatch::Revert) }
}

/// Removes inserted nodes from a tree and gives the others the ranges that they had.
struct WithoutInsertions<'a> {
    inserted: Inserted<'a, TextOffset>,
}

impl WithoutInsertions<'_> {
    fn is_inserted(&self, node: &impl Ranged) -> bool {
        self.inserted.contains(start(node).0, end(node).0)
    }

    fn original(&self, offset: TextSize) -> TextSize {
        to_parser(TextOffset(self.inserted.original(from_parser(offset).0)))
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
    use crate::source::edit::{self, Insertion};

    fn verified(text: &str, insertions: &[(usize, &str)]) -> Result<(), Mismatch> {
        let insertion = |(at, content): &(usize, &str)| Insertion::new(TextOffset(*at), *content);
        let insertions: Vec<_> = insertions.iter().map(insertion).collect();
        let spans: Vec<_> = insertions.iter().map(Insertion::span).collect();
        let patched = edit::insert(text, &insertions);
        let module = parse(text).unwrap();
        let whole = verify(&Tree { text, module: &module, is_whole: true, edited: &[] }, &patched, &spans);
        assert_eq!(verify(&Tree { text, module: &module, is_whole: false, edited: &[] }, &patched, &spans), whole);
        let around = |span: &InsertedSpan<TextOffset>| {
            let alone = alone::around(text, &module, span.offset, &mut 0)?;
            Some(Edited { offset: span.offset, start: alone.start, end: end(alone.statement) })
        };
        let edited: Vec<Edited> = spans.iter().filter_map(around).collect();
        let result = verify(&Tree { text, module: &module, is_whole: false, edited: &edited }, &patched, &spans);
        assert_eq!(result.is_ok(), whole.is_ok(), "{result:?}");
        whole
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
    fn a_statement_is_proved_without_its_block() {
        let text = "class A:\n    def f(self):\n        if x:\n            return g(1)\n        h(\n2)  # c\n        return g(1)\n";
        let places: Vec<usize> = text.match_indices("(1)").map(|(at, _)| at + 2).collect();
        let [first, last] = places[..] else { panic!("{places:?}") };
        let inside = text.find("2)").unwrap() + 1;
        assert_eq!(verified(text, &[(first, ", c(3)"), (inside, ", c(3)"), (last, ", c(3)")]), Ok(()));
        assert_eq!(verified(text, &[(first, ", b"), (first + 1, "(c)"), (last, ", b")]), Err(Mismatch::Tree));
        for wrong in [")(", ")\n        x = (", ", '", "; y"] {
            assert!(verified(text, &[(first, ", c(3)"), (last, wrong)]).is_err(), "after one that is right: {wrong}");
            assert!(verified(text, &[(first, wrong), (last, ", c(3)")]).is_err(), "{wrong}");
        }
        assert!(verified(text, &[(inside + 1, "  x")]).is_err(), "behind it, on its line");
    }

    #[test]
    fn statements_of_one_form_are_proved_by_the_first() {
        let text = "def f(a):\n    return g(a, b=1)\ndef h(c):\n    return i(c, d=1)\n    return i(c, e=1)\n";
        let places: Vec<usize> = text.match_indices("=1)").map(|(at, _)| at + 2).collect();
        let insertions = |last| [(places[0], ", e=j()"), (places[1], ", e=j()"), (places[2], last)];
        assert_eq!(verified(text, &insertions(", b=j()")), Ok(()));
        assert!(verified(text, &insertions(", e=j()")).is_err(), "the argument is there already");
        let changed = [(places[0], ", e=j()"), (places[1], "), j("), (places[2], ", b=j()")];
        assert_eq!(verified(text, &changed), Err(Mismatch::Tree));
        let module = parse(text).unwrap();
        let insertions = insertions(", b=j()").map(|(at, content)| Insertion::new(TextOffset(at), content));
        let spans: Vec<_> = insertions.iter().map(Insertion::span).collect();
        let patched = edit::insert(text, &insertions);
        for (one, other) in [("i(c, d", "i(k, d"), ("i(c, e=1,", "i(c, e=1 ,")] {
            let wrong = patched.replace(one, other);
            assert_ne!(wrong, patched);
            let tree = Tree { text, module: &module, is_whole: true, edited: &[] };
            assert!(verify(&tree, &wrong, &spans).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parentheses_around_a_statement_are_not_cut_off() {
        for text in [
            "1;(\ng(2))\n",
            "(\n\ng(2)\n)\ny = 1\n",
            "x = 1\n(  # )\n(g(2)  # (\n)\n)\n",
            "(g(2)); (\nx)",
            "(\rg(2)\r)\ry\r",
        ] {
            let call = text.find("2)").unwrap() + 1;
            assert_eq!(verified(text, &[(0, "v = 0\n"), (call, ", c(3)")]), Ok(()), "{text}");
            assert!(verified(text, &[(call, ")(")]).is_err(), "{text}");
        }
    }

    #[test]
    fn a_region_is_whole_lines_and_whole_statements() {
        let module = parse(TEXT).unwrap();
        let around = |at| region(TEXT, &module, TextOffset(at));
        let inside = around(TEXT.find("x)\ny").unwrap() + 1);
        assert_eq!(&TEXT[inside.start.0..inside.end.0], "@d(1)\ndef f(x):\n    return g(x)\n");
        let shared = around(TEXT.find("h(2").unwrap());
        assert_eq!(&TEXT[shared.start.0..shared.end.0], "y = 1; z = h(2)  # c\n");
        assert_eq!(shared.statements, 2..4);
        assert_eq!(around(9), Region { start: TextOffset(9), end: inside.end, statements: 1..2 });
        let last = TextOffset(TEXT.len());
        assert_eq!(around(TEXT.len()), Region { start: last, end: last, statements: 5..5 });
    }
}
