//! The trees of real files, against those of the Python that they belong to: every call and every name at the same place.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustpython_ast::Fold;
use rustpython_parser::ast::{self, Expr, Ranged};
use rustpython_parser::text_size::TextRange;

use super::parse;
use crate::python::encoding::SourceText;

/// Prints a line for each file below the folders that this Python compiles: its path, and the places of its calls and
/// names, with `+` before those in formatted strings where this Python does not know their places.
const PLACES: &str = r#"
import ast, os, sys, warnings
warnings.simplefilter("ignore")
sys.set_int_max_str_digits(0) if hasattr(sys, "set_int_max_str_digits") else None
JOINED = () if sys.version_info >= (3, 12) else (ast.JoinedStr,)
def places(tree):
    found, stack = [], [(tree, "")]
    while stack:
        node, mark = stack.pop()
        if isinstance(node, (ast.Call, ast.Name)):
            found.append("%s%s%d.%d" % (mark, type(node).__name__[0], node.lineno, node.col_offset))
        if isinstance(node, JOINED):
            mark = "+"
        stack += [(child, mark) for child in ast.iter_child_nodes(node)]
    return found
step = int(sys.argv[1])
paths = []
for folder in sys.argv[2:]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("site-packages", "dist-packages")]
        paths += [os.path.join(place, name) for name in names if name.endswith(".py")]
for path in sorted(paths)[::step]:
    with open(path, "rb") as file:
        source = file.read()
    try:
        compile(source, path, "exec", dont_inherit=True)
        tree = ast.parse(source)
    except Exception:
        continue
    sys.stdout.buffer.write((path + "\t" + " ".join(places(tree)) + "\n").encode("utf-8", "surrogateescape"))
"#;

/// The places of calls and names.
#[derive(Default)]
struct Places(Vec<(char, TextRange)>);

impl Fold<TextRange> for Places {
    type TargetU = TextRange;
    type Error = Infallible;
    type UserContext = ();

    fn will_map_user(&mut self, _range: &TextRange) {}

    fn map_user(&mut self, range: TextRange, _context: ()) -> Result<TextRange, Infallible> {
        Ok(range)
    }

    fn fold_expr(&mut self, expression: Expr) -> Result<Expr, Infallible> {
        match &expression {
            Expr::Call(node) => self.0.push(('C', node.range())),
            Expr::Name(node) => self.0.push(('N', node.range())),
            _ => {}
        }
        ast::fold::fold_expr(self, expression)
    }
}

/// Where lines start.
fn line_starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let ends = memchr::memchr2_iter(b'\n', b'\r', bytes);
    let ends = ends.filter(|at| bytes[*at] == b'\n' || bytes.get(at + 1) != Some(&b'\n'));
    std::iter::once(0).chain(ends.map(|at| at + 1)).collect()
}

fn places(text: &str) -> Result<Vec<String>, String> {
    let module = parse(text).map_err(|error| error.to_string())?;
    let mut places = Places::default();
    let Ok(_) = places.fold(module);
    let starts = line_starts(text);
    let place = |(kind, range): &(char, TextRange)| {
        let at = usize::from(range.start());
        let line = starts.partition_point(|start| *start <= at);
        format!("{kind}{line}.{}", at - starts[line - 1])
    };
    Ok(places.0.iter().map(place).collect())
}

/// What is wrong with one file. `theirs` is what Python printed.
fn difference(path: &Path, theirs: &str) -> Option<String> {
    let bytes = fs::read(path).unwrap();
    let source = match SourceText::decode(&bytes) {
        Ok(source) => source,
        Err(error) => return Some(error.to_string()),
    };
    let mut ours = match places(source.text()) {
        Ok(places) => places,
        Err(error) => return Some(error),
    };
    let mut theirs: Vec<&str> = theirs.split(' ').filter(|place| !place.is_empty()).collect();
    if theirs.len() != ours.len() {
        let (a, b): (BTreeSet<&str>, BTreeSet<&str>) =
            (ours.iter().map(String::as_str).collect(), theirs.iter().copied().collect());
        return Some(format!(
            "{} of {}: too many {:?}, missing {:?}",
            ours.len(),
            theirs.len(),
            a.difference(&b).take(3).collect::<Vec<_>>(),
            b.difference(&a).take(3).collect::<Vec<_>>()
        ));
    }
    let all_known = theirs.iter().all(|place| !place.starts_with('+'));
    theirs.retain(|place| !place.starts_with('+'));
    theirs.sort_unstable();
    ours.sort_unstable();
    let known: BTreeSet<&str> = ours.iter().map(String::as_str).collect();
    let missing = theirs.iter().find(|place| !known.contains(**place));
    if let Some(place) = missing {
        return Some(format!("no {place}"));
    }
    (all_known && ours != theirs).then(|| "other places".into())
}

/// Compares every so-manieth file below folders with what a Python prints of them.
fn compare(python: &mut Command, step: usize, folders: &[PathBuf]) {
    let output = python.arg(step.to_string()).args(folders).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listing = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<(&str, &str)> = listing.lines().map(|line| line.split_once('\t').unwrap()).collect();
    let wrong = |(path, theirs): &(&str, &str)| {
        let path = path.strip_prefix(HOST).unwrap_or(path);
        difference(Path::new(path), theirs).map(|what| format!("{path}: {what}"))
    };
    let wrong: Vec<String> = lines.iter().filter_map(wrong).collect();
    println!("{python:?}: {} files, {} wrong", lines.len(), wrong.len());
    assert!(lines.len() > 50, "only {} files", lines.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn script(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-I", "-X", "utf8", "-c", PLACES]);
    command
}

fn standard_library(python: &Path) -> PathBuf {
    let code = "import sysconfig; print(sysconfig.get_paths()['stdlib'])";
    let output = Command::new(python).args(["-I", "-c", code]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// Runs `work` with a stack for deep trees.
fn with_stack(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(crate::threads::STACK_BYTES);
        builder.spawn_scoped(scope, work).unwrap().join().unwrap();
    });
}

/// Each snippet of snippets.jsonl, in a file of its own.
fn snippets(folder: &Path) -> Vec<PathBuf> {
    for (number, line) in include_str!("snippets.jsonl").lines().enumerate() {
        let source: String = serde_json::from_str(line).unwrap();
        fs::write(folder.join(format!("{number:03}.py")), source).unwrap();
    }
    vec![folder.to_path_buf()]
}

#[test]
fn every_snippet_that_this_python_accepts() {
    let folder = tempfile::tempdir().unwrap();
    compare(&mut script(Path::new("python3")), 1, &snippets(folder.path()));
}

#[test]
fn a_sample_of_this_pythons_standard_library() {
    let python = Path::new("python3");
    with_stack(|| compare(&mut script(python), 10, &[standard_library(python)]));
}

/// The Pythons of pyenv from 3.9 on, and the one on PATH.
fn pythons() -> Vec<PathBuf> {
    let versions = std::env::home_dir().unwrap_or_default().join(".pyenv/versions");
    let folders = fs::read_dir(versions).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let minor = |path: &PathBuf| -> Option<u32> {
        path.file_name()?.to_str()?.strip_prefix("3.")?.split('.').next()?.parse().ok()
    };
    let pythons =
        folders.filter(|path| minor(path).is_some_and(|minor| minor >= 9)).map(|path| path.join("bin/python3"));
    pythons.chain([PathBuf::from("python3")]).collect()
}

/// All files, in minutes: `cargo test --lib against_python -- --ignored --nocapture`. Folders named in `PACKAGES` are
/// compared too, with the Python on PATH.
#[test]
#[ignore = "takes minutes"]
fn every_file_of_every_python() {
    let folder = tempfile::tempdir().unwrap();
    let snippets = snippets(folder.path());
    with_stack(|| {
        for python in pythons() {
            compare(&mut script(&python), 1, &snippets);
            compare(&mut script(&python), 1, &[standard_library(&python)]);
        }
        let packages = std::env::var_os("PACKAGES").map(PathBuf::from);
        packages.into_iter().for_each(|packages| compare(&mut script(Path::new("python3")), 1, &[packages]));
    });
}

/// Python 3.14, from npm: CPython in WebAssembly, run by node.
const NEWEST: &str = "pyodide@314.0.7";

/// Where that Python sees this machine's files.
const HOST: &str = "/host";

/// Runs a script in it.
const NODE: &str = r#"
const { loadPyodide } = require("./pyodide.js");
const { writeSync } = require("fs");
const [script, ...argv] = process.argv.slice(1);
loadPyodide({ indexURL: process.cwd() }).then((python) => {
  python.FS.mkdir("/host");
  python.FS.mount(python.FS.filesystems.NODEFS, { root: "/" }, "/host");
  python.setStdout({ write: (bytes) => { writeSync(1, bytes); return bytes.length; } });
  python.globals.set("script", script);
  python.globals.set("argv", python.toPy(argv));
  python.runPython("import sys; sys.argv = ['-c', *argv]; exec(script, {}); sys.stdout.flush()");
});
"#;

#[test]
#[ignore = "fetches a package from npm"]
fn every_file_of_the_newest_python() {
    let folder = tempfile::tempdir().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).current_dir(folder.path()).status().unwrap();
        assert!(status.success(), "{program} {arguments:?}");
    };
    run("npm", &["pack", "--silent", NEWEST]);
    run("sh", &["-c", "tar xzf *.tgz && python3 -m zipfile -e package/python_stdlib.zip lib"]);
    let host = |path: PathBuf| Path::new(HOST).join(path.strip_prefix("/").unwrap());
    let sources = tempfile::tempdir().unwrap();
    let folders: Vec<_> = snippets(sources.path()).into_iter().chain([folder.path().join("lib")]).map(host).collect();
    let mut python = Command::new("node");
    python.args(["-e", NODE, PLACES]).current_dir(folder.path().join("package"));
    with_stack(|| compare(&mut python, 1, &folders));
}
