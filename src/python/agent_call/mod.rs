//! The calls that create a NIXL agent, and how each chooses its backends.
//!
//! Source of the signatures: `_api.py` of NIXL 0.1.1 to 1.5.1, `nixl_agent(agent_name, nixl_conf=None,
//! instantiate_all=False)`; `nixl_agent_config`'s `backends` is its second to sixth parameter, by version.

mod alike;
mod alternative;
mod arguments;
mod chosen_later;
mod configuration;
mod exported;
mod finder;
mod reference;
pub(crate) mod relevant;
mod shape;
mod site;
pub(crate) mod survey;
#[cfg(test)]
mod tests;

use rustpython_parser::ast::Stmt;
use thiserror::Error;

pub(crate) use chosen_later::CREATED_LATER;
pub(crate) use exported::certainty;
pub(crate) use shape::{CallEdit, ConfigurationClass, Edited, Found, Shape, Site};

use super::bindings::Bindings;
use super::meaning::Imports;
use super::syntax::Rest;

/// The most calls in one file.
const MOST_SITES: usize = 1_000_000;
/// Bytes of text for each version of a variable from which on what is known of a module is not freed: that takes a twentieth
/// of the time, and its room is small against the text.
const SPARSE: usize = 64;
/// The word that every file with a call of NIXL contains.
const NIXL: &[u8] = b"nixl";

/// Why a file's calls cannot be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum FindError {
    /// It has too many calls.
    #[error("{sites} places may create a NIXL agent; at most {MOST_SITES} are supported")]
    TooMany {
        /// How many.
        sites: usize,
    },
}

/// All places in a module that create an agent or may lead to one, in order. `imports` knows the modules around the file;
/// one that is judged alone has none without the word `nixl`.
///
/// # Errors
/// Where the file has too many such places.
pub(crate) fn find(text: &str, module: &[Stmt], imports: Option<&dyn Imports>) -> Result<Vec<Site>, FindError> {
    if imports.is_none() && memchr::memmem::find(text.as_bytes(), NIXL).is_none() {
        return Ok(Vec::new());
    }
    let bindings = Bindings::of(text, module);
    let mut finder = finder::Finder::new(text, &bindings, imports);
    let sites = finder.sites();
    if bindings.version_count() * SPARSE < text.len() {
        std::mem::forget(finder);
        std::mem::forget(bindings);
    }
    at_most(sites.len())?;
    Ok(sites)
}

/// As [`find`], for what is left of a module that is judged alone. None where that does not say how a call is judged.
///
/// # Errors
/// As [`find`].
pub(crate) fn find_in_rest(text: &str, rest: &Rest) -> Result<Option<Found>, FindError> {
    let mut sites = find(text, &rest.module, None)?;
    let Some(alike) = alike::found(text, rest, &sites) else { return Ok(None) };
    at_most(sites.len() + alike.sites.len())?;
    if !alike.sites.is_empty() {
        sites.extend(alike.sites);
        sites.sort_by_key(|site| site.offset);
    }
    Ok(Some(Found { sites, edited: alike.edited }))
}

fn at_most(sites: usize) -> Result<(), FindError> {
    if sites > MOST_SITES { Err(FindError::TooMany { sites }) } else { Ok(()) }
}
