//! Rust source in, patched out.

use std::path::Path;

use super::source::{rule, timed};
use crate::choice::rule::Rule;
use crate::report::file::FileStatus;
use crate::rewriting::Plan;
use crate::rust::patch::{self, PatchError};

/// What is planned for any source parses, is stable and is undone exactly. The first byte chooses the options, the rest is
/// the source.
pub fn rust(data: &[u8]) {
    let Some((control, source)) = data.split_first() else { return };
    let (one, other) = (rule(control & 15), rule(control >> 3));
    let also = control & 128 != 0;
    let reverted = patch::revert(Path::new("m.rs"), source);
    let original = reverted.map_or_else(|_| source.to_vec(), |reverted| reverted.original);
    let Some(patched) = plan(source, &one, also).and_then(|plan| plan.patched) else { return };
    holds(&patched, &one, &original);
    let patched_again = plan(&patched, &other, also).and_then(|plan| plan.patched).unwrap_or(patched);
    holds(&patched_again, &other, &original);
}

/// The plan for a source, in time; None where the source is refused.
fn plan(bytes: &[u8], rule: &Rule, also: bool) -> Option<Plan> {
    match timed(bytes.len(), || patch::plan(Path::new("m.rs"), bytes, rule, also)) {
        Ok(plan) => Some(plan),
        Err(PatchError::Rewrite(mismatch)) => panic!("{mismatch}:\n{}", String::from_utf8_lossy(bytes)),
        Err(_) => None,
    }
}

fn holds(patched: &[u8], rule: &Rule, original: &[u8]) {
    let again = patch::plan(Path::new("m.rs"), patched, rule, false).expect("what was written is understood");
    assert_eq!((again.status, again.patched), (FileStatus::AlreadyPatched, None), "a second apply changes nothing");
    assert!(
        patch::revert(Path::new("m.rs"), patched).is_ok_and(|reverted| reverted.original == original),
        "revert restores the original"
    );
}
