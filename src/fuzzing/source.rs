//! Source in, patched out.

use std::path::Path;
use std::time::Duration;

use arbitrary::Unstructured;
use rustix::time::{ClockId, clock_gettime};

use super::grammar;
use crate::choice::backend::Backend;
use crate::choice::rule::{OnUnknown, Rule};
use crate::python::agent_call;
use crate::python::agent_call::relevant::{self, Relevant};
use crate::python::encoding::SourceText;
use crate::python::patch::{self, PatchError};
use crate::python::syntax;
use crate::python::syntax::is_keyword;
use crate::report::file::FileStatus;
use crate::rewriting::{Plan, Present};
use crate::source::marker::Own;

/// The processor time that one input may take: a start, and so much a byte. It is generous, for a build with a sanitizer:
/// what takes exponential time passes any limit.
const START: Duration = Duration::from_millis(500);
const PER_BYTE: Duration = Duration::from_micros(200);

/// The bits of the first byte that say what is done with what was patched. Each of it takes as long as the plan, which has
/// proved the tree and the way back by then, or twice as long: so each is done with a quarter of the inputs.
const AFTERWARDS: u8 = 3 << 5;
/// The same options are applied again, and it is reverted.
const AGAIN: u8 = 1 << 5;
/// Other options are applied, and then those again.
const OTHER: u8 = 2 << 5;

/// Parts of names that matter.
const KEPT_NAMES: [&str; 5] = ["nixl", "agent", "api", "attr", "coding"];

/// The path in the diffs.
const NAME: &str = "module.py";

/// What is planned for any source parses, is stable and is undone exactly. The first byte chooses the options, and what is
/// done afterwards; an ASCII one is followed by a source, any other by the choices of a generated one.
pub fn source(data: &[u8]) {
    let Some((&control, rest)) = data.split_first() else { return };
    if control.is_ascii() {
        return check(rest, control);
    }
    if let Ok(module) = grammar::module(&mut Unstructured::new(rest)) {
        check(&module, control);
    }
}

/// One of the rules that options can make.
pub(super) fn rule(number: u8) -> Rule {
    let allowed: &[Backend] = match number & 3 {
        0 => &[Backend::Libfabric],
        1 => &[Backend::Ucx],
        2 => &[Backend::Libfabric, Backend::Ucx],
        _ => &Backend::ALL,
    };
    Rule {
        default: allowed[0],
        allowed: allowed.to_vec(),
        on_unknown: if number & 4 == 0 { OnUnknown::Error } else { OnUnknown::Fallback },
        ..Rule::default()
    }
}

fn check(bytes: &[u8], control: u8) {
    if let Ok(source) = SourceText::decode(bytes) {
        nothing_is_missed(source.text());
        nothing_is_missed(&twice(source.text()));
    }
    let Ok(own) = timed(bytes.len(), || patch::own_marker(bytes)) else { return };
    let reverted = own.clone().and_then(|own| present(bytes).revert(own).ok());
    let original = reverted.map_or_else(|| bytes.to_vec(), |reverted| reverted.original);
    let one = rule(control & 7);
    let Some(patched) = plan(bytes, own, &one).and_then(|plan| plan.patched) else { return };
    match control & AFTERWARDS {
        AGAIN => holds(&patched, &one, &original),
        OTHER => other_options(&patched, &rule(control >> 3 & 3), &original),
        _ => {}
    }
}

/// A module without what its calls do not depend on has the same calls, and parses only if the whole does.
pub(super) fn nothing_is_missed(text: &str) {
    let Some(Relevant { left_out, kept }) = relevant::of(text) else { return };
    let Some(rest) = syntax::parse_rest(text, &left_out, &kept) else { return };
    let module = syntax::parse(text).unwrap_or_else(|error| panic!("{error}, without {left_out:?} none:\n{text}"));
    let sites = agent_call::find_in_rest(text, &rest).map(|it| it.expect("all calls can be told").sites);
    assert_eq!(sites, agent_call::find(text, &module, None), "without {left_out:?}:\n{text}");
}

/// A text, and after it the same with most names changed: all that is in it is there in two ways of the same form.
pub(super) fn twice(text: &str) -> String {
    let mut doubled = format!("{text}\n");
    for word in text.split_inclusive(|letter: char| !letter.is_alphanumeric() && letter != '_') {
        let name = word.trim_end_matches(|letter: char| !letter.is_alphanumeric() && letter != '_');
        doubled.push_str(name);
        let is_name = name.starts_with(|letter: char| letter.is_alphabetic() || letter == '_');
        if is_name && !is_keyword(name) && !KEPT_NAMES.iter().any(|kept| name.contains(kept)) {
            doubled.push('z');
        }
        doubled.push_str(&word[name.len()..]);
    }
    doubled
}

/// The plan for a source, in time; None where the source is refused.
fn plan(bytes: &[u8], own: Option<Own>, rule: &Rule) -> Option<Plan> {
    match timed(bytes.len(), || patch::plan_marked(present(bytes), own, rule, None)) {
        Ok(plan) => Some(plan),
        Err(PatchError::Rewrite(mismatch)) => panic!("{mismatch}:\n{}", String::from_utf8_lossy(bytes)),
        Err(_) => None,
    }
}

/// Does something with an input of this size, in time.
pub(super) fn timed<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let started = processor_time();
    let done = work();
    let (spent, limit) = (processor_time() - started, START + PER_BYTE * u32::try_from(bytes).unwrap_or(u32::MAX));
    assert!(spent < limit, "{spent:?} for {bytes} bytes");
    done
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Checks what was written with a rule: it is Python, a second apply changes nothing, and the original comes back.
fn holds(patched: &[u8], rule: &Rule, original: &[u8]) {
    let own = own_marker(patched);
    let again = understood(patched, own.clone(), rule);
    assert_eq!((again.status, again.patched), (FileStatus::AlreadyPatched, None), "a second apply changes nothing");
    let reverted = present(patched).revert(own);
    assert!(reverted.is_ok_and(|reverted| reverted.original == original), "revert restores the original");
}

/// Checks what a rule makes of what was written with another.
fn other_options(patched: &[u8], rule: &Rule, original: &[u8]) {
    let changed = understood(patched, own_marker(patched), rule);
    match changed.patched {
        Some(patched) => holds(&patched, rule, original),
        None => assert_eq!(changed.status, FileStatus::AlreadyPatched, "as it was"),
    }
}

/// The marker of what was written, in time: with a marker in it, the whole file is parsed.
fn own_marker(patched: &[u8]) -> Own {
    let own = timed(patched.len(), || patch::own_marker(patched)).expect("what was written is Python");
    own.expect("what was written has a marker")
}

/// The plan for a file with this marker, in time.
fn understood(bytes: &[u8], own: Own, rule: &Rule) -> Plan {
    let plan = timed(bytes.len(), || patch::plan_marked(present(bytes), Some(own), rule, None));
    plan.expect("what was written is understood")
}

fn present(bytes: &[u8]) -> Present<'_> {
    Present { path: Path::new(NAME), bytes }
}
