//! Makes calls that ignore the environment read it: what is inserted, and where.

use std::borrow::Cow;

use rustc_hash::FxHashMap;
use rustpython_parser::ast::{Constant, Stmt};

use super::agent_call::{CallEdit, ConfigurationClass, Edited, Site};
use super::encoding::SourceText;
use super::helper::{self, Names};
use super::span::{end, first_offset};
use super::verify;
use crate::choice::rule::Rule;
use crate::source::edit::{InsertedSpan, Insertion};
use crate::source::lines::{line_end, line_start};
use crate::source::marker::{self, Comment};
use crate::source::offset::{ByteOffset, TextOffset};

/// A rewritten file, not to be written before it is proved.
#[derive(Debug)]
pub(crate) struct Rewrite {
    /// The new bytes.
    pub bytes: Vec<u8>,
    /// What was inserted into the original's bytes.
    pub inserted: Vec<InsertedSpan<ByteOffset>>,
    text: String,
    spans: Vec<InsertedSpan<TextOffset>>,
    /// The original's SHA-256, in hexadecimal digits.
    pub original_sha256: String,
}

/// What a rewrite starts from.
#[derive(Clone, Copy)]
pub(crate) struct Original<'a> {
    /// The file.
    pub source: &'a SourceText<'a>,
    /// Its syntax tree.
    pub module: &'a [Stmt],
    /// Whether it has all statements.
    pub is_whole: bool,
    /// What is edited in the statements that it does not have.
    pub edited: &'a [Edited],
    /// Its calls that create an agent.
    pub sites: &'a [Site],
}

/// Makes every call of `original` that can be rewritten read the environment. `version` goes into the marker.
pub(crate) fn rewrite(original: &Original, rule: &Rule, version: &str) -> Rewrite {
    let source = original.source;
    let names = Names::unused_in(source.text());
    let mut classes = Classes::default();
    let backends = format!("backends={}()", names.backends());
    let edits = original.sites.iter().flat_map(|site| &site.edits);
    let mut in_text: Vec<Insertion<TextOffset>> =
        edits.map(|edit| insertion(edit, &backends, &names, &mut classes)).collect();
    in_text.sort();
    in_text.dedup();
    let mut inserted = source.byte_spans(&in_text);

    let place = helper_place(source.text(), original.module, original.sites);
    let original_sha256 = marker::sha256(source.bytes());
    let marker = |helper| marker::lines(Comment::Hash, version, &rule.to_string(), &original_sha256, helper, &inserted);
    let helper = Insertion::new(place.offset, helper_content(source, &place, rule, &names, &classes, marker));

    let before = in_text.partition_point(|insertion| insertion.offset <= helper.offset);
    inserted.splice(before..before, source.byte_spans(std::slice::from_ref(&helper)));
    in_text.insert(before, helper);
    let spans = in_text.iter().map(Insertion::span).collect();
    let (text, bytes) = source.insert(&in_text);
    Rewrite { bytes, inserted, text, spans, original_sha256 }
}

impl Rewrite {
    /// Proves that this is the original with the insertions, and that it can be reverted.
    ///
    /// # Errors
    /// Where it does not parse, is not the original but for the insertions, or cannot be reverted: a bug in this
    /// program, found before anything is written.
    pub(crate) fn prove(&self, original: &Original) -> Result<(), verify::Mismatch> {
        let Original { source, module, is_whole, edited, .. } = *original;
        let tree = verify::Tree { text: source.text(), module, is_whole, edited };
        verify::verify(&tree, &self.text, &self.spans)?;
        verify::decodes(&self.bytes, &self.text)?;
        verify::reverts(original.source.bytes(), &self.original_sha256, &self.bytes)
    }
}

/// The lists of modules that a configuration class is imported from; each list gets an inserted function.
#[derive(Default)]
struct Classes {
    lists: Vec<Vec<String>>,
    numbers: FxHashMap<Vec<String>, usize>,
}

impl Classes {
    fn number(&mut self, modules: &[String]) -> usize {
        if let Some(&known) = self.numbers.get(modules) {
            return known;
        }
        self.numbers.insert(modules.to_vec(), self.lists.len());
        self.lists.push(modules.to_vec());
        self.lists.len() - 1
    }

    fn expression<'c>(&mut self, class: &'c ConfigurationClass, names: &Names) -> Cow<'c, str> {
        match class {
            ConfigurationClass::Expression(expression) => expression.into(),
            ConfigurationClass::ImportedFrom(modules) => names.configuration(self.number(modules)).into(),
        }
    }
}

/// `backends` is the argument of the configuration.
fn insertion(edit: &CallEdit, backends: &str, names: &Names, classes: &mut Classes) -> Insertion<TextOffset> {
    match edit {
        CallEdit::AddConfiguration { offset, keyword, class } => {
            let (keyword, equals) = keyword.map_or(("", ""), |keyword| (keyword, "="));
            let class = classes.expression(class, names);
            Insertion::new(*offset, [", ", keyword, equals, &class, "(", backends, ")"].concat())
        }
        CallEdit::AddBackends { offset, first: true } => Insertion::new(*offset, backends),
        CallEdit::AddBackends { offset, first: false } => Insertion::new(*offset, format!(", {backends}")),
        CallEdit::OrConfiguration { offset, class } => {
            Insertion::new(*offset, format!(" or {}({backends})", classes.expression(class, names)))
        }
    }
}

/// Where the helper goes.
struct Place {
    /// Between two statements.
    offset: TextOffset,
    /// Whether other text precedes it on its line.
    after_text: bool,
    /// Whether a statement follows it on its line.
    before_statement: bool,
}

/// After the module's docstring, `from __future__` imports and import block, but before the first statement that
/// creates an agent, which may call the helper at once.
fn helper_place(text: &str, module: &[Stmt], sites: &[Site]) -> Place {
    let first_edit =
        sites.iter().flat_map(|site| &site.edits).map(CallEdit::offset).min().unwrap_or(TextOffset(text.len()));
    let preamble = module
        .iter()
        .enumerate()
        .take_while(|(number, statement)| is_preamble(statement, *number) && end(*statement) <= first_edit);
    let Some((last, statement)) = preamble.last() else {
        let first = module.first().map_or(TextOffset(text.len()), |first| first_offset(text, first));
        return Place { offset: line_start(text, first), after_text: false, before_statement: true };
    };
    let line_end = line_end(text, end(statement));
    match module.get(last + 1).map(|next| first_offset(text, next)) {
        // `import os; x = 1`: a function cannot be defined on that line, so split it.
        Some(next) if next < line_end => Place { offset: next, after_text: true, before_statement: true },
        _ => Place { offset: line_end, after_text: !text[..line_end.0].ends_with('\n'), before_statement: false },
    }
}

fn is_preamble(statement: &Stmt, number: usize) -> bool {
    match statement {
        Stmt::Import(_) | Stmt::ImportFrom(_) => true,
        Stmt::Expr(node) => {
            number == 0 && matches!(node.value.as_constant_expr().map(|c| &c.value), Some(Constant::Str(_)))
        }
        Stmt::Try(node) => node.body.iter().all(is_import),
        Stmt::If(node) => node.body.iter().all(is_import) && node.orelse.iter().all(is_import),
        _ => false,
    }
}

fn is_import(statement: &Stmt) -> bool {
    matches!(statement, Stmt::Import(_) | Stmt::ImportFrom(_))
}

/// The line ending where the helper goes: that of the line before, or of the first line.
fn newline(text: &str, offset: TextOffset) -> &'static str {
    let before = &text[..offset.0];
    let first_line = &text[..line_end(text, TextOffset(0)).0];
    let line = if before.ends_with('\n') { before } else { first_line };
    if line.ends_with("\r\n") { "\r\n" } else { "\n" }
}

/// What is inserted at module level: the marker, which takes its own span, and the functions. All of it is ASCII, so
/// that its length is the same in the text and in the bytes.
fn helper_content(
    source: &SourceText,
    place: &Place,
    rule: &Rule,
    names: &Names,
    classes: &Classes,
    marker: impl Fn(InsertedSpan<ByteOffset>) -> String,
) -> String {
    let configurations = classes.lists.iter().enumerate();
    let configurations =
        configurations.map(|(number, modules)| helper::configuration_function(&names.configuration(number), modules));
    let backends = helper::backends_function(&names.backends(), rule);
    let functions: Vec<String> = std::iter::once(backends).chain(configurations).collect();
    let lead = match (place.after_text, place.before_statement) {
        (true, _) => "\n\n\n",
        (false, false) => "\n\n",
        (false, true) => "",
    };
    let tail = if place.before_statement { "\n\n" } else { "" };
    let offset = source.byte_offset(place.offset);
    let newline = newline(source.text(), place.offset);
    let functions = functions.join("\n\n");
    let content = |length: usize| {
        let marker = marker(InsertedSpan { offset, length });
        let content = format!("{lead}{marker}{functions}{}\n{tail}", marker::last(Comment::Hash));
        if newline == "\n" { content } else { content.replace('\n', newline) }
    };
    // The marker writes the length with a fixed number of digits, so the length does not depend on itself; with more
    // digits where it is long.
    let length = content(0).len();
    let right = content(length);
    if right.len() == length { right } else { content(right.len()) }
}
