//! Makes calls that name UCX read the environment: what is inserted, and where.

use proc_macro2::TokenStream;
use rustc_hash::FxHashSet;

use super::helper::{self, Names, Needs};
use super::site::{Call, Edit, Site};
use super::syntax::Source;
use super::tokens;
use super::verify::{self, Helper, Mismatch};
use crate::choice::rule::Rule;
use crate::source::edit::{self, InsertedSpan, Insertion};
use crate::source::marker::{self, Comment};
use crate::source::offset::ByteOffset;

/// One level of indentation.
const INDENT: &str = "    ";

/// A rewritten file, not to be written before it is proved.
pub(super) struct Rewrite {
    /// The new bytes.
    pub bytes: Vec<u8>,
    /// What was inserted into the original.
    pub inserted: Vec<InsertedSpan<ByteOffset>>,
    insertions: Vec<Insertion<ByteOffset>>,
    helper: Helper,
    /// The original's SHA-256, in hexadecimal digits.
    pub original_sha256: String,
}

/// Makes every site that can be rewritten read the environment. `version` goes into the marker.
///
/// # Errors
/// When the inserted code is not Rust, which is a bug in this program.
pub(super) fn rewrite(source: &Source, sites: &[Site], rule: &Rule, version: &str) -> Result<Rewrite, Mismatch> {
    let names = Names::unused_in(source.text);
    let edits = sites.iter().filter_map(|site| site.edit.as_ref());
    let newline = |edit: &Edit| newline(source.text, edit.around.start);
    let mut insertions: Vec<Insertion<ByteOffset>> =
        edits.flat_map(|edit| around(edit, &names, newline(edit))).collect();
    // Of two that begin at one place, the outer expression's comes first; they cannot be the same expression's.
    insertions.sort_by_key(|insertion| insertion.offset);

    let place = place(source);
    let calls: Vec<_> = insertions.iter().map(Insertion::span).collect();
    let original_sha256 = marker::sha256(source.text.as_bytes());
    let items = helper::items(&names, rule, &needs(sites));
    let code = helper::source(&items).map_err(|error| Mismatch::Syntax(error.to_string()))?;
    let marker = |helper| marker::lines(Comment::Slashes, version, &rule.to_string(), &original_sha256, helper, &calls);
    let helper = Insertion::new(ByteOffset(place.offset), helper_content(source.text, &place, &code, marker));

    let before = insertions.partition_point(|insertion| insertion.offset <= helper.offset);
    insertions.insert(before, helper);
    let inserted = insertions.iter().map(Insertion::span).collect();
    let bytes = edit::insert(source.text.as_bytes(), &insertions);
    let helper = Helper { number: before, items: items.into_iter().collect() };
    Ok(Rewrite { bytes, inserted, insertions, helper, original_sha256 })
}

impl Rewrite {
    /// Proves that this is the original with the insertions, and that it can be reverted.
    ///
    /// # Errors
    /// Where it does not parse, is not the original but for the insertions, or cannot be reverted: a bug in this
    /// program, found before anything is written.
    pub(super) fn prove(&self, source: &Source) -> Result<(), Mismatch> {
        verify::verify(source, &self.bytes, &self.insertions, &self.helper)?;
        verify::reverts(source.text.as_bytes(), &self.original_sha256, &self.bytes)
    }
}

/// What is inserted around an expression, or around and into a statement.
fn around(edit: &Edit, names: &Names, newline: &str) -> Vec<Insertion<ByteOffset>> {
    let insert = |at: usize, content: String| Insertion::new(ByteOffset(at), content);
    let before = names.before(edit.call, edit.modules);
    let Some(repeat) = &edit.repeat else {
        return vec![insert(edit.around.start, before), insert(edit.around.end, ")".into())];
    };
    let indent = &repeat.indent;
    let mut inserted = vec![insert(edit.around.start, format!("{before}{newline}{indent}{INDENT}"))];
    inserted.extend(repeat.lines.iter().map(|line| insert(*line, INDENT.into())));
    for literal in &repeat.literals {
        let method = if *literal == repeat.created { "created" } else { "at" };
        inserted.push(insert(literal.start, format!("{}.{method}(", names.variable())));
        inserted.push(insert(literal.end, ")".into()));
    }
    inserted.push(insert(edit.around.end, format!("{newline}{indent}{INDENT}Ok(()){newline}{indent}}})?;")));
    inserted
}

fn needs(sites: &[Site]) -> Needs {
    let mut needs = Needs::default();
    let mut conditions: Vec<&[String]> = Vec::new();
    let mut known: FxHashSet<&[String]> = FxHashSet::default();
    for site in sites {
        let Some(edit) = &site.edit else { continue };
        match edit.call {
            Call::WithBackends => needs.with_backends = true,
            Call::AddBackend { .. } => needs.add_backend = true,
            Call::CreateBackend => needs.create_backend = true,
        }
        if known.insert(&site.conditions) {
            conditions.push(&site.conditions);
        }
    }
    needs.partly = conditions.len() > 1;
    needs.condition = any(&conditions);
    needs
}

/// The predicate that holds where one of these lists of predicates holds; None where that is always.
fn any(conditions: &[&[String]]) -> Option<TokenStream> {
    if conditions.iter().any(|predicates| predicates.is_empty()) {
        return None;
    }
    let all = |predicates: &&[String]| match predicates {
        [one] => one.clone(),
        many => format!("all({})", many.join(", ")),
    };
    let predicates: Vec<String> = conditions.iter().map(all).collect();
    let predicate = match predicates.as_slice() {
        [one] => one.clone(),
        many => format!("any({})", many.join(", ")),
    };
    predicate.parse().ok()
}

/// Where the inserted items go.
struct Place {
    offset: usize,
    /// Whether other text precedes it on its line.
    after_text: bool,
    /// Whether an item follows it, with nothing in between.
    before_item: bool,
}

/// After the first `use` items and declarations of modules; where there are none, before the first item.
fn place(source: &Source) -> Place {
    let items = &source.file.items;
    let is_preamble = |item: &&syn::Item| match item {
        syn::Item::Use(_) | syn::Item::ExternCrate(_) => true,
        syn::Item::Mod(module) => module.content.is_none(),
        _ => false,
    };
    let Some(last) = items.iter().take_while(is_preamble).last() else {
        let first = items.first().map_or(source.text.len(), |first| start(source, first));
        return Place { offset: first, after_text: false, before_item: true };
    };
    let end = source.range(syn::spanned::Spanned::span(last)).end;
    match tokens::line_end(source.text, end) {
        Some(offset) => Place { offset, after_text: !source.text[..offset].ends_with('\n'), before_item: false },
        None => Place { offset: end, after_text: true, before_item: true },
    }
}

/// The start of an item, its attributes and documentation included.
fn start(source: &Source, item: &syn::Item) -> usize {
    let own = source.range(syn::spanned::Spanned::span(item)).start;
    let attributes = super::site::attributes_of(item).iter();
    attributes.map(|attribute| source.range(attribute.pound_token.spans[0]).start).min().unwrap_or(own).min(own)
}

/// The inserted items between the marker's lines. `marker` makes those from the helper's own place and length.
fn helper_content(
    text: &str,
    place: &Place,
    code: &str,
    marker: impl Fn(InsertedSpan<ByteOffset>) -> String,
) -> String {
    let lead = match (place.after_text, place.before_item) {
        (true, _) => "\n\n",
        (false, false) => "\n",
        (false, true) => "",
    };
    let tail = if place.before_item { "\n" } else { "" };
    let newline = newline(text, place.offset);
    let content = |length: usize| {
        let marker = marker(InsertedSpan { offset: ByteOffset(place.offset), length });
        let last = marker::last(Comment::Slashes);
        format!("{lead}{marker}{code}{last}\n{tail}").replace('\n', newline)
    };
    // The marker writes the length with a fixed number of digits, so the length does not depend on itself; with more
    // digits where it is long.
    let length = content(0).len();
    let length = content(length).len();
    content(length)
}

/// The line ending before an offset, or else the first one.
fn newline(text: &str, offset: usize) -> &'static str {
    let before = &text[..offset];
    let end = before.rfind('\n').or_else(|| text.find('\n'));
    if end.is_some_and(|end| text[..end].ends_with('\r')) { "\r\n" } else { "\n" }
}
