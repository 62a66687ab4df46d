//! The proof, in memory, that a rewrite did what it should and nothing else.

use proc_macro2::TokenStream;
use thiserror::Error;

use super::syntax::Source;
use super::tokens::{self, Token};
use crate::source::edit::{Inserted, InsertedSpan, Insertion};
use crate::source::marker::{self, Comment};
use crate::source::offset::ByteOffset;

/// In what way a rewrite is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Mismatch {
    /// It does not parse, or the inserted code does not.
    #[error("the rewritten file does not parse: {0}")]
    Syntax(String),
    /// Its tokens outside of the insertions are others.
    #[error("the rewritten file's tokens differ from the original's outside the insertions")]
    Tokens,
    /// The inserted tokens are not those that were meant.
    #[error("the rewritten file's inserted tokens are not those that were built")]
    Inserted,
    /// Removing the insertions does not give the original.
    #[error("the rewritten file cannot be reverted to the original")]
    Revert,
}

/// The insertion with the inserted items.
pub(super) struct Helper {
    /// Its number among the insertions.
    pub number: usize,
    /// The items that were built.
    pub items: TokenStream,
}

/// Checks that `patched` parses, that its tokens are the original's outside of the insertions, and that the inserted
/// ones are those of the helper and of the calls around expressions.
///
/// # Errors
/// Where it does not parse, or the tokens differ.
pub(super) fn verify(
    original: &Source,
    patched: &[u8],
    insertions: &[Insertion<ByteOffset>],
    helper: &Helper,
) -> Result<(), Mismatch> {
    let base = original.base;
    let before = tokens::flat(original.tokens.clone());
    let items = tokens::flat(helper.items.clone());
    let patched = Source::parse(patched).map_err(|error| Mismatch::Syntax(error.to_string()))?;
    let after = tokens::flat(patched.tokens.clone());
    let spans: Vec<InsertedSpan<ByteOffset>> = insertions.iter().map(Insertion::span).collect();
    let inserted = Inserted::new(&spans);

    let mut kept = Vec::with_capacity(before.len());
    let mut added: Vec<(usize, String)> = Vec::new();
    for token in after {
        let range = base + token.range.start..base + token.range.end;
        match inserted.number(range.start, range.end) {
            Some(number) => added.push((number, token.text)),
            None => kept.push((token.text, inserted.original(range.start) - base)),
        }
    }
    let same = |(token, (text, start)): (&Token, &(String, usize))| token.text == *text && token.range.start == *start;
    if before.len() != kept.len() || !before.iter().zip(&kept).all(same) {
        return Err(Mismatch::Tokens);
    }
    let mut rest = added.as_slice();
    for (number, insertion) in insertions.iter().enumerate() {
        let (own, others) = rest.split_at(rest.partition_point(|(of, _)| *of <= number));
        let own = own.iter().map(|(_, text)| text.as_str());
        let is_as_built = if number == helper.number {
            own.eq(items.iter().map(|token| token.text.as_str()))
        } else {
            own.flat_map(str::bytes).eq(insertion.content.iter().copied().filter(|byte| !byte.is_ascii_whitespace()))
        };
        if !is_as_built {
            return Err(Mismatch::Inserted);
        }
        rest = others;
    }
    Ok(())
}

/// Checks that the marker of `patched` leads back to `original`.
///
/// # Errors
/// Where it does not.
pub(super) fn reverts(original: &[u8], sha256: &str, patched: &[u8]) -> Result<(), Mismatch> {
    let back = marker::leads_back(patched, Comment::Slashes, sha256, original);
    if back { Ok(()) } else { Err(Mismatch::Revert) }
}
