//! The audit: finds the files that matter, follows names between them, and judges every place.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use super::distributions::{self, Found};
use super::modules::{ModuleName, Modules};
use super::needles::{self, Mention};
use super::rust;
use super::tree::{self, Candidate, Decision, Search, pool, push, unlocked};
use super::walk::{self, Walk};
use crate::report::audit::Audit;

/// What a user can be told while an audit runs.
pub(crate) trait Progress: Sync {
    /// So many files were looked at.
    fn files(&self, count: usize);
}

/// Audits all files below these folders.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn audit(roots: &[PathBuf], progress: &dyn Progress) -> Result<Audit> {
    let files = AtomicUsize::new(0);
    // Rust files with places, which need no other file.
    let in_rust = Mutex::new(Vec::new());
    let module_of = |path: &Path| ModuleName::of(path.strip_prefix(root_of(roots, path)).unwrap_or(path));
    let other = |path: PathBuf, content: &[u8], found: &tree::Found| {
        found.parsed.fetch_add(1, Ordering::Relaxed);
        match rust::places(content) {
            Ok(places) if places.is_empty() => {}
            Ok(places) => push(&in_rust, Found { root: root_of(roots, &path).to_path_buf(), path, places }),
            Err(error) => found.misunderstand(path, &error),
        }
    };
    let walk = Walk { roots, follow_links: true, accepts: walk::is_source };
    let (found, modules) = Search::new(walk, &module_of, &other).run(&|path, content| {
        progress.files(files.fetch_add(1, Ordering::Relaxed) + 1);
        decide(roots, path, content)
    })?;
    let mut places = judge(roots, unlocked(found.candidates), &modules)?;
    places.extend(unlocked(in_rust));
    let mut audit = Audit { files: files.into_inner(), parsed: found.parsed.into_inner(), ..Audit::default() };
    audit.problems = unlocked(found.unread);
    audit.problems.extend(unlocked(found.misunderstood));
    audit.problems.sort_by(|one, other| one.path.cmp(&other.path));
    // A second search finds them again.
    audit.problems.dedup();
    distributions::group(places, &mut audit);
    Ok(audit)
}

/// The root that a file lies below.
fn root_of<'r>(roots: &'r [PathBuf], path: &Path) -> &'r Path {
    roots.iter().find(|root| path.starts_with(root)).map_or(Path::new(""), PathBuf::as_path)
}

/// Whether a file that was read matters.
fn decide(roots: &[PathBuf], path: &Path, content: &[u8]) -> Decision {
    if rust::is_source(path) {
        return match rust::may_matter(root_of(roots, path), path, content) {
            true => Decision::Parse,
            false => Decision::Pass,
        };
    }
    match needles::mention(content) {
        Mention::None => Decision::Pass,
        Mention::Word => Decision::Note,
        Mention::Class => Decision::Parse,
    }
}

/// Judges every place in the candidates.
fn judge(roots: &[PathBuf], mut candidates: Vec<Candidate>, modules: &Modules) -> Result<Vec<Found>> {
    // The longest first, so that no thread waits for it at the end.
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.text.len()));
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(candidate) = candidates.get(next.fetch_add(1, Ordering::Relaxed)) {
            let places = candidate.places(modules);
            if !places.is_empty() {
                push(
                    &found,
                    Found { root: root_of(roots, &candidate.path).to_path_buf(), path: candidate.path.clone(), places },
                );
            }
        }
    };
    pool(&work, || {})?;
    // Dropping trees takes a tenth of the time that parsing them took, and needs the threads' deep stacks.
    std::mem::forget(candidates);
    Ok(unlocked(found))
}
