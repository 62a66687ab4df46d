//! A Python interpreter, which is asked for its import path and then runs a program.
//!
//! It runs isolated (`-I`: no `PYTHON*` variables, nothing from the current folder) and without `site` (`-S`), so that it
//! executes no `.pth` file and imports none of the target's packages. `pyvenv.cfg` and functions of the `site` module
//! tell what `site` would have added.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use thiserror::Error;

use super::site_packages::{self, ImportFolder};
use crate::environment::program::bounded::{Bounded, Limits};
use crate::environment::variables::Variables;
use crate::shown::Shown;

/// What an interpreter may take. Starting one takes 10 to 50 ms, and its answer has some hundred bytes.
const LIMITS: Limits = Limits { time: Duration::from_secs(30), bytes: 1 << 20 };

/// Maximum number of an interpreter's own characters that are quoted in a message.
const MAX_QUOTED: usize = 300;

/// Prints the executable, the version, the folders of the import path and a blank line, then runs its argument.
const SCRIPT: &str = r#"
import os, site, sys
executable = sys.executable or ""
folders = []
venv, system = None, True
for candidate in (os.path.dirname(executable), os.path.dirname(os.path.dirname(executable))):
    configuration = os.path.join(candidate, "pyvenv.cfg")
    if candidate and os.path.isfile(configuration):
        venv = candidate if os.path.basename(candidate) != "bin" else os.path.dirname(candidate)
        with open(configuration, encoding="utf-8") as lines:
            pairs = [line.partition("=") for line in lines]
        values = {key.strip().lower(): value.strip().lower() for key, _, value in pairs}
        system = values.get("include-system-site-packages", "true") == "true"
        break
version = "python%d.%d" % sys.version_info[:2]
if venv:
    for lib in sorted({"lib", getattr(sys, "platlibdir", "lib")}):
        folders.append(os.path.join(venv, lib, version, "site-packages"))
if system and not os.environ.get("PYTHONNOUSERSITE"):
    folders.append(site.getusersitepackages())
if system:
    folders += site.getsitepackages([sys.base_prefix, sys.base_exec_prefix])
print(executable)
print("%d.%d.%d" % sys.version_info[:3])
for folder in folders:
    if os.path.isdir(folder):
        print(folder)
print(flush=True)
exec(compile(sys.argv[1], "helper", "exec"), {"__name__": "helper"})
"#;

/// Why an interpreter is of no use.
#[derive(Debug, Error)]
pub(crate) enum Unusable {
    /// It cannot run: it is a link to nothing, not executable, for another machine, or its libraries are gone.
    #[error("{0}")]
    Broken(String),
    /// It runs, and does not answer as Python does.
    #[error("{0}")]
    Strange(String),
}

/// A running interpreter.
pub(crate) struct Interpreter {
    process: Option<Bounded>,
    /// Its path as given.
    pub command: PathBuf,
    /// Its `sys.executable`.
    pub executable: PathBuf,
    /// Its version: `3.12.1`.
    pub version: String,
    /// Its import path, without the standard library.
    pub import_path: Vec<ImportFolder>,
}

impl Interpreter {
    /// Starts an interpreter and reads its import path. It then runs `program`, Python source, in the background.
    ///
    /// # Errors
    /// When it cannot be started, or does not answer as Python does.
    pub(crate) fn start(command: &Path, program: &str, variables: &Variables) -> Result<Self, Unusable> {
        let mut isolated = Command::new(with_folder(command).as_ref());
        isolated.args(["-I", "-S", "-c", SCRIPT, program]).env_clear().envs(variables.iter());
        let strange = |error: anyhow::Error| Unusable::Strange(format!("{error:#}"));
        let mut process = Bounded::start(&mut isolated, LIMITS)
            .map_err(|error| Unusable::Broken(format!("cannot be started: {error}")))?;
        let answer = process.read_past(b"\n\n").map_err(|error| strange(error.into()))?;
        let answer = String::from_utf8_lossy(&answer);
        let lines: Vec<&str> = answer.trim_end().lines().collect();
        let [executable, version, folders @ ..] = lines.as_slice() else {
            let (status, _, errors) = process.finish().map_err(|error| strange(error.into()))?;
            let fact = format!("reports no import path ({status}){}", last_line(&errors));
            return Err(if status.success() { Unusable::Strange(fact) } else { Unusable::Broken(fact) });
        };
        Ok(Interpreter {
            process: Some(process),
            command: command.to_path_buf(),
            executable: PathBuf::from(*executable),
            version: (*version).to_string(),
            import_path: site_packages::import_path(folders.iter().map(Path::new), variables),
        })
    }

    /// What the program printed. Can be called once.
    ///
    /// # Errors
    /// When the program fails or does not end in time.
    pub(crate) fn output(&mut self) -> Result<String> {
        let process = self.process.take().context("the interpreter's output was read before")?;
        let command = self.command.shown();
        let (status, output, errors) =
            process.finish().with_context(|| format!("{command}: with the inserted helper, the interpreter"))?;
        if !status.success() {
            bail!("{command}: the interpreter failed to run the inserted helper ({status}){}", last_line(&errors));
        }
        Ok(String::from_utf8_lossy(&output).into_owned())
    }
}

/// A program's path for `exec`, which searches PATH for a name without a slash.
fn with_folder(command: &Path) -> Cow<'_, Path> {
    let is_bare = command.parent().is_some_and(|parent| parent.as_os_str().is_empty());
    if is_bare { Path::new(".").join(command).into() } else { command.into() }
}

/// The last line of what a program wrote to standard error, for the end of a message.
fn last_line(errors: &[u8]) -> String {
    let errors = String::from_utf8_lossy(errors);
    match errors.trim().lines().last() {
        Some(line) => format!(": {}", line.chars().filter(|c| !c.is_control()).take(MAX_QUOTED).collect::<String>()),
        None => String::new(),
    }
}
