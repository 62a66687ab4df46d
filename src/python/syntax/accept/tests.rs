//! What is accepted without the grammar, against the grammar.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rustpython_parser::ast::{self, Ranged, Stmt};
use rustpython_parser::text_size::TextSize;

use super::*;
use crate::python::encoding::SourceText;
use crate::python::span;
use crate::python::syntax::lexer::Lexer;
use crate::python::syntax::{Kept, outline, parse_alone, parse_rest, parse_without};
use crate::threads::STACK_BYTES;

/// Whether every line of a text is accepted.
fn accepted(text: &str) -> bool {
    let mut lexer = Lexer::new(text, TextSize::default());
    loop {
        match lexer.read_line() {
            Ok(Some(_)) if form(&lexer.line).is_some() => {}
            end => return matches!(end, Ok(None)),
        }
    }
}

#[test]
fn what_is_common_is_accepted() {
    for line in [
        "x = y = 1; z += 2;",
        "x: int = f(a, *b, k=1, **c)",
        "x[1:2, ::3, y:=4] = (a, *b), [*c], {*d}, {}, (), [], {1: 2, **e}, {**f,}",
        "del x, (y), z[0]",
        "return not -a ** +b @ c if await d else lambda x, *y, z=1, **k: x",
        "return",
        "raise A(b) from c",
        "assert x, 'a' b'' if y else u'\\x41\\n'",
        "yield",
        "x = yield from y",
        "[x async for x, *y in z if a if b for c in d]",
        "f(x for x in y)",
        "{x: y for x, y in z}; {x for x in y}; (x for x in y)",
        "x = (yield y), a < b <= c is not d not in e, x if y else z",
        "from ... import (a as b, c,)",
        "from .a.b import c",
        "import a.b as c, d",
        "global x, y",
        "@a.b(c)",
        "async def f(a, /, b: int = 1, *c: d, e, f=2, **g) -> h: pass",
        "def f(a, b=1, *, c, d=2,):",
        "class C(A, metaclass=M): x = 1",
        "for x, *y in z, a: pass",
        "async with a as b, c as (d, e):",
        "with (yield): pass",
        "except* (A, B) as c:",
        "except A, B:",
        "f'{x!r:>{y}}' 'a' f'{z=}'",
        "x = '\\d' '\\u0041'",
        "match(x)",
    ] {
        let unsure = line.starts_with("with (") || line.contains("\\u") || line.starts_with("assert");
        assert_eq!(accepted(line), !unsure, "{line}");
    }
}

#[test]
fn what_the_grammar_refuses_is_not_accepted() {
    for line in [
        "x = ",
        "x y",
        "f(a=1, a=2)",
        "f(a=1, b)",
        "f(**a, *b)",
        "f(a, , b)",
        "def f(a, a): pass",
        "def f(a=1, b): pass",
        "def f(*): pass",
        "def f(**k, a): pass",
        "def f(a, /, /): pass",
        "lambda *: 1",
        "lambda x, x: 1",
        "(*a)",
        "[x for]",
        "{1: 2, 3}",
        "{1, 2: 3}",
        "{**a, b}",
        "x[y:=1:2]",
        "x[]",
        "a < > b",
        "not",
        "b'a' 'b'",
        "b'\u{e9}'",
        "'\\xg'",
        "'\\N'",
        "import a.b.",
        "from a import",
        "from import b",
        "from . import (a",
        "raise from x",
        "for x in: pass",
        "if x",
        "if x: if y: pass",
        "else x:",
        "with a as: pass",
        "except as x: pass",
        "try x: pass",
        "class C(: pass",
        "async x",
        "async if x: pass",
        "@",
        "yield = 1",
        "x: int: str",
        "a, b: int",
        "lambda: (yield",
        "return yield x",
        "f(x for x in y, z=)",
        "pass pass",
        "*",
        "x.1",
        "print x",
    ] {
        assert!(parse_alone(line).is_err(), "the grammar accepts {line}");
        assert!(!accepted(line), "{line}");
    }
}

#[test]
fn clauses_follow_one_another_as_the_grammar_has_them() {
    let header =
        ["if a:", "elif a:", "else:", "try:", "except A:", "except* A:", "finally:", "for a in b:", "while a:"];
    let mut lines = vec!["x".to_string(), "@d".to_string()];
    lines.extend(
        header
            .iter()
            .chain(&["def g(): pass", "with a:"])
            .map(|header| header.replace("pass", "").replace(':', ": pass")),
    );
    let mut sure = 0;
    for first in &lines {
        for second in &lines {
            for third in lines.iter().chain([&String::new()]) {
                let text = format!("def f():\n  {first}\n  {second}\n  {third}\n");
                sure += usize::from(left_out_is_whole(&text).unwrap() > 0);
            }
        }
    }
    assert!(sure > 100, "{sure}");
}

#[test]
fn a_semicolon_at_the_end_of_a_class_is_not_part_of_it() {
    assert!(
        left_out_is_whole("class C:\n    x = 1\n    def f(self):\n        return 1;\n\nclass D:\n    y = 2;\n")
            .unwrap()
            > 0
    );
}

/// Looks at nothing.
#[derive(Clone)]
struct Nothing;

impl outline::Look for Nothing {
    fn line(&mut self, _line: &[Spanned]) -> Option<()> {
        Some(())
    }

    fn append(&mut self, _after: Self, _first: usize) {}
}

/// Leaves out all that is accepted; how many bytes that is. Some problem where the rest is Python and the whole is not,
/// or has other statements; None where the lexer refuses it.
fn left_out_is_whole(text: &str) -> Option<usize> {
    let (outline, _) = outline::read(text, &Nothing)?;
    let accepted = outline.units.iter().filter(|unit| unit.accepted);
    let left_out: Vec<Range<usize>> = accepted.map(|unit| outline.span(unit)).collect();
    if let Some(rest) = parse_without(text, &left_out) {
        let whole = parse_alone(text).unwrap_or_else(|error| panic!("{error}, without {left_out:?} none:\n{text}"));
        let whole: Vec<Stmt> = without(text, whole, &mut left_out.as_slice());
        assert_eq!(format!("{rest:?}"), format!("{whole:?}"), "{text}");
    }
    let units = outline.units.iter().filter(|unit| outline.is_undecorated(unit));
    let kept: Vec<Kept> = units.map(|unit| Kept { span: outline.span(unit), judged: None }).collect();
    if let Some(copied) = parse_rest(text, &[], &kept) {
        assert_eq!(parse_alone(text).as_ref(), Ok(&copied.module), "{text}");
    }
    Some(left_out.iter().map(Range::len).sum())
}

/// A tree with `pass` in the place of what is left out.
fn without(text: &str, body: Vec<Stmt>, left_out: &mut &[Range<usize>]) -> Vec<Stmt> {
    let mut kept = Vec::new();
    for mut statement in body {
        let start = span::first_offset(text, &statement).0;
        while left_out.first().is_some_and(|range| range.end <= start) {
            *left_out = &left_out[1..];
        }
        if let Some(range) = left_out.first().filter(|range| range.start <= start) {
            let place = |at: usize| TextSize::new(u32::try_from(at).unwrap());
            let range = ast::text_size::TextRange::new(place(range.start), place(range.end));
            assert!(range.contains_range(statement.range()), "{range:?} in {text}");
            if kept.last().is_none_or(|last: &Stmt| last.range() != range) {
                kept.push(Stmt::Pass(ast::StmtPass { range }));
            }
            continue;
        }
        bodies(&mut statement, &mut |inner| *inner = without(text, std::mem::take(inner), left_out));
        kept.push(statement);
    }
    kept
}

/// The bodies in a statement outside functions, in their order.
fn bodies(statement: &mut Stmt, visit: &mut dyn FnMut(&mut Vec<Stmt>)) {
    let mut visit_try = |body: &mut _, handlers: &mut Vec<ast::ExceptHandler>, orelse: &mut _, last: &mut _| {
        visit(body);
        for ast::ExceptHandler::ExceptHandler(handler) in handlers {
            visit(&mut handler.body);
        }
        visit(orelse);
        visit(last);
    };
    match statement {
        Stmt::Try(node) => visit_try(&mut node.body, &mut node.handlers, &mut node.orelse, &mut node.finalbody),
        Stmt::TryStar(node) => visit_try(&mut node.body, &mut node.handlers, &mut node.orelse, &mut node.finalbody),
        Stmt::ClassDef(node) => visit(&mut node.body),
        Stmt::With(node) => visit(&mut node.body),
        Stmt::AsyncWith(node) => visit(&mut node.body),
        Stmt::For(node) => [&mut node.body, &mut node.orelse].into_iter().for_each(visit),
        Stmt::AsyncFor(node) => [&mut node.body, &mut node.orelse].into_iter().for_each(visit),
        Stmt::While(node) => [&mut node.body, &mut node.orelse].into_iter().for_each(visit),
        Stmt::If(node) => [&mut node.body, &mut node.orelse].into_iter().for_each(visit),
        Stmt::Match(node) => node.cases.iter_mut().for_each(|case| visit(&mut case.body)),
        _ => {}
    }
}

fn python_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        match kind {
            Ok(kind) if kind.is_dir() => python_files(&path, files),
            Ok(kind) if kind.is_file() && path.extension().is_some_and(|it| it == "py") => files.push(path),
            _ => {}
        }
    }
}

/// A text with one part of it removed, doubled or exchanged for another part.
fn mutated(text: &str, random: &mut fastrand::Rng) -> String {
    let place = |random: &mut fastrand::Rng| {
        let at = random.usize(..=text.len());
        (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap()
    };
    let part = |random: &mut fastrand::Rng| {
        let start = place(random);
        let end = (start..=text.len()).filter(|at| text.is_char_boundary(*at)).nth(random.usize(..12));
        start..end.unwrap_or(text.len())
    };
    let (one, other) = (part(random), part(random));
    let new = if random.bool() { &text[other] } else { "" };
    format!("{}{new}{}", &text[..one.start], &text[one.end..])
}

/// Reads every so-manieth file below folders as it is, and several times with faults in it. Returns how many texts and
/// bytes that were, and how many bytes of them were left out.
fn compare(folders: &[PathBuf], step: usize, faults: usize) -> (usize, usize, usize) {
    let mut files = Vec::new();
    folders.iter().for_each(|folder| python_files(folder, &mut files));
    files.sort();
    let mut random = fastrand::Rng::with_seed(1);
    let (mut texts, mut bytes, mut left_out) = (0, 0, 0);
    for path in files.iter().step_by(step) {
        let Ok(content) = fs::read(path) else { continue };
        let Ok(source) = SourceText::decode(&content) else { continue };
        let mut text = source.text().to_string();
        for fault in 0..=faults {
            if fault > 0 {
                text = mutated(source.text(), &mut random);
            }
            let found = left_out_is_whole(&text).unwrap_or(0);
            if fault == 0 {
                (texts, bytes, left_out) = (texts + 1, bytes + text.len(), left_out + found);
            }
        }
    }
    (texts, bytes, left_out)
}

fn with_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap().join().unwrap()
}

#[test]
fn a_sample_of_this_pythons_standard_library() {
    let code = "import sysconfig; print(sysconfig.get_paths()['stdlib'])";
    let output = std::process::Command::new("python3").args(["-I", "-c", code]).output().unwrap();
    let folder = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    let (texts, bytes, left_out) = with_stack(move || compare(&[folder], 40, 4));
    assert!(texts > 10 && left_out > bytes / 2, "{left_out} of {bytes} bytes of {texts} files");
}

#[test]
#[ignore = "takes minutes; FOLDERS names what to read, with colons"]
fn every_file_is_accepted_as_the_grammar_does() {
    let folders = std::env::var("FOLDERS").expect("FOLDERS is set");
    let folders: Vec<PathBuf> = folders.split(':').map(PathBuf::from).collect();
    let faults = std::env::var("FAULTS").map_or(8, |faults| faults.parse().unwrap());
    let (texts, bytes, left_out) = with_stack(move || compare(&folders, 1, faults));
    println!("{texts} files, {faults} times with faults: {left_out} of {bytes} bytes need no grammar");
    assert!(left_out > bytes / 2);
}
