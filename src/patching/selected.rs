//! The modules that a run concerns: Dynamo's own, and what `--also` names.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Result, bail};

use crate::audit::across::Tree;
use crate::environment::python::module::{Listed, Module};
use crate::environment::python::search;
use crate::environment::python::target::{self, Environment};
use crate::environment::variables::Variables;
use crate::source::marker;

/// In every source with a call that this tool rewrites: the class, or what a configuration's class begins with.
const WORD: &str = "nixl_agent";

/// The targets of a run, and what they are resolved with.
#[derive(Clone, Copy)]
pub(crate) struct Targets<'a> {
    /// Those of the command line; none means the default environment.
    pub named: &'a [PathBuf],
    /// The process's environment variables.
    pub variables: &'a Variables,
    /// The process's current directory; empty where it has none.
    pub directory: &'a Path,
    /// Whether no interpreter may be started.
    pub no_exec: bool,
    /// Which files of them.
    pub selection: Selection<'a>,
}

/// Which files of an environment a run concerns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Selection<'a> {
    /// Of Dynamo's own modules only `dynamo.nixl_connect`.
    pub only_nixl_connect: bool,
    /// Packages, distributions, folders and files besides Dynamo's.
    pub also: &'a [String],
    /// Whether a source that no release of Dynamo has is refused.
    pub known_only: bool,
}

/// A module of the run.
pub(super) struct Selected {
    /// The place of its environment.
    pub environment: usize,
    /// The module.
    pub module: Module,
    /// What the modules around it bind, where calls in it may go through their names.
    pub tree: Option<Rc<Tree>>,
}

/// All modules of the run: Dynamo's of each environment, what `--also` names, and with `marked` every other file of the
/// environments that was patched before. A file is there once.
///
/// # Errors
/// When an environment has no `dynamo.nixl_connect`, or `--also` names nothing or what cannot be read.
pub(super) fn modules(environments: &[Environment], targets: Targets, marked: bool) -> Result<Vec<Selected>> {
    let mut all = Vec::new();
    let alone = |environment, module| Selected { environment, module, tree: None };
    for (number, environment) in environments.iter().enumerate() {
        let mut own = target::require_modules(environment)?;
        if targets.selection.only_nixl_connect {
            own.truncate(1);
        }
        all.extend(own.into_iter().map(|module| alone(number, module)));
        if marked && !targets.selection.only_nixl_connect && !environment.is_named() {
            let patched = search::containing_anywhere(&environment.import_path, marker::FIRST);
            all.extend(patched.into_iter().map(|path| {
                alone(number, Module::searched(path, &environment.import_path, "carries nixl-retrofit's marker"))
            }));
        }
    }
    for name in targets.selection.also {
        all.extend(also(environments, name)?);
    }
    let mut known = HashSet::new();
    all.retain(|Selected { module, .. }| {
        known.insert(fs::canonicalize(&module.path).unwrap_or_else(|_| module.path.clone()))
    });
    Ok(all)
}

/// The modules that a value of `--also` names: a package or distribution of the environments, or else a path.
fn also(environments: &[Environment], name: &str) -> Result<Vec<Selected>> {
    let mut found = Vec::new();
    let mut is_known = false;
    for (number, environment) in environments.iter().enumerate() {
        let Some(named) = search::named(&environment.import_path, name)? else { continue };
        is_known = true;
        found.extend(below(&named.places(), (number, environment), name)?);
    }
    if is_known {
        return Ok(found);
    }
    let path = Path::new(name);
    let Some(first) = environments.first().filter(|_| path.exists()) else { return unknown(environments, name) };
    let place = path.to_path_buf();
    if path.is_dir() {
        return below(&[place], (0, first), name);
    }
    let tree = Some(Rc::new(Tree::read(std::slice::from_ref(&place), &first.folders())?));
    let module = named_module(place, first, name, Listed::Always);
    Ok(vec![Selected { environment: 0, module, tree }])
}

/// The modules below these folders, and these files, as far as they may create an agent.
fn below(places: &[PathBuf], (number, environment): (usize, &Environment), name: &str) -> Result<Vec<Selected>> {
    let tree = Rc::new(Tree::read(places, &environment.folders())?);
    let selected = |path: &PathBuf| {
        let module = named_module(path.clone(), environment, name, Listed::WithSites);
        Selected { environment: number, module, tree: Some(Rc::clone(&tree)) }
    };
    Ok(tree.sources().iter().map(selected).collect())
}

fn named_module(path: PathBuf, environment: &Environment, name: &str, listed: Listed) -> Module {
    let mut module = Module::searched(path, &environment.import_path, &format!("named by `--also {name}`"));
    module.listed = listed;
    module
}

fn unknown<T>(environments: &[Environment], name: &str) -> Result<T> {
    let mut possible: Vec<String> = Vec::new();
    for environment in environments {
        let files = search::containing_anywhere(&environment.import_path, WORD);
        possible.extend(files.iter().filter_map(|file| package(file, environment)));
    }
    possible.sort();
    possible.dedup();
    let hint = if possible.is_empty() {
        "no package here creates NIXL agents".into()
    } else {
        format!("packages here whose sources contain `{WORD}`: {}", possible.join(", "))
    };
    bail!("`--also {name}`: no such package, distribution, file or folder\nhelp: pass one of those or a path; {hint}")
}

/// The import package that a file lies in.
fn package(file: &Path, environment: &Environment) -> Option<String> {
    let inside: &Path = environment.import_path.iter().find_map(|folder| file.strip_prefix(&folder.path).ok())?;
    let first: PathBuf = inside.iter().next()?.into();
    Some(first.with_extension("").display().to_string())
}
