//! A Python interpreter: asked for its import path, and to run the inserted helper on its own.
//!
//! It runs isolated (`-I`: no PYTHON* variables, nothing from the working folder) and without `site` (`-S`), so that no
//! `.pth` file is executed and none of the target's packages is imported. What `site` would have added is asked of the
//! `site` module's own functions and read from `pyvenv.cfg`.

use std::env;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use super::site_packages::{self, ImportFolder};

/// How long an interpreter may take to answer; starting one takes 10 to 50 ms.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Prints what the import path is made of, then runs what comes on standard input.
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

/// An interpreter that has been started, and answers while other work is done.
pub(crate) struct Interpreter {
    child: Option<Child>,
    /// As it was given.
    pub command: PathBuf,
    /// Its own idea of where it is.
    pub executable: PathBuf,
    /// `3.12.1`.
    pub version: String,
    /// Its import path, beyond the standard library.
    pub import_path: Vec<ImportFolder>,
}

impl Interpreter {
    /// Starts the interpreter; `program` is Python source that it runs, isolated, after it has named its paths.
    ///
    /// # Errors
    /// Where it does not start, or is no Python.
    pub(crate) fn start(command: &Path, program: &str) -> Result<Self> {
        let mut child = Command::new(command)
            .args(["-I", "-S", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}: the interpreter does not start", command.display()))?;
        let answer = first_answer(&mut child, program);
        let lines: Vec<&str> = answer.lines().collect();
        let [executable, version, folders @ ..] = lines.as_slice() else {
            let (status, _, errors) = finish(child)?;
            bail!("{}: the interpreter does not say its paths ({status}){}", command.display(), quoted(&errors));
        };
        let python_path = env::var_os("PYTHONPATH").map(|value| env::split_paths(&value).collect::<Vec<_>>());
        let python_path = python_path.into_iter().flatten().filter(|path| path.is_dir()).map(ImportFolder::new);
        let mut import_path: Vec<ImportFolder> = python_path.collect();
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

    /// What the program printed.
    ///
    /// # Errors
    /// Where it ended with an error, whose text is quoted, or did not end.
    pub(crate) fn output(&mut self) -> Result<String> {
        let child = self.child.take().context("the interpreter has answered already")?;
        let (status, output, errors) = finish(child)?;
        if !status.success() {
            bail!("{}: the program given to it failed ({status}){}", self.command.display(), quoted(&errors));
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

/// Hands the program over and reads up to the blank line that ends the paths.
fn first_answer(child: &mut Child, program: &str) -> String {
    // A program that has ended already makes this fail; what it said instead is reported later.
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
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&patience))? > 0)
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

fn quoted(errors: &str) -> String {
    match errors.trim().lines().last() {
        Some(line) => format!(": {line}"),
        None => String::new(),
    }
}
