//! From calls that ignore the environment to calls that heed it: what is inserted, and where.

use rustpython_parser::ast::{Constant, Stmt};

use super::agent_call::{CallEdit, ConfigurationClass, Site};
use super::encoding::SourceText;
use super::helper::{self, Names};
use super::{end, first_offset, verify};
use crate::choice::rule::Rule;
use crate::source::edit::{self, InsertedSpan, Insertion};
use crate::source::lines::{line_end, line_start};
use crate::source::marker;

/// A rewritten file, not to be written before it is proved.
#[derive(Debug)]
pub(crate) struct Rewrite {
    /// The new bytes.
    pub bytes: Vec<u8>,
    text: String,
    spans: Vec<InsertedSpan>,
    sha256: String,
}

/// What a rewrite begins from.
#[derive(Clone, Copy)]
pub(crate) struct Original<'a> {
    /// The file.
    pub source: &'a SourceText<'a>,
    /// Its tree.
    pub module: &'a [Stmt],
    /// Its calls.
    pub sites: &'a [Site],
}

/// Makes every call of `original` that can be rewritten read the environment. `version` goes into the marker.
///
/// # Errors
/// Where the result is no text: a fault of this program.
pub(crate) fn rewrite(original: &Original, rule: &Rule, version: &str) -> Result<Rewrite, verify::Mismatch> {
    let text = original.source.text();
    let names = Names::unused_in(text);
    let mut classes = Classes::default();
    let mut in_text: Vec<Insertion> =
        original.sites.iter().flat_map(|site| &site.edits).map(|edit| insertion(edit, &names, &mut classes)).collect();
    in_text.sort();
    in_text.dedup();

    let place = helper_place(text, original.module, original.sites);
    let spans_of_calls = to_bytes(original.source, &in_text);
    let sha256 = marker::sha256(original.source.bytes());
    let marker = |helper| marker::lines(version, &rule.to_string(), &sha256, helper, &spans_of_calls);
    let content = helper_content(original.source, &place, rule, &names, &classes, marker);
    in_text.push(Insertion::new(place.offset, content));
    in_text.sort_by_key(|insertion| insertion.offset);

    let spans: Vec<InsertedSpan> = in_text.iter().map(Insertion::span).collect();
    let patched_text =
        String::from_utf8(edit::insert(text.as_bytes(), &in_text)).map_err(|_| verify::Mismatch::NotText)?;
    let in_bytes: Vec<Insertion> = in_text
        .into_iter()
        .map(|insertion| Insertion {
            offset: original.source.byte_offset(insertion.offset),
            content: insertion.content,
        })
        .collect();
    let bytes = edit::insert(original.source.bytes(), &in_bytes);
    Ok(Rewrite { bytes, text: patched_text, spans, sha256 })
}

impl Rewrite {
    /// Proves, in memory, that this is the original and what was inserted, and that it can be turned back.
    ///
    /// # Errors
    /// Where it does not parse, or its tree is not the original's but for what was inserted: a fault of this program,
    /// found before anything is written.
    pub(crate) fn prove(&self, original: &Original) -> Result<(), verify::Mismatch> {
        verify::verify(original.source.text(), original.module, &self.text, &self.spans)?;
        verify::reverts(original.source.bytes(), &self.sha256, &self.bytes)
    }
}

fn to_bytes(source: &SourceText, insertions: &[Insertion]) -> Vec<InsertedSpan> {
    let span = |insertion: &Insertion| InsertedSpan {
        offset: source.byte_offset(insertion.offset),
        length: insertion.content.len(),
    };
    insertions.iter().map(span).collect()
}

/// The lists of modules from which configurations are imported; one function each.
#[derive(Default)]
struct Classes(Vec<Vec<String>>);

impl Classes {
    fn number(&mut self, modules: &[String]) -> usize {
        let known = self.0.iter().position(|known| known == modules);
        known.unwrap_or_else(|| {
            self.0.push(modules.to_vec());
            self.0.len() - 1
        })
    }

    fn expression(&mut self, class: &ConfigurationClass, names: &Names) -> String {
        match class {
            ConfigurationClass::Expression(expression) => expression.clone(),
            ConfigurationClass::ImportedFrom(modules) => names.configuration(self.number(modules)),
        }
    }
}

fn insertion(edit: &CallEdit, names: &Names, classes: &mut Classes) -> Insertion {
    let backends = format!("backends={}()", names.backends());
    match edit {
        CallEdit::AddConfiguration { offset, keyword, class } => {
            let keyword = keyword.map(|keyword| format!("{keyword}=")).unwrap_or_default();
            Insertion::new(*offset, format!(", {keyword}{}({backends})", classes.expression(class, names)))
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
    /// In the text: between two statements.
    offset: usize,
    /// Whether something stands before it on the same line.
    after_text: bool,
    /// Whether a statement stands behind it on the same line.
    before_statement: bool,
}

/// After the module's docstring, `from __future__` imports and import block; but before the first statement that
/// creates an agent, since the helper must exist by then.
fn helper_place(text: &str, module: &[Stmt], sites: &[Site]) -> Place {
    let first_edit = sites.iter().flat_map(|site| &site.edits).map(edit_offset).min().unwrap_or(text.len());
    let preamble = module
        .iter()
        .enumerate()
        .take_while(|(number, statement)| is_preamble(statement, *number) && end(*statement) <= first_edit);
    let Some((last, statement)) = preamble.last() else {
        let first = module.first().map_or(text.len(), first_offset);
        return Place { offset: line_start(text, first), after_text: false, before_statement: true };
    };
    let line_end = line_end(text, end(statement));
    match module.get(last + 1).map(first_offset) {
        // `import os; x = 1`: a function cannot stand on that line, so the line is divided.
        Some(next) if next < line_end => Place { offset: next, after_text: true, before_statement: true },
        _ => Place { offset: line_end, after_text: !text[..line_end].ends_with('\n'), before_statement: false },
    }
}

fn edit_offset(edit: &CallEdit) -> usize {
    match edit {
        CallEdit::AddConfiguration { offset, .. }
        | CallEdit::AddBackends { offset, .. }
        | CallEdit::OrConfiguration { offset, .. } => *offset,
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

/// The end of line that the file uses where the helper goes: that of the line before, or of the first line.
fn newline(text: &str, offset: usize) -> &'static str {
    let before = &text[..offset];
    let first_line = &text[..line_end(text, 0)];
    let line = if before.ends_with('\n') { before } else { first_line };
    if line.ends_with("\r\n") { "\r\n" } else { "\n" }
}

/// What is inserted at module level: the marker, which is given where it stands and how long all of it is, and the
/// functions.
fn helper_content(
    source: &SourceText,
    place: &Place,
    rule: &Rule,
    names: &Names,
    classes: &Classes,
    marker: impl Fn(InsertedSpan) -> String,
) -> String {
    let configurations = classes.0.iter().enumerate();
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
    let content = |length: usize| {
        let marker = marker(InsertedSpan { offset, length });
        format!("{lead}{marker}{}{}\n{tail}", functions.join("\n\n"), marker::LAST).replace('\n', newline)
    };
    // The length is written with a fixed number of digits, so that writing it does not change it.
    let length = content(0).len();
    content(length)
}
