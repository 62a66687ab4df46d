//! What a TARGET on the command line names: a source file, or an environment to find the module in.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::distribution;
use super::interpreter::Interpreter;
use super::module::{self, Module, SOURCE};
use super::site_packages::{self, ImportFolder};
use crate::environment::variables::Variables;

/// Where released images keep Dynamo's virtual environment.
const DYNAMO_ENVIRONMENT: &str = "/opt/dynamo/venv";

/// A place that was looked into: its import path, and its interpreter where it has one.
pub(crate) struct Environment {
    /// As a user would name it.
    pub label: String,
    /// The folders that its Python imports from, the standard library's aside.
    pub import_path: Vec<ImportFolder>,
    /// Its interpreter, already running the program that was given to `resolve`.
    pub interpreter: Option<Interpreter>,
    /// The module itself, where TARGET is a file or a package folder.
    named: Option<Module>,
}

impl Environment {
    /// The installed `dynamo.nixl_connect`, if there is one.
    pub(crate) fn module(&self) -> Option<Module> {
        self.named.clone().or_else(|| module::find(&self.import_path))
    }

    /// Whether there is one.
    pub(crate) fn has_module(&self) -> bool {
        self.named.is_some() || module::is_there(&self.import_path)
    }

    /// Its folders, for what looks for other things in them.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        self.import_path.iter().map(|folder| folder.path.clone()).collect()
    }

    fn of_folder(folder: &Path) -> Self {
        Environment {
            label: folder.display().to_string(),
            import_path: site_packages::expand(folder),
            interpreter: None,
            named: None,
        }
    }

    fn of_interpreter(command: &Path, program: &str) -> Result<Self> {
        let interpreter = Interpreter::start(command, program)?;
        Ok(Environment {
            label: command.display().to_string(),
            import_path: interpreter.import_path.clone(),
            interpreter: Some(interpreter),
            named: None,
        })
    }

    fn of_file(path: &Path, found_by: &str) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let site_packages = distribution::site_packages_of(&absolute).map(Path::to_path_buf);
        Environment {
            label: path.display().to_string(),
            import_path: site_packages.map(|folder| site_packages::expand(&folder)).unwrap_or_default(),
            interpreter: None,
            named: Some(Module::of_file(path, found_by)),
        }
    }
}

/// What TARGET names. `program` is what an environment's interpreter is asked to run meanwhile.
///
/// # Errors
/// Where there is no such thing, or it is nothing that can hold Dynamo.
pub(crate) fn resolve(target: &Path, program: &str) -> Result<Environment> {
    let metadata = std::fs::metadata(target)
        .with_context(|| format!("{}: no such file or folder, or it cannot be reached", target.display()))?;
    if metadata.is_dir() {
        return resolve_folder(target, program);
    }
    if is_interpreter(target, &metadata) {
        return Environment::of_interpreter(target, program);
    }
    Ok(Environment::of_file(target, "named on the command line"))
}

/// `python`, `python3`, `python3.12`, `pypy3` …; a source's name has an ending.
fn is_interpreter(path: &Path, metadata: &std::fs::Metadata) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let rest = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"));
    let named = rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || "._-dt".contains(c)));
    named && metadata.is_file()
}

fn resolve_folder(folder: &Path, program: &str) -> Result<Environment> {
    if let Some(python) = python_of(folder) {
        return Environment::of_interpreter(&python, program);
    }
    if folder.join(SOURCE).exists() {
        return Ok(Environment::of_folder(folder));
    }
    let packages = [folder.join("nixl_connect/__init__.py"), folder.join("__init__.py")];
    if let Some(path) = packages.iter().find(|path| path.exists()) {
        return Ok(Environment::of_file(path, "in the folder named on the command line"));
    }
    Ok(Environment::of_folder(folder))
}

/// The interpreter of a virtual environment or of another prefix (`/usr`, a conda environment).
fn python_of(folder: &Path) -> Option<PathBuf> {
    let candidates = ["bin/python3", "bin/python"].map(|name| folder.join(name));
    let found = candidates.iter().find(|python| python.exists()).cloned();
    // A virtual environment whose interpreter is gone: starting it says so.
    found.or_else(|| folder.join("pyvenv.cfg").exists().then(|| candidates[0].clone()))
}

/// What was searched when no TARGET was given, and with what outcome.
#[derive(Default)]
pub(crate) struct Searched(Vec<String>);

impl Searched {
    fn note(&mut self, place: &str, outcome: &str) {
        self.0.push(format!("  {place}: {outcome}"));
    }
}

/// The environment to work on when no TARGET was given: the first of `$VIRTUAL_ENV`, the `python3` on PATH and
/// `/opt/dynamo/venv` for which `wanted` holds.
///
/// # Errors
/// Where none does; the message names what was searched.
pub(crate) fn default_environment(
    program: &str,
    what: &str,
    variables: &Variables,
    wanted: impl Fn(&Environment) -> bool,
) -> Result<Environment> {
    let mut searched = Searched::default();
    for (name, path) in default_places(variables) {
        let Some(path) = path else {
            searched.note(name, "not set or not there");
            continue;
        };
        let place = format!("{name} ({})", path.display());
        match resolve(&path, program) {
            Ok(environment) if wanted(&environment) => return Ok(environment),
            Ok(environment) => {
                let folders: Vec<String> = environment.folders().iter().map(|f| f.display().to_string()).collect();
                searched.note(&place, &format!("no {what} in {}", folders.join(", ")));
            }
            Err(error) => searched.note(&place, &format!("{error:#}")),
        }
    }
    bail!(
        "no {what} was found; searched:\n{}\nName the environment, its interpreter or the file: nixl-retrofit COMMAND TARGET",
        searched.0.join("\n")
    )
}

fn default_places(variables: &Variables) -> [(&'static str, Option<PathBuf>); 3] {
    let virtual_env = variables.non_empty("VIRTUAL_ENV").map(PathBuf::from);
    let dynamo = Path::new(DYNAMO_ENVIRONMENT);
    [
        ("$VIRTUAL_ENV", virtual_env),
        ("python3 on PATH", on_path("python3", variables)),
        (DYNAMO_ENVIRONMENT, dynamo.is_dir().then(|| dynamo.to_path_buf())),
    ]
}

fn on_path(name: &str, variables: &Variables) -> Option<PathBuf> {
    env::split_paths(variables.get("PATH")?).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The module of an environment.
///
/// # Errors
/// Where it has none; the message names the folders that were searched.
pub(crate) fn require_module(environment: &Environment) -> Result<Module> {
    environment.module().ok_or_else(|| {
        if let Some(record) = module::missing(&environment.import_path).first() {
            let (label, record) = (&environment.label, record.display());
            return anyhow!("{label}: {record} lists {SOURCE}, but the file is gone; install the distribution again");
        }
        let folders: Vec<String> = environment.folders().iter().map(|f| format!("  {}", f.display())).collect();
        anyhow!(
            "{}: no {SOURCE} here (it is in the distribution ai-dynamo-runtime since 0.4.0); searched:\n{}",
            environment.label,
            folders.join("\n")
        )
    })
}
