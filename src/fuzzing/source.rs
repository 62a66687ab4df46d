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
use crate::rewriting::Plan;

/// The processor time that one input may take: a start, and so much a byte. It is generous, for a build with a sanitizer:
/// what takes exponential time passes any limit.
const START: Duration = Duration::from_millis(500);
const PER_BYTE: Duration = Duration::from_micros(200);

/// What is planned for any source parses, is stable and is undone exactly. The first byte chooses the options; an ASCII one
/// is followed by a source, any other by the choices of a generated one.
pub fn source(data: &[u8]) {
    let Some((control, rest)) = data.split_first() else { return };
    let (one, other) = (rule(control & 15), rule(control >> 3));
    if control.is_ascii() {
        return check(rest, &one, &other);
    }
    if let Ok(module) = grammar::module(&mut Unstructured::new(rest)) {
        check(&module, &one, &other);
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

fn check(bytes: &[u8], rule: &Rule, other: &Rule) {
    if let Ok(source) = SourceText::decode(bytes) {
        nothing_is_missed(source.text());
    }
    let reverted = patch::revert(Path::new("module.py"), bytes);
    let original = reverted.map_or_else(|_| bytes.to_vec(), |reverted| reverted.original);
    let Some(patched) = plan(bytes, rule).and_then(|plan| plan.patched) else { return };
    holds(&patched, rule, &original);
    let patched_again = plan(&patched, other).and_then(|plan| plan.patched).unwrap_or(patched);
    holds(&patched_again, other, &original);
}

/// A module without what its calls do not depend on has the same calls, and parses only if the whole does.
pub(super) fn nothing_is_missed(text: &str) {
    let Some(left_out) = relevant::left_out(text) else { return };
    let Some(rest) = syntax::parse_without(text, &left_out) else { return };
    let module = syntax::parse(text).unwrap_or_else(|error| panic!("{error}, without {left_out:?} none:\n{text}"));
    let sites = |module: &[Stmt]| format!("{:#?}", agent_call::find(text, module, None));
    assert_eq!(sites(&rest), sites(&module), "without {left_out:?}:\n{text}");
}

/// The plan for a source, in time; None where the source is refused.
fn plan(bytes: &[u8], rule: &Rule) -> Option<Plan> {
    match timed(bytes.len(), || patch::plan(Path::new("module.py"), bytes, rule, None)) {
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

fn holds(patched: &[u8], rule: &Rule, original: &[u8]) {
    let source = SourceText::decode(patched).expect("what was written is text");
    syntax::parse(source.text()).expect("what was written is Python");
    let again = patch::plan(Path::new("module.py"), patched, rule, None).expect("what was written is understood");
    assert_eq!((again.status, again.patched), (FileStatus::AlreadyPatched, None), "a second apply changes nothing");
    assert!(
        patch::revert(Path::new("module.py"), patched).is_ok_and(|reverted| reverted.original == original),
        "revert restores the original"
    );
}
