//! Calls that are judged by those of another statement of the same form.
//!
//! What a call is judged by is the names that count, and what is bound to them where the call is. A function of the module's
//! own level sees them as they are at its definition or at any time after it, a simple statement as they are there.

use rustpython_parser::ast::Stmt;

use super::super::alone;
use super::super::span::{end, start};
use super::super::syntax::{Alike, Rest, Statement, Step};
use super::shape::{CallEdit, Edited, Found, Site};
use crate::source::lines::LineIndex;
use crate::source::offset::TextOffset;

/// The sites of a statement, and where what is told of them comes from.
struct Model<'s> {
    sites: Vec<SiteSteps<'s>>,
}

struct SiteSteps<'s> {
    site: &'s Site,
    offset: Step,
    function: Option<Step>,
    edits: Vec<Step>,
    /// The statement around its edit.
    edited: Option<(Step, Step)>,
}

/// What is in the statements that are not in the module's tree; `sites` are those of the tree. None where it cannot be told.
pub(super) fn found(text: &str, rest: &Rest, sites: &[Site]) -> Option<Found> {
    let Rest { module, alike } = rest;
    let mut found = Found::default();
    if alike.statements().next().is_none() {
        return Some(found);
    }
    let lines = LineIndex::new(text);
    let mut models: Vec<Option<Model>> = alike.models().iter().map(|_| None).collect();
    for (statement, of) in alike.statements() {
        let model = match &mut models[of] {
            Some(known) => known,
            unknown => unknown.insert(Model::of(text, module, alike, &alike.models()[of], sites)?),
        };
        for steps in &model.sites {
            let offset = alike.offset(statement, steps.offset);
            let (line, column) = lines.position(offset);
            let function = match steps.function {
                Some(step) => Some(alike.name(text, statement, step)?.to_string()),
                None => None,
            };
            let edits = steps.site.edits.iter().zip(&steps.edits);
            let edits = edits.map(|(edit, step)| edit.clone().moved(alike.offset(statement, *step))).collect();
            let site = Site { offset, line, column, function, shape: steps.site.shape.clone(), edits };
            if let (Some((start, end)), Some(edit)) = (steps.edited, site.edits.first()) {
                let (start, end) = (alike.offset(statement, start), alike.offset(statement, end));
                found.edited.push(Edited { offset: edit.offset(), start, end });
            }
            found.sites.push(site);
        }
    }
    Some(found)
}

impl<'s> Model<'s> {
    fn of(text: &str, module: &[Stmt], alike: &Alike, statement: &Statement, sites: &'s [Site]) -> Option<Self> {
        let first = sites.partition_point(|site| site.offset < statement.start());
        let own = sites[first..].iter().take_while(|site| statement.contains(site.offset));
        let steps = |site: &'s Site| {
            let edits =
                site.edits.iter().map(|edit| alike.step(statement, edit.offset())).collect::<Option<Vec<_>>>()?;
            let around = site.edits.first().and_then(|edit| alone::around(text, module, edit.offset(), &mut 0));
            let edited = match &around {
                Some(alone) => {
                    Some((alike.step(statement, start(alone.statement))?, alike.step(statement, end(alone.statement))?))
                }
                None => None,
            };
            let function = match &site.function {
                Some(name) => Some(alike.step_of_name(text, statement, name)?),
                None => None,
            };
            Some(SiteSteps { site, offset: alike.step(statement, site.offset)?, function, edits, edited })
        };
        Some(Model { sites: own.map(steps).collect::<Option<_>>()? })
    }
}

impl CallEdit {
    /// The same at another place.
    fn moved(mut self, to: TextOffset) -> Self {
        match &mut self {
            CallEdit::AddConfiguration { offset, .. }
            | CallEdit::AddBackends { offset, .. }
            | CallEdit::OrConfiguration { offset, .. } => *offset = to,
        }
        self
    }
}
