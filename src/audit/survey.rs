//! The audit: finds the files that matter, parses them, follows names between them, and judges every place.
//!
//! 1. Every file is read once and searched for NIXL's names; those that have one are parsed while the search goes on.
//! 2. What they export under other names is searched for in the files that write about NIXL at all; those are parsed too,
//!    and so on.
//! 3. With all exports known, every place is judged.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use anyhow::{Context, Result};
use rustc_hash::FxHashSet;
use rustpython_parser::ast::{Stmt, Suite};

use super::distributions::{self, Found};
use super::modules::{ModuleName, Modules};
use super::needles::{self, Aliases, Mention};
use super::{rust, walk};
use crate::python::agent_call::survey::{exports, survey};
use crate::python::encoding::SourceText;
use crate::python::syntax;
use crate::report::audit::{Audit, Problem};
use crate::threads;

/// How many files wait to be parsed.
const WAITING: usize = 16;
/// How many bytes of source are kept as trees, which take some twenty times as much; the rest is parsed twice.
const KEPT: usize = 3 << 19;

/// What a user can be told while an audit runs.
pub(crate) trait Progress: Sync {
    /// So many files were looked at.
    fn files(&self, count: usize);
}

/// A file that may have places.
struct Candidate {
    path: PathBuf,
    module: ModuleName,
    text: String,
    /// None where too many trees are kept already.
    tree: Option<Suite>,
}

impl Candidate {
    /// Its tree; None never, since it was parsed before.
    fn tree(&self) -> Option<Cow<'_, [Stmt]>> {
        match &self.tree {
            Some(tree) => Some(Cow::Borrowed(tree)),
            None => syntax::parse_alone(&self.text).ok().map(Cow::Owned),
        }
    }
}

/// What is shared by the threads.
#[derive(Default)]
struct Shared {
    files: AtomicUsize,
    parsed: AtomicUsize,
    kept: AtomicUsize,
    /// Files that write about NIXL and name no class of it.
    words: Mutex<Vec<PathBuf>>,
    candidates: Mutex<Vec<Candidate>>,
    /// Rust files with places, which need no other file.
    found: Mutex<Vec<Found>>,
    problems: Mutex<Vec<Problem>>,
}

/// Audits all files below these folders.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn audit(roots: &[PathBuf], progress: &dyn Progress) -> Result<Audit> {
    let shared = Shared::default();
    search(roots, &shared, progress)?;
    let modules = follow(roots, &shared)?;
    let mut found = judge(roots, &shared, &modules)?;
    found.extend(unlocked(shared.found));
    let mut audit = Audit { files: shared.files.into_inner(), parsed: shared.parsed.into_inner(), ..Audit::default() };
    audit.problems = unlocked(shared.problems);
    audit.problems.sort_by(|one, other| one.path.cmp(&other.path));
    // A second search finds them again.
    audit.problems.dedup();
    distributions::group(found, &mut audit);
    Ok(audit)
}

/// The root that a file lies below.
fn root_of<'r>(roots: &'r [PathBuf], path: &Path) -> &'r Path {
    roots.iter().find(|root| path.starts_with(root)).map_or(Path::new(""), PathBuf::as_path)
}

fn unlocked<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn push<T>(list: &Mutex<Vec<T>>, item: T) {
    list.lock().unwrap_or_else(PoisonError::into_inner).push(item);
}

/// What becomes of a file that was read.
enum Decision {
    Pass,
    Parse,
}

/// Reads all files; parses those that name a class of NIXL.
fn search(roots: &[PathBuf], shared: &Shared, progress: &dyn Progress) -> Result<()> {
    parse_those(roots, shared, &|path, content| {
        progress.files(shared.files.fetch_add(1, Ordering::Relaxed) + 1);
        if rust::is_source(path) {
            return if rust::may_matter(root_of(roots, path), path, content) {
                Decision::Parse
            } else {
                Decision::Pass
            };
        }
        match needles::mention(content) {
            Mention::None => Decision::Pass,
            Mention::Word => {
                push(&shared.words, path.to_path_buf());
                Decision::Pass
            }
            Mention::Class => Decision::Parse,
        }
    })
}

/// Reads all files, and parses some while the search goes on.
fn parse_those(roots: &[PathBuf], shared: &Shared, decide: &(dyn Fn(&Path, &[u8]) -> Decision + Sync)) -> Result<()> {
    let (sender, receiver) = mpsc::sync_channel::<(PathBuf, Vec<u8>)>(WAITING);
    let receiver = Mutex::new(receiver);
    let next = || receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
    let parse_all = || {
        while let Some((path, content)) = next() {
            parse(roots, path, &content, shared);
        }
    };
    pool(&parse_all, || {
        let visit = |path: &Path, content: &[u8]| match decide(path, content) {
            Decision::Pass => {}
            // The parsers end after the search, so that there is always one who receives.
            Decision::Parse => drop(sender.send((path.to_path_buf(), content.to_vec()))),
        };
        walk::files(roots, &visit, &|problem| push(&shared.problems, problem));
        drop(sender);
    })
}

/// Runs `work` on several threads with room for deep trees, and then `here` on this one.
///
/// # Errors
/// When none can be started; then `here` does not run.
fn pool(work: &(dyn Fn() + Sync), here: impl FnOnce()) -> Result<()> {
    let count = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        threads::grow_heap(threads::HEAP_BYTES);
        work();
    };
    thread::scope(|scope| {
        let start = || thread::Builder::new().stack_size(threads::STACK_BYTES).spawn_scoped(scope, work);
        start().context("cannot start a thread")?;
        // With fewer, it takes longer.
        (1..count).for_each(|_| drop(start()));
        here();
        Ok(())
    })
}

fn parse(roots: &[PathBuf], path: PathBuf, content: &[u8], shared: &Shared) {
    if rust::is_source(&path) {
        shared.parsed.fetch_add(1, Ordering::Relaxed);
        return match rust::places(content) {
            Ok(places) if places.is_empty() => {}
            Ok(places) => push(&shared.found, Found { root: root_of(roots, &path).to_path_buf(), path, places }),
            Err(error) => push(&shared.problems, problem(path, &error)),
        };
    }
    let text = match SourceText::decode(content) {
        Ok(source) => source.text().to_string(),
        Err(error) => return push(&shared.problems, problem(path, &error.to_string())),
    };
    shared.parsed.fetch_add(1, Ordering::Relaxed);
    match syntax::parse_alone(&text) {
        Ok(tree) => {
            let module = ModuleName::of(path.strip_prefix(root_of(roots, &path)).unwrap_or(&path));
            let kept = shared.kept.fetch_add(text.len(), Ordering::Relaxed) < KEPT;
            push(&shared.candidates, Candidate { path, module, text, tree: kept.then_some(tree) });
        }
        Err(error) => push(&shared.problems, problem(path, &error.to_string())),
    }
}

/// The first line of an error says what is wrong.
fn problem(path: PathBuf, error: &str) -> Problem {
    Problem { path, message: error.lines().next().unwrap_or_default().to_string() }
}

/// Finds what the modules export, and the files that use it under names of their own.
fn follow(roots: &[PathBuf], shared: &Shared) -> Result<Modules> {
    let mut modules = Modules::default();
    let mut words = std::mem::take(&mut *shared.words.lock().unwrap_or_else(PoisonError::into_inner));
    let mut done = 0;
    loop {
        let candidates = shared.candidates.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = Vec::new();
        for candidate in &candidates[done..] {
            let Some(tree) = candidate.tree() else { continue };
            let found = exports(&tree, &modules.seen_from(&candidate.module));
            names.extend(modules.add(&candidate.module, found));
        }
        done = candidates.len();
        drop(candidates);
        let aliases = Aliases::new(&names);
        if aliases.is_empty() {
            return Ok(modules);
        }
        if aliases.mention_nixl() {
            words = with_aliases(roots, words, &aliases, shared)?;
        } else {
            search_again(roots, &aliases, shared)?;
        }
    }
}

/// Parses those files that have one of the names; returns the others.
fn with_aliases(roots: &[PathBuf], words: Vec<PathBuf>, aliases: &Aliases, shared: &Shared) -> Result<Vec<PathBuf>> {
    let (next, others) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let mut buffer = vec![0; 1 << 16];
        while let Some(path) = words.get(next.fetch_add(1, Ordering::Relaxed)) {
            // What cannot be read any more was read before: another program removed it.
            let Ok(length) = walk::read(path, &mut buffer) else { continue };
            match aliases.are_in(&buffer[..length]) {
                true => parse(roots, path.clone(), &buffer[..length], shared),
                false => push(&others, path.clone()),
            }
        }
    };
    pool(&work, || {})?;
    Ok(unlocked(others))
}

/// Parses those of all files that have one of the names: a name without NIXL's is rare.
fn search_again(roots: &[PathBuf], aliases: &Aliases, shared: &Shared) -> Result<()> {
    let parsed: FxHashSet<PathBuf> = {
        let candidates = shared.candidates.lock().unwrap_or_else(PoisonError::into_inner);
        candidates.iter().map(|candidate| candidate.path.clone()).collect()
    };
    parse_those(roots, shared, &|path, content| {
        if !rust::is_source(path) && !parsed.contains(path) && aliases.are_in(content) {
            Decision::Parse
        } else {
            Decision::Pass
        }
    })
}

/// Judges every place in the candidates.
fn judge(roots: &[PathBuf], shared: &Shared, modules: &Modules) -> Result<Vec<Found>> {
    let mut candidates = std::mem::take(&mut *shared.candidates.lock().unwrap_or_else(PoisonError::into_inner));
    // The longest first, so that no thread waits for it at the end.
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.text.len()));
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(candidate) = candidates.get(next.fetch_add(1, Ordering::Relaxed)) {
            let imports = modules.seen_from(&candidate.module);
            let Some(tree) = candidate.tree() else { continue };
            let places = survey(&candidate.text, &tree, &imports);
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
