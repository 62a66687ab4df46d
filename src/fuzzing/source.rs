//! Source in, patched out.

use std::path::Path;
use std::time::Duration;

use arbitrary::Unstructured;
use rustix::time::{ClockId, clock_gettime};
use rustpython_parser::ast::Stmt;

use super::grammar;
use crate::choice::backend::Backend;
use crate::choice::rule::{OnUnknown, Rule};
use crate::python::agent_call::{self, relevant};
use crate::python::encoding::SourceText;
use crate::python::patch::{self, PatchError};
use crate::python::syntax;
use crate::report::file::FileStatus;
use crate::rewriting::{Plan, Present};
use crate::source::marker::Own;

/// The processor time that one input may take: a start, and so much a byte. It is generous, for a build with a sanitizer:
/// what takes exponential time passes any limit.
const START: Duration = Duration::from_millis(500);
const PER_BYTE: Duration = Duration::from_micros(200);

/// The bit of the first byte that says that other options are applied to what was patched: half of the inputs.
const OTHER: u8 = 64;

/// The path in the diffs.
const NAME: &str = "module.py";

/// What is planned for any source parses, is stable and is undone exactly. The first byte chooses the options, and whether
/// others are applied afterwards; an ASCII one is followed by a source, any other by the choices of a generated one.
pub fn source(data: &[u8]) {
    let Some((control, rest)) = data.split_first() else { return };
    let (one, other) = (rule(control & 7), (control & OTHER != 0).then(|| rule(control >> 3)));
    if control.is_ascii() {
        return check(rest, &one, other.as_ref());
    }
    if let Ok(module) = grammar::module(&mut Unstructured::new(rest)) {
        check(&module, &one, other.as_ref());
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

fn check(bytes: &[u8], rule: &Rule, other: Option<&Rule>) {
    if let Ok(source) = SourceText::decode(bytes) {
        nothing_is_missed(source.text());
    }
    let reverted = patch::revert(Path::new(NAME), bytes);
    let original = reverted.map_or_else(|_| bytes.to_vec(), |reverted| reverted.original);
    let Some(patched) = plan(bytes, rule).and_then(|plan| plan.patched) else { return };
    let own = holds(&patched, rule, &original);
    let Some(other) = other else { return };
    let changed = understood(&patched, own, other);
    match changed.patched {
        Some(patched) => _ = holds(&patched, other, &original),
        None => assert_eq!(changed.status, FileStatus::AlreadyPatched, "as it was"),
    }
}

/// A module without what its calls do not depend on has the same calls, and parses only if the whole does.
pub(super) fn nothing_is_missed(text: &str) {
    let Some(left_out) = relevant::left_out(text).filter(|left_out| !left_out.is_empty()) else { return };
    let Some(rest) = syntax::parse_without(text, &left_out) else { return };
    let module = syntax::parse(text).unwrap_or_else(|error| panic!("{error}, without {left_out:?} none:\n{text}"));
    let sites = |module: &[Stmt]| agent_call::find(text, module);
    assert_eq!(sites(&rest), sites(&module), "without {left_out:?}:\n{text}");
}

/// The plan for a source, in time; None where the source is refused.
fn plan(bytes: &[u8], rule: &Rule) -> Option<Plan> {
    match timed(bytes.len(), || patch::plan(Path::new(NAME), bytes, rule)) {
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
/// Returns its marker, so that the file is not parsed once more.
fn holds(patched: &[u8], rule: &Rule, original: &[u8]) -> Own {
    // With a marker in it, the whole file is parsed.
    let own = timed(patched.len(), || patch::own_marker(patched)).expect("what was written is Python");
    let own = own.expect("what was written has a marker");
    let again = understood(patched, own.clone(), rule);
    assert_eq!((again.status, again.patched), (FileStatus::AlreadyPatched, None), "a second apply changes nothing");
    let reverted = present(patched).revert(own.clone());
    assert!(reverted.is_ok_and(|reverted| reverted.original == original), "revert restores the original");
    own
}

/// The plan for a file with this marker, in time.
fn understood(bytes: &[u8], own: Own, rule: &Rule) -> Plan {
    let plan = timed(bytes.len(), || patch::plan_marked(present(bytes), Some(own), rule));
    plan.expect("what was written is understood")
}

fn present(bytes: &[u8]) -> Present<'_> {
    Present { path: Path::new(NAME), bytes }
}
