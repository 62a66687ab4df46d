//! The Python modules of a tree that name a class of NIXL: found by searching every file's bytes, parsed, and followed from
//! module to module.
//!
//! 1. Every file is read once and searched for NIXL's names; those that have one are parsed while the search goes on.
//! 2. What they export under other names is searched for in the files that write about NIXL at all; those are parsed too,
//!    and so on.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use anyhow::{Context, Result};
use rustc_hash::FxHashSet;
use rustpython_parser::ast::{Stmt, Suite};

use super::modules::{ModuleName, Modules, NewExport};
use super::needles::{Aliases, Noted};
use super::walk::{self, Walk};
use crate::python::agent_call::survey::{Export, Sketch, exports, survey, survey_rest};
use crate::python::encoding::SourceText;
use crate::python::meaning::Imports;
use crate::python::syntax::{self, SyntaxError};
use crate::report::audit::{PlaceChoice, Problem};
use crate::threads;

/// How many files wait to be parsed.
const WAITING: usize = 16;
/// How many bytes of source are kept as trees, which take some twenty times as much; the rest is parsed twice.
const KEPT: usize = 3 << 19;
/// The heap that a thread begins with: that of the trees that are kept, on two threads.
const HEAP_BYTES: usize = 8 * threads::HEAP_BYTES;

/// A module that names a class of NIXL.
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) module: ModuleName,
    pub(super) text: String,
    /// None where too many trees are kept already.
    read: Option<Read>,
}

/// What was read of a module.
enum Read {
    /// All of it.
    Whole(Suite),
    /// Its own level, which says what it exports, and which lines it has.
    Level(Suite, Sketch),
}

impl Read {
    /// Without functions, where those can be left out.
    fn level(text: &str) -> Result<Self, SyntaxError> {
        let level = || {
            let sketch = Sketch::read(text)?;
            Some(Read::Level(syntax::parse_without(text, &sketch.functions())?, sketch))
        };
        level().map_or_else(|| syntax::parse_alone(text).map(Read::Whole), Ok)
    }

    fn suite(&self) -> &[Stmt] {
        match self {
            Read::Whole(suite) | Read::Level(suite, _) => suite,
        }
    }
}

impl Candidate {
    /// Its tree; None never, since it was parsed before.
    pub(super) fn tree(&self) -> Option<Cow<'_, [Stmt]>> {
        match &self.read {
            Some(Read::Whole(tree)) => Some(Cow::Borrowed(tree)),
            _ => syntax::parse_alone(&self.text).ok().map(Cow::Owned),
        }
    }

    /// What it exports.
    pub(super) fn exports(&self, imports: &dyn Imports) -> Vec<Export> {
        match &self.read {
            Some(read) => exports(read.suite(), imports),
            None => Read::level(&self.text).map_or_else(|_| Vec::new(), |read| exports(read.suite(), imports)),
        }
    }

    /// Its places.
    pub(super) fn places(&self, modules: &Modules) -> Vec<PlaceChoice> {
        let imports = modules.seen_from(&self.module);
        let of_rest = |sketch: &Sketch| {
            let rest = syntax::parse_without(&self.text, &sketch.left_out(modules.names())?)?;
            survey_rest(&self.text, &rest, &imports)
        };
        let places = match &self.read {
            Some(Read::Level(_, sketch)) => of_rest(sketch),
            Some(Read::Whole(_)) => None,
            None => Sketch::read(&self.text).and_then(|sketch| of_rest(&sketch)),
        };
        places.or_else(|| Some(survey(&self.text, &self.tree()?, &imports))).unwrap_or_default()
    }
}

/// What becomes of a file that was read.
pub(super) enum Decision {
    /// Nothing.
    Pass,
    /// It writes about NIXL, and may use one of its classes under another module's name for it.
    Note,
    /// It is parsed.
    Parse,
}

/// A search of a tree.
pub(super) struct Search<'s> {
    walk: Walk<'s>,
    /// The module that a file is.
    module_of: &'s (dyn Fn(&Path) -> ModuleName + Sync),
    /// Parses what is not Python.
    other: &'s (dyn Fn(PathBuf, &[u8], &Found) + Sync),
    /// Whether all of each module is parsed, rather than what its exports need.
    whole: bool,
    found: Found,
}

/// What a search finds; its threads share it.
#[derive(Default)]
pub(super) struct Found {
    pub(super) parsed: AtomicUsize,
    kept: AtomicUsize,
    /// Files that write about NIXL and name no class of it.
    noted: Mutex<Vec<Noted>>,
    pub(super) candidates: Mutex<Vec<Candidate>>,
    /// What cannot be read.
    pub(super) unread: Mutex<Vec<Problem>>,
    /// What cannot be parsed.
    pub(super) misunderstood: Mutex<Vec<Problem>>,
}

impl Found {
    /// Adds a file that cannot be parsed. The first line of an error says what is wrong.
    pub(super) fn misunderstand(&self, path: PathBuf, error: &str) {
        let message = error.lines().next().unwrap_or_default().to_string();
        push(&self.misunderstood, Problem { path, message });
    }
}

/// What a mutex holds, whatever became of a thread that held it.
pub(super) fn unlocked<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Adds to a list that threads share.
pub(super) fn push<T>(list: &Mutex<Vec<T>>, item: T) {
    list.lock().unwrap_or_else(PoisonError::into_inner).push(item);
}

impl<'s> Search<'s> {
    /// A search that did not begin.
    pub(super) fn new(
        walk: Walk<'s>,
        module_of: &'s (dyn Fn(&Path) -> ModuleName + Sync),
        other: &'s (dyn Fn(PathBuf, &[u8], &Found) + Sync),
    ) -> Self {
        Search { walk, module_of, other, whole: false, found: Found::default() }
    }

    /// The same, which parses all of each module.
    pub(super) fn of_whole_modules(self) -> Self {
        Search { whole: true, ..self }
    }

    /// Reads all files and parses those that `decide` says; then follows what they export. Returns what was found, and what
    /// the modules export.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn run(self, decide: &(dyn Fn(&Path, &[u8]) -> Decision + Sync)) -> Result<(Found, Modules)> {
        self.parse_those(decide)?;
        let modules = self.follow()?;
        Ok((self.found, modules))
    }

    /// Reads all files, and parses some while the search goes on.
    fn parse_those(&self, decide: &(dyn Fn(&Path, &[u8]) -> Decision + Sync)) -> Result<()> {
        let (sender, receiver) = mpsc::sync_channel::<(PathBuf, Vec<u8>)>(WAITING);
        let receiver = Mutex::new(receiver);
        let next = || receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
        let parse_all = || {
            while let Some((path, content)) = next() {
                self.parse(path, &content);
            }
        };
        pool(&parse_all, || {
            let visit = |path: &Path, content: &[u8]| match decide(path, content) {
                Decision::Pass => {}
                Decision::Note => push(&self.found.noted, Noted::new(path.to_path_buf(), content)),
                // The parsers end after the search, so that there is always one who receives.
                Decision::Parse => drop(sender.send((path.to_path_buf(), content.to_vec()))),
            };
            self.walk.files(&visit, &|problem| push(&self.found.unread, problem));
            drop(sender);
        })
    }

    fn parse(&self, path: PathBuf, content: &[u8]) {
        if !walk::is_python(&path) {
            return (self.other)(path, content, &self.found);
        }
        let text = match SourceText::decode(content) {
            Ok(source) => source.text().to_string(),
            Err(error) => return self.found.misunderstand(path, &error.to_string()),
        };
        self.found.parsed.fetch_add(1, Ordering::Relaxed);
        let read = match self.whole {
            true => syntax::parse_alone(&text).map(Read::Whole),
            false => Read::level(&text),
        };
        match read {
            Ok(read) => {
                let module = (self.module_of)(&path);
                let kept = self.found.kept.fetch_add(text.len(), Ordering::Relaxed) < KEPT;
                push(&self.found.candidates, Candidate { path, module, text, read: kept.then_some(read) });
            }
            Err(error) => self.found.misunderstand(path, &error.to_string()),
        }
    }

    /// Finds what the modules export, and the files that use it under names of their own.
    fn follow(&self) -> Result<Modules> {
        let mut modules = Modules::default();
        let mut noted = std::mem::take(&mut *self.found.noted.lock().unwrap_or_else(PoisonError::into_inner));
        let mut done = 0;
        loop {
            let names = {
                let candidates = self.found.candidates.lock().unwrap_or_else(PoisonError::into_inner);
                let names = add_exports(&candidates, done, &mut modules);
                done = candidates.len();
                names
            };
            let aliases = Aliases::new(&names);
            if aliases.is_empty() {
                return Ok(modules);
            }
            if aliases.mention_nixl() {
                noted = self.with_aliases(noted, &aliases)?;
            } else {
                self.search_again(&aliases)?;
            }
        }
    }

    /// Parses those files that have one of the names; returns the others.
    fn with_aliases(&self, noted: Vec<Noted>, aliases: &Aliases) -> Result<Vec<Noted>> {
        let (possible, mut others): (Vec<Noted>, Vec<Noted>) =
            noted.into_iter().partition(|noted| aliases.may_be_in(noted));
        if possible.is_empty() {
            return Ok(others);
        }
        let (rest, without) = (Mutex::new(possible), Mutex::new(Vec::new()));
        let next = || rest.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let work = || {
            let mut buffer = vec![0; 1 << 16];
            while let Some(noted) = next() {
                // What cannot be read any more was read before: another program removed it.
                let Ok(length) = walk::read(&noted.path, &mut buffer) else { continue };
                match aliases.are_in(&buffer[..length]) {
                    true => self.parse(noted.path, &buffer[..length]),
                    false => push(&without, noted),
                }
            }
        };
        pool(&work, || {})?;
        others.extend(unlocked(without));
        Ok(others)
    }

    /// Parses those of all files that have one of the names: a name without NIXL's is rare.
    fn search_again(&self, aliases: &Aliases) -> Result<()> {
        let parsed: FxHashSet<PathBuf> = {
            let candidates = self.found.candidates.lock().unwrap_or_else(PoisonError::into_inner);
            candidates.iter().map(|candidate| candidate.path.clone()).collect()
        };
        self.parse_those(&|path, content| {
            if walk::is_python(path) && !parsed.contains(path) && aliases.are_in(content) {
                Decision::Parse
            } else {
                Decision::Pass
            }
        })
    }
}

/// Adds what the candidates export, those from `done` on for the first time. What one of them exports under another name can
/// be what an earlier one passes on. Returns what was not known yet.
fn add_exports(candidates: &[Candidate], done: usize, modules: &mut Modules) -> Vec<NewExport> {
    let mut add = |candidate: &Candidate| {
        let found = candidate.exports(&modules.seen_from(&candidate.module));
        modules.add(&candidate.module, found)
    };
    let mut all: Vec<NewExport> = candidates[done..].iter().flat_map(&mut add).collect();
    let mut new = all.clone();
    while !new.is_empty() {
        let aliases = Aliases::new(&new);
        let passing_on = candidates.iter().filter(|candidate| aliases.are_in(candidate.text.as_bytes()));
        new = passing_on.flat_map(&mut add).collect();
        all.extend(new.iter().cloned());
    }
    all
}

/// Runs `work` on several threads with room for deep trees, and then `here` on this one.
///
/// # Errors
/// When none can be started; then `here` does not run.
pub(super) fn pool(work: &(dyn Fn() + Sync), here: impl FnOnce()) -> Result<()> {
    let count = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        threads::grow_heap(HEAP_BYTES);
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
