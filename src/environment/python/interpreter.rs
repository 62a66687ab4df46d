//! A Python interpreter, which is asked for its import path and then runs a program.
//!
//! It runs isolated (`-I`: no `PYTHON*` variables, nothing from the current folder) and without `site` (`-S`), so that it
//! executes no `.pth` file and imports none of the target's packages. `pyvenv.cfg` and functions of the `site` module
//! tell what `site` would have added.

use std::borrow::Cow;
use std::env;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use super::site_packages::{self, ImportFolder};
use crate::environment::variables::Variables;

/// How long an interpreter may take to answer; starting one takes 10 to 50 ms.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// Prints the executable, the version, the folders of the import path and a blank line, then runs standard input.
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
        system = values.get("include-system-site-packages") == "true"
        break
version = "python%d.%d" % sys.version_info[:2]
if venv:
    for lib in sorted({"lib", getattr(sys, "platlibdir", "lib")}):
        folders.append(os.path.join(venv, lib, version, "site-packages"))
if system and "PYTHONNOUSERSITE" not in os.environ:
    folders.append(site.getusersitepackages())
if system:
    folders += site.getsitepackages([sys.base_prefix, sys.base_exec_prefix])
print(executable)
print("%d.%d.%d" % sys.version_info[:3])
for folder in folders:
    if os.path.isdir(folder):
        print(folder)
print(flush=True)
exec(compile(sys.stdin.read(), "helper", "exec"), {"__name__": "helper"})
"#;

/// A running interpreter.
pub(crate) struct Interpreter {
    child: Option<Child>,
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
    pub(crate) fn start(command: &Path, program: &str, variables: &Variables) -> Result<Self> {
        let mut child = Command::new(with_folder(command).as_ref())
            .args(["-I", "-S", "-c", SCRIPT])
            .env_clear()
            .envs(variables.iter())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}: the interpreter cannot be started", command.display()))?;
        let answer = first_answer(&mut child, program);
        let lines: Vec<&str> = answer.lines().collect();
        let [executable, version, folders @ ..] = lines.as_slice() else {
            let (status, _, errors) = finish(child)?;
            bail!("{}: the interpreter reports no import path ({status}){}", command.display(), last_line(&errors));
        };
        let python_path = variables.non_empty("PYTHONPATH").into_iter().flat_map(env::split_paths);
        let mut import_path: Vec<ImportFolder> =
            python_path.filter(|path| path.is_dir()).map(ImportFolder::new).collect();
        for folder in folders.iter().flat_map(|folder| site_packages::expand(Path::new(folder))) {
            if !import_path.iter().any(|known| known.path == folder.path) {
                import_path.push(folder);
            }
        }
        Ok(Interpreter {
            child: Some(child),
            command: command.to_path_buf(),
            executable: PathBuf::from(*executable),
            version: (*version).to_string(),
            import_path,
        })
    }

    /// What the program printed. Can be called once.
    ///
    /// # Errors
    /// When the program fails or does not print anything in time.
    pub(crate) fn output(&mut self) -> Result<String> {
        let child = self.child.take().context("the interpreter's output was read before")?;
        let (status, output, errors) = finish(child)?;
        if !status.success() {
            let (command, reason) = (self.command.display(), last_line(&errors));
            bail!("{command}: the interpreter failed to run the inserted helper ({status}){reason}");
        }
        Ok(output)
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A program's path for `exec`, which searches PATH for a name without a slash.
fn with_folder(command: &Path) -> Cow<'_, Path> {
    let is_bare = command.parent().is_some_and(|parent| parent.as_os_str().is_empty());
    if is_bare { Path::new(".").join(command).into() } else { command.into() }
}

/// Passes the program to the interpreter, and reads up to the blank line after the folders.
fn first_answer(child: &mut Child, program: &str) -> String {
    // Fails when the child has exited; its standard error is reported later.
    if let Some(mut input) = child.stdin.take() {
        let _ = input.write_all(program.as_bytes());
    }
    let mut answer = Vec::new();
    let Some(output) = child.stdout.as_mut() else { return String::new() };
    let mut byte = [0];
    while !answer.ends_with(b"\n\n") && matches!(wait_readable(output), Ok(true)) {
        match output.read(&mut byte) {
            Ok(1) => answer.push(byte[0]),
            _ => return String::new(),
        }
    }
    String::from_utf8_lossy(&answer).trim_end().to_string()
}

fn wait_readable(output: &impl std::os::fd::AsFd) -> Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec { tv_sec: TIMEOUT.as_secs() as i64, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&timeout))? > 0)
}

fn finish(mut child: Child) -> Result<(ExitStatus, String, String)> {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    if let Some(mut pipe) = child.stdout.take() {
        if !wait_readable(&pipe)? {
            let _ = child.kill();
        }
        pipe.read_to_end(&mut output)?;
    }
    if let Some(mut pipe) = child.stderr.take() {
        pipe.read_to_end(&mut errors)?;
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((child.wait()?, text(output), text(errors)))
}

/// The last line of what a program wrote to standard error, for the end of a message.
fn last_line(errors: &str) -> String {
    match errors.trim().lines().last() {
        Some(line) => format!(": {line}"),
        None => String::new(),
    }
}
