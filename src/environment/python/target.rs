//! What a TARGET of the command line is: a source file, or an environment that may have the module.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::distribution;
use super::interpreter::{Interpreter, Unusable};
use super::layout;
use super::module::{self, Listed, Module, SOURCE};
use super::site_packages::{self, ImportFolder};
use crate::environment::variables::Variables;
use crate::shown::Shown;

/// Dynamo's virtual environment in the released images.
const DYNAMO_ENVIRONMENT: &str = "/opt/dynamo/venv";

/// How an environment's interpreter is used.
#[derive(Clone, Copy)]
pub(crate) enum Execution<'a> {
    /// It is started, tells its import path, and runs this program in the background.
    Start(&'a str),
    /// It is never started (`--no-exec`): its files tell its import path.
    Never,
}

/// An interpreter that was not started.
pub(crate) struct NotStarted {
    /// Its path.
    pub command: PathBuf,
    /// Why it cannot be; None where [`Execution::Never`] forbids it.
    pub broken: Option<String>,
}

/// A Python environment, or the part of one that a TARGET is.
pub(crate) struct Environment {
    /// Its path as the user knows it.
    pub label: String,
    /// The folders that its Python imports from, without the standard library's.
    pub import_path: Vec<ImportFolder>,
    /// Its interpreter, which is running the program given to [`resolve`].
    pub interpreter: Option<Interpreter>,
    /// Its interpreter, where that was not started: its files told the import path.
    pub not_started: Option<NotStarted>,
    /// `PYTHONPYCACHEPREFIX`: its Python keeps bytecode below that folder.
    pub cache_prefix: Option<PathBuf>,
    /// The modules, when TARGET is a file or a package.
    named: Vec<Module>,
}

impl Environment {
    /// Dynamo's modules that create agents, those that an import would load; or those that TARGET names.
    fn modules(&self) -> Vec<Module> {
        if self.named.is_empty() { module::find_all(&self.import_path) } else { self.named.clone() }
    }

    /// Whether TARGET is a file or a package, not an environment.
    pub(crate) fn is_named(&self) -> bool {
        !self.named.is_empty()
    }

    /// Whether `dynamo.nixl_connect` is installed.
    pub(crate) fn has_module(&self) -> bool {
        !self.named.is_empty() || module::is_there(&self.import_path)
    }

    /// The paths of its import path's folders.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        self.import_path.iter().map(|folder| folder.path.clone()).collect()
    }

    /// Whether its import path is all that its Python imports from, and not the folder of a TARGET alone.
    pub(crate) fn has_python(&self) -> bool {
        self.interpreter.is_some() || self.not_started.is_some()
    }

    /// Its Python's version, `3.12.1` or `3.12`, as the interpreter or the name of a folder tells.
    pub(crate) fn python_version(&self) -> Option<String> {
        let of_folder = |folder: &ImportFolder| {
            let parts = folder.path.iter().filter_map(OsStr::to_str);
            parts
                .filter_map(|part| part.strip_prefix("python"))
                .find(|version| version.starts_with("3."))
                .map(Into::into)
        };
        let started = self.interpreter.as_ref().map(|interpreter| interpreter.version.clone());
        started.or_else(|| self.import_path.first().and_then(of_folder))
    }

    /// Whether the Python of this environment, which was not started, imports as that one does.
    pub(crate) fn imports_as(&self, started: &Environment) -> bool {
        let is_broken = |it: &Environment| it.not_started.as_ref().is_some_and(|it| it.broken.is_some());
        let versions = [self.python_version(), started.python_version()].map(Option::unwrap_or_default);
        let [expected, told] = versions.each_ref().map(|version| version.split('.').take(2));
        self.import_path == started.import_path && expected.eq(told) && !is_broken(started)
    }

    fn new(path: &Path, import_path: Vec<ImportFolder>, variables: &Variables) -> Self {
        Environment {
            label: path.shown().to_string(),
            import_path,
            interpreter: None,
            not_started: None,
            cache_prefix: variables.non_empty("PYTHONPYCACHEPREFIX").map(PathBuf::from),
            named: Vec::new(),
        }
    }

    fn of_folder(folder: &Path, variables: &Variables) -> Self {
        Environment::new(folder, site_packages::expand(folder), variables)
    }

    fn of_interpreter(command: &Path, execution: Execution, variables: &Variables) -> Result<Self> {
        let Execution::Start(program) = execution else { return Environment::of_files(command, None, variables) };
        match Interpreter::start(command, program, variables) {
            Ok(interpreter) => {
                let environment = Environment::new(command, interpreter.import_path.clone(), variables);
                Ok(Environment { interpreter: Some(interpreter), ..environment })
            }
            // An image whose own Python is gone, or is another one, keeps the environment's packages.
            Err(Unusable::Broken(fact)) if layout::is_virtual(command) => {
                Environment::of_files(command, Some(fact.clone()), variables).map_err(|error| {
                    let reason = without_help(&format!("{error:#}"));
                    let reason = reason.rsplit("the interpreter: ").next().unwrap_or_default();
                    anyhow!(
                        "{}: the interpreter {fact}, and its files leave the import path open: {reason}\n\
                         help: pass the site-packages folder as TARGET",
                        command.shown()
                    )
                })
            }
            Err(fact) => bail!(
                "{}: the interpreter {fact}\nhelp: pass `--no-exec` to find the import path without starting it",
                command.shown()
            ),
        }
    }

    /// That of an interpreter which is not started.
    fn of_files(command: &Path, broken: Option<String>, variables: &Variables) -> Result<Self> {
        let import_path = layout::import_path(command, variables)?;
        let not_started = Some(NotStarted { command: command.to_path_buf(), broken });
        Ok(Environment { not_started, ..Environment::new(command, import_path, variables) })
    }

    fn of_file(path: &Path, found_by: &str, variables: &Variables) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let site = distribution::site_packages_of(&absolute).ok().flatten();
        let import_path = site.map(site_packages::expand).unwrap_or_default();
        Environment { named: vec![Module::of_file(path, found_by)], ..Environment::new(path, import_path, variables) }
    }
}

/// What a command takes as TARGET, in the words of an error's help.
pub(crate) enum Takes {
    /// What can be patched.
    Sources,
    /// What a NIXL can be loaded from.
    Nixl,
}

impl Takes {
    fn words(&self) -> &'static str {
        match self {
            Takes::Sources => {
                "a source file, a package or site-packages folder, a virtual environment or a Python interpreter"
            }
            Takes::Nixl => "a virtual environment, a Python interpreter, a site-packages folder or a NIXL installation",
        }
    }
}

/// The environment that TARGET is or belongs to. Of a file, a package or a site-packages folder, no interpreter is started.
///
/// # Errors
/// When TARGET does not exist, or its interpreter does not work.
pub(crate) fn resolve(
    target: &Path,
    takes: &Takes,
    execution: Execution,
    variables: &Variables,
) -> Result<Environment> {
    if is_link_to_nothing(target) && has_interpreters_name(target) && layout::is_virtual(target) {
        return Environment::of_interpreter(target, execution, variables);
    }
    let metadata = std::fs::metadata(target).map_err(|error| {
        anyhow!("{}: cannot be accessed: {error}\nhelp: pass {} as TARGET", target.shown(), takes.words())
    })?;
    if metadata.is_dir() {
        return resolve_folder(target, execution, variables);
    }
    if is_interpreter(target, &metadata) {
        return Environment::of_interpreter(target, execution, variables);
    }
    Ok(Environment::of_file(target, "named on the command line", variables))
}

/// The folders that an audit of `root` reads: what an environment's Python imports from, without the standard library, or
/// the folder or file itself.
///
/// # Errors
/// When `root` does not exist, or its interpreter does not work.
pub(crate) fn audited(root: &Path, execution: Execution, variables: &Variables) -> Result<Vec<PathBuf>> {
    let metadata = std::fs::metadata(root).map_err(|error| {
        anyhow!(
            "{}: cannot be accessed: {error}\n\
             help: pass a virtual environment, a Python interpreter, a folder or a file as ROOT",
            root.shown()
        )
    })?;
    if metadata.is_dir() && is_site_packages(root) {
        return Ok(site_packages::expand(root).into_iter().map(|folder| folder.path).collect());
    }
    let is_environment = if metadata.is_dir() { python_of(root).is_some() } else { is_interpreter(root, &metadata) };
    if is_environment {
        return Ok(resolve(root, &Takes::Sources, execution, variables)?.folders());
    }
    Ok(vec![root.to_path_buf()])
}

fn is_interpreter(path: &Path, metadata: &std::fs::Metadata) -> bool {
    has_interpreters_name(path) && metadata.is_file()
}

/// Whether a file is called `python`, `python3`, `python3.12`, `pypy3`, …; a source is called `*.py`.
fn has_interpreters_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let rest = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"));
    rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || "._-dt".contains(c)))
}

fn is_link_to_nothing(path: &Path) -> bool {
    path.is_symlink() && !path.exists()
}

fn resolve_folder(folder: &Path, execution: Execution, variables: &Variables) -> Result<Environment> {
    if folder.join(SOURCE).exists() {
        return Ok(Environment::of_folder(folder, variables));
    }
    let packages = [folder.join("nixl_connect/__init__.py"), folder.join("__init__.py")];
    if let Some(path) = packages.iter().find(|path| path.exists()) {
        let found_by = "in the folder named on the command line";
        let mut environment = Environment::of_file(path, found_by, variables);
        let other = folder.join("common/multimodal/embedding_transfer.py");
        if *path == packages[0] && other.exists() {
            let mut other = Module::of_file(&other, found_by);
            other.listed = Listed::WithCalls;
            environment.named.push(other);
        }
        return Ok(environment);
    }
    // A package may bring a `bin/python3` of its own, which is none of an environment's.
    if is_site_packages(folder) {
        return Ok(Environment::of_folder(folder, variables));
    }
    if let Some(python) = python_of(folder) {
        return Environment::of_interpreter(&python, execution, variables);
    }
    Ok(Environment::of_folder(folder, variables))
}

/// Whether a folder is where packages are installed: by its name, or as `pip install --target` makes one.
fn is_site_packages(folder: &Path) -> bool {
    let named = ["site-packages", "dist-packages"].iter().any(|name| folder.ends_with(name));
    named || !site_packages::files_ending(folder, ".dist-info").is_empty()
}

/// The interpreter of a virtual environment or another prefix (`/usr`, a conda environment).
fn python_of(folder: &Path) -> Option<PathBuf> {
    let candidates = ["bin/python3", "bin/python"].map(|name| folder.join(name));
    let found = candidates.iter().find(|python| python.exists()).cloned();
    // A virtual environment without its interpreter is an error, which starting it reports.
    found.or_else(|| folder.join("pyvenv.cfg").exists().then(|| candidates[0].clone()))
}

/// The environment for a run without TARGET: the first of `$VIRTUAL_ENV`, the `python3` on PATH and `/opt/dynamo/venv`
/// in which `wanted` finds what it looks for, and what that is. `what` names it in messages; `execution` is as
/// for [`resolve`].
///
/// # Errors
/// When there is none; the message lists what was searched.
pub(crate) fn default_environment<T>(
    execution: Execution,
    what: &str,
    variables: &Variables,
    wanted: impl Fn(&Environment) -> Option<T>,
) -> Result<(Environment, T)> {
    first_default(what, variables, |path| {
        let environment = resolve(path, &Takes::Sources, execution, variables)?;
        let found = wanted(&environment);
        Ok((environment, found))
    })
}

/// The same, with `look` for both the environment at a path and what is found there.
///
/// # Errors
/// When there is none; the message lists what was searched.
pub(crate) fn first_default<T>(
    what: &str,
    variables: &Variables,
    look: impl Fn(&Path) -> Result<(Environment, Option<T>)>,
) -> Result<(Environment, T)> {
    let mut searched = Vec::new();
    for DefaultPlace { name, path, absence } in default_places(variables) {
        let Some(path) = path else {
            searched.push(format!("{name}: {absence}"));
            continue;
        };
        let outcome = match look(&path) {
            Ok((environment, Some(found))) => return Ok((environment, found)),
            Ok((environment, None)) => format!("no {what} in {}", list(&environment.folders(), ", ")),
            Err(error) => without_help(&format!("{error:#}")),
        };
        searched.push(format!("{name} ({}): {outcome}", path.shown()));
    }
    bail!(
        "no {what} found; searched:\n  {}\nhelp: pass the environment, its interpreter or the file as TARGET",
        searched.join("\n  ")
    )
}

/// A place to search when there is no TARGET.
struct DefaultPlace {
    name: String,
    path: Option<PathBuf>,
    /// Why there is no path.
    absence: &'static str,
}

/// The help for a place is not to pass it.
fn without_help(error: &str) -> String {
    error.split("\nhelp: ").next().unwrap_or_default().to_string()
}

fn default_places(variables: &Variables) -> [DefaultPlace; 3] {
    let (on_path, not_on_path) = on_path("python3", variables);
    let place = |name: &str, path, absence| DefaultPlace { name: name.into(), path, absence };
    let dynamo = Path::new(DYNAMO_ENVIRONMENT);
    [
        place("`$VIRTUAL_ENV`", variables.non_empty("VIRTUAL_ENV").map(PathBuf::from), "not set"),
        place("`python3` on PATH", on_path, not_on_path),
        place(
            "Dynamo's environment",
            dynamo.is_dir().then(|| dynamo.to_path_buf()),
            "`/opt/dynamo/venv` does not exist",
        ),
    ]
}

/// A program on PATH, and what to say where there is none. An empty or relative entry depends on the current folder, which
/// may be anybody's: it is not searched.
fn on_path(name: &str, variables: &Variables) -> (Option<PathBuf>, &'static str) {
    let entries = variables.get("PATH").into_iter().flat_map(env::split_paths);
    let (absolute, relative): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|folder| folder.is_absolute());
    let found = absolute.iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    (
        found,
        if relative.is_empty() { "not found" } else { "not found; its empty and relative entries are not searched" },
    )
}

/// Dynamo's modules in an environment, `dynamo.nixl_connect` first.
///
/// # Errors
/// When it has no `dynamo.nixl_connect`, without which Dynamo's other modules create no agents that work together; the message
/// lists the folders that were searched.
pub(crate) fn require_modules(environment: &Environment) -> Result<Vec<Module>> {
    if environment.has_module() { Ok(environment.modules()) } else { Err(no_module(environment)) }
}

fn no_module(environment: &Environment) -> anyhow::Error {
    let label = &environment.label;
    if let Some(owner) = module::owner_of_missing(&environment.import_path) {
        let record = owner.record.path.shown();
        return anyhow!(
            "{label}: `{SOURCE}` does not exist, although `{record}` lists it\nhelp: reinstall `{}` {}",
            owner.name,
            owner.version
        );
    }
    anyhow!(
        "{label}: no `{SOURCE}`; searched:\n  {}\n\
         help: install `ai-dynamo-runtime` 0.4.0 or newer, or pass the environment that has it as TARGET",
        list(&environment.folders(), "\n  ")
    )
}

fn list(folders: &[PathBuf], separator: &str) -> String {
    let folders: Vec<String> = folders.iter().map(|folder| folder.shown().to_string()).collect();
    folders.join(separator)
}
