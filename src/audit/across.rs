//! What the modules around some files bind to NIXL's classes, as certainly as a rewrite needs it: for `apply --also`.
//!
//! The same search as an audit's. What it finds by names is then judged: an alias counts where its module binds it to NIXL's
//! class and to nothing else but None.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Result, bail};
use memchr::memmem::{self, Finder};
use rustc_hash::FxHashMap;

use super::modules::{ModuleName, is_called};
use super::needles::{self, Mention, is_assigned};
use super::tree::{Candidate, Decision, Search, push, unlocked};
use super::walk::{self, Walk};
use crate::python::agent_call::certainty;
use crate::python::agent_call::survey::exports;
use crate::python::meaning::{Alias, Certainty, Imports, NixlClass};
use crate::shown::Shown;

/// In every source with a call of NIXL's classes by their own names.
const WORD: &[u8] = b"nixl_agent";

/// The number of a candidate, and the class that it exports.
type Exporter = (usize, NixlClass);

/// A module, and the folder that its name begins below.
struct Located {
    base: PathBuf,
    name: ModuleName,
}

/// The sources of some packages that may create an agent, and what the packages' modules bind.
pub(crate) struct Tree {
    sources: Vec<PathBuf>,
    candidates: Vec<(Candidate, PathBuf)>,
    /// By the name, the candidates that export it.
    exports: FxHashMap<String, Vec<Exporter>>,
    import_folders: Vec<PathBuf>,
    /// What was judged before; None while it is judged.
    judged: RefCell<FxHashMap<(usize, String), Option<Certainty>>>,
}

impl Tree {
    /// Reads the packages around these folders and files. Python imports from `import_folders`.
    ///
    /// # Errors
    /// When a source below the places cannot be read.
    pub(crate) fn read(places: &[PathBuf], import_folders: &[PathBuf]) -> Result<Self> {
        let import_folders: Vec<PathBuf> =
            import_folders.iter().filter_map(|folder| std::path::absolute(folder).ok()).collect();
        let packages = packages_around(places, &import_folders);
        let named = Mutex::new(Vec::new());
        let module_of = |path: &Path| locate(path, &import_folders).name;
        let walk = Walk { roots: &packages, follow_links: false, accepts: walk::is_python };
        let (found, modules) =
            Search::new(walk, &module_of, &|_, _, _| {}).of_whole_modules().run(&|path, content| {
                let mention = needles::mention(content);
                if mention != Mention::None && memmem::find(content, WORD).is_some() {
                    push(&named, path.to_path_buf());
                }
                match mention {
                    Mention::None => Decision::Pass,
                    Mention::Word => Decision::Note,
                    Mention::Class => Decision::Parse,
                }
            })?;
        // A source that is not understood matters where it is judged.
        let unread = unlocked(found.unread);
        if let Some(problem) = unread.iter().find(|problem| as_written(&problem.path, places).is_some()) {
            bail!("{}: {}", problem.path.shown(), problem.message);
        }
        let mut candidates = unlocked(found.candidates);
        // They come from several threads.
        candidates.sort_by(|one, other| one.path.cmp(&other.path));
        let mut exported: FxHashMap<String, Vec<Exporter>> = FxHashMap::default();
        for (number, candidate) in candidates.iter().enumerate() {
            let Some(tree) = candidate.tree() else { continue };
            for export in exports(&tree, &modules.seen_from(&candidate.module)) {
                let known = exported.entry(export.name).or_default();
                if !known.contains(&(number, export.class)) {
                    known.push((number, export.class));
                }
            }
        }
        let paths = candidates.iter().map(|candidate| candidate.path.clone()).chain(unlocked(named));
        let mut sources: Vec<PathBuf> = paths.filter_map(|path| as_written(&path, places)).collect();
        sources.sort();
        sources.dedup();
        let with_base = |candidate: Candidate| {
            let base = locate(&candidate.path, &import_folders).base;
            (candidate, base)
        };
        let candidates = candidates.into_iter().map(with_base).collect();
        Ok(Tree { sources, candidates, exports: exported, import_folders, judged: RefCell::default() })
    }

    /// The sources below the places that may create an agent, sorted.
    pub(crate) fn sources(&self) -> &[PathBuf] {
        &self.sources
    }

    /// What a file knows of the others.
    pub(crate) fn seen_from(&self, path: &Path) -> Seen<'_> {
        Seen { tree: self, importer: locate(path, &self.import_folders) }
    }

    /// Whether the module gives nothing else under the name.
    fn certainty(&self, number: usize, name: &str, class: NixlClass) -> Certainty {
        let key = (number, name.to_string());
        if let Some(known) = self.judged.borrow().get(&key) {
            return known.clone().unwrap_or_else(|| Certainty::Doubtful("is imported in a circle".into()));
        }
        self.judged.borrow_mut().insert(key.clone(), None);
        let judged = self.judge(number, name, class);
        self.judged.borrow_mut().insert(key, Some(judged.clone()));
        judged
    }

    fn judge(&self, number: usize, name: &str, class: NixlClass) -> Certainty {
        let (candidate, base) = &self.candidates[number];
        if let Some(path) = self.replacing(number, name) {
            return Certainty::Doubtful(format!(
                "may be replaced: `{}` assigns an attribute of that name",
                path.shown()
            ));
        }
        let importer = Located { base: base.clone(), name: candidate.module.clone() };
        let imports = Seen { tree: self, importer };
        match candidate.tree() {
            Some(tree) => certainty(&candidate.text, &tree, name, class, &imports),
            None => Certainty::Doubtful("is in a module that cannot be parsed".into()),
        }
    }

    /// Another module that assigns an attribute of this name to anything.
    fn replacing(&self, number: usize, name: &str) -> Option<&Path> {
        let attribute = format!(".{name}");
        let finder = Finder::new(&attribute);
        let others = self.candidates.iter().enumerate().filter(|(other, _)| *other != number);
        let assigns = |candidate: &Candidate| {
            let text = candidate.text.as_bytes();
            finder.find_iter(text).any(|at| is_assigned(&text[at + attribute.len()..]))
        };
        others.map(|(_, (candidate, _))| candidate).find(|it| assigns(it)).map(|candidate| candidate.path.as_path())
    }
}

/// The modules as one of them sees them.
pub(crate) struct Seen<'t> {
    tree: &'t Tree,
    importer: Located,
}

impl Seen<'_> {
    /// The modules that export the name and can be imported as `module`: those that certainly are, and the others.
    fn exporting(&self, module: &str, name: &str) -> (Vec<Exporter>, Vec<Exporter>) {
        let all = self.tree.exports.get(name).into_iter().flatten().copied();
        let called = all.filter(|(number, _)| is_called(self.tree.candidates[*number].0.module.dotted(), module));
        called.partition(|(number, _)| {
            let (candidate, base) = &self.tree.candidates[*number];
            candidate.module.dotted() == module && *base == self.importer.base
        })
    }
}

impl Imports for Seen<'_> {
    fn absolute(&self, level: u32, module: &str) -> String {
        self.importer.name.absolute(level, module)
    }

    fn alias(&self, module: &str, name: &str) -> Option<Alias> {
        let (exact, others) = self.exporting(module, name);
        let doubtful = |class, why: &str| {
            let certainty = Certainty::Doubtful(format!("`{name}` of the module `{module}` {why}"));
            Some(Alias { class, certainty })
        };
        match (exact.as_slice(), others.as_slice()) {
            ([], []) => None,
            ([(number, class)], _) => match self.tree.certainty(*number, name, *class) {
                Certainty::Doubtful(why) => doubtful(*class, &why),
                certain => Some(Alias { class: *class, certainty: certain }),
            },
            ([], [(number, class), ..]) => {
                let path = self.tree.candidates[*number].0.path.shown();
                doubtful(*class, &format!("may come from another file than `{path}`"))
            }
            ([(_, class), ..], _) => doubtful(*class, "comes from one of several files"),
        }
    }

    fn all(&self, _module: &str) -> Vec<(String, NixlClass)> {
        Vec::new()
    }
}

/// The module that a file is: below the folder of the import path that it lies in, or below the first folder above it that
/// is no package.
fn locate(path: &Path, import_folders: &[PathBuf]) -> Located {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let base = base_of(absolute.parent().unwrap_or(Path::new("")), import_folders);
    let name = ModuleName::of(absolute.strip_prefix(&base).unwrap_or(&absolute));
    Located { base, name }
}

/// The folder that the names of the modules in a folder begin below.
fn base_of(folder: &Path, import_folders: &[PathBuf]) -> PathBuf {
    let around = import_folders.iter().filter(|import| folder.starts_with(import));
    if let Some(import) = around.max_by_key(|import| import.components().count()) {
        return import.clone();
    }
    let is_package = |folder: &&Path| folder.join("__init__.py").is_file();
    let packages = folder.ancestors().take_while(is_package).count();
    folder.ancestors().nth(packages).unwrap_or(folder).to_path_buf()
}

/// What is read for these folders and files: the packages around them, none of them below another one. Beside a module that
/// is in no package and not on the import path, the modules in its folder.
fn packages_around(places: &[PathBuf], import_folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = places.iter().flat_map(|place| package_around(place, import_folders)).collect();
    all.sort();
    all.dedup_by(|later, earlier| later.starts_with(earlier.as_path()));
    all
}

fn package_around(place: &Path, import_folders: &[PathBuf]) -> Vec<PathBuf> {
    let absolute = std::path::absolute(place).unwrap_or_else(|_| place.to_path_buf());
    let folder = if absolute.is_dir() { absolute.as_path() } else { absolute.parent().unwrap_or(&absolute) };
    let base = base_of(folder, import_folders);
    let Some(first) = folder.strip_prefix(&base).ok().and_then(|below| below.components().next()) else {
        let is_script = absolute.is_file() && !import_folders.contains(&base);
        return if is_script { modules_in(&base, &absolute) } else { vec![absolute] };
    };
    vec![base.join(first)]
}

/// A file below one of the places, as that is written.
fn as_written(path: &Path, places: &[PathBuf]) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    places.iter().find_map(|place| {
        let below = absolute.strip_prefix(std::path::absolute(place).ok()?).ok()?;
        Some(if below.as_os_str().is_empty() { place.clone() } else { place.join(below) })
    })
}

/// The modules in a folder, and this file.
fn modules_in(folder: &Path, file: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let modules = entries.map(|entry| entry.path()).filter(|path| walk::is_python(path) && path.is_file());
    modules.chain([file.to_path_buf()]).collect()
}
