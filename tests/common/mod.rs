//! What the tests share: the built program with a clean environment, and miniatures of installed trees.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use assert_cmd::cargo::CommandCargoExt;
use serde_json::Value;
use tempfile::TempDir;

/// Where the module lies below a site-packages folder.
pub(crate) const SOURCE: &str = "dynamo/nixl_connect/__init__.py";
/// RECORD of the miniature.
pub(crate) const RECORD: &str = "ai_dynamo_runtime-9.9.9.dist-info/RECORD";

/// The built program; no variable of the machine's own environment chooses anything for it.
pub(crate) fn program() -> Command {
    let mut command = Command::cargo_bin("nixl-retrofit").expect("the program is built");
    let variables = std::env::vars_os().map(|(name, _)| name);
    for name in variables.filter(|name| {
        let name = name.to_string_lossy();
        ["NIXL_", "UCX_", "FI_", "PYTHON", "VIRTUAL_ENV", "NO_COLOR", "FORCE_COLOR", "CLICOLOR"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    }) {
        command.env_remove(name);
    }
    command
}

/// Runs the program with these arguments.
pub(crate) fn run<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    program().args(arguments).output().expect("the program starts")
}

/// Runs it with JSON output; returns the exit status and the document, which keeps to the published schema.
pub(crate) fn run_json<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> (i32, Value) {
    let output = program().args(arguments).args(["--output-format", "json"]).output().expect("the program starts");
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", stdout(&output), stderr(&output)));
    keeps_to_schema(&document);
    (status(&output), document)
}

/// Holds a document against docs/report.schema.json.
pub(crate) fn keeps_to_schema(document: &Value) {
    static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
        let schema = serde_json::from_slice(&fs::read(path).expect("the published schema")).expect("JSON");
        jsonschema::validator_for(&schema).expect("a JSON Schema")
    });
    valid(&SCHEMA, document);
}

/// Fails with every place where a document differs from its schema.
pub(crate) fn valid(schema: &jsonschema::Validator, document: &Value) {
    let errors: Vec<String> =
        schema.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}\n{document:#}", errors.join("\n"));
}

/// The exit status.
pub(crate) fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {:?}", output.status))
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The repository's fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A copy of the miniature site-packages folder.
pub(crate) fn site_packages() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy_tree(&fixture("site-packages"), folder.path());
    folder
}

/// Copies a tree of files.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A copy of a tree by hard links.
pub(crate) fn link_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link_tree(&entry.path(), &target);
        } else {
            fs::hard_link(entry.path(), &target).unwrap();
        }
    }
}

/// A virtual environment without pip, with the miniature in it; returns its site-packages folder too.
pub(crate) fn virtual_environment() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let site = empty_virtual_environment(folder.path());
    copy_tree(&fixture("site-packages"), &site);
    (folder, site)
}

/// Makes a virtual environment without anything in it; returns its site-packages folder.
pub(crate) fn empty_virtual_environment(folder: &Path) -> PathBuf {
    python(&["-m", "venv", "--without-pip", &folder.to_string_lossy()]);
    let lib = fs::read_dir(folder.join("lib")).unwrap().flatten().next().expect("lib/pythonX.Y");
    lib.path().join("site-packages")
}

/// Runs the machine's Python; its standard output.
pub(crate) fn python(arguments: &[&str]) -> String {
    let output = Command::new("python3").args(arguments).output().expect("python3 is needed for this test");
    assert!(output.status.success(), "python3 {arguments:?}: {}", stderr(&output));
    stdout(&output)
}

/// All files below a folder with their bytes, in a fixed order.
pub(crate) fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            files.extend(snapshot(&entry.path()));
        } else {
            files.push((entry.path(), fs::read(entry.path()).unwrap()));
        }
    }
    files.sort();
    files
}

/// Whether RECORD's line for the module has the file's hash and size, computed by Python as installers do.
pub(crate) fn record_agrees(site: &Path) -> bool {
    let script = "import base64, csv, hashlib, sys\n\
        site, source, record = sys.argv[1:]\n\
        data = open(site + '/' + source, 'rb').read()\n\
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()\n\
        rows = {row[0]: row[1:] for row in csv.reader(open(site + '/' + record, newline=''))}\n\
        print(rows[source] == ['sha256=' + digest, str(len(data))])";
    python(&["-c", script, &site.to_string_lossy(), SOURCE, RECORD]).trim() == "True"
}

/// A shell's background job ignores SIGINT and SIGQUIT, what nohup(1) starts SIGHUP, and both inherit that: the tests may run
/// in one.
pub(crate) fn with_default_signals(command: &Command) -> Command {
    let mut wrapped = Command::new("env");
    wrapped.arg("--default-signal=HUP,INT,QUIT").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// The path that `tests/lab.sh` prints; it makes what is missing.
pub(crate) fn lab(arguments: &[&str]) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab.sh");
    let output = Command::new("bash").arg(script).args(arguments).output().expect("bash starts");
    assert!(output.status.success(), "tests/lab.sh {arguments:?}: {}", stderr(&output));
    PathBuf::from(stdout(&output).trim())
}

/// Makes sure that the laboratory's own Dynamo stayed as it was.
pub(crate) fn assert_unpatched(environment: &Path) {
    let lib = fs::read_dir(environment.join("lib")).unwrap().flatten().next().expect("lib/pythonX.Y");
    let module = fs::read_to_string(lib.path().join("site-packages").join(SOURCE)).unwrap();
    assert!(!module.contains("nixl-retrofit"), "{}: patched through a hard link", environment.display());
}

/// The environment with that NIXL and no Dynamo.
pub(crate) fn nixl(version: &str) -> PathBuf {
    lab(&["env", version, "none"])
}

/// Whether this machine has NVIDIA's driver; then nothing can be said of machines without one.
pub(crate) fn has_driver() -> bool {
    let known = Command::new("ldconfig").arg("-p").output().expect("ldconfig starts");
    stdout(&known).contains("libcuda.so.1 ")
}

/// The variable that marks every process which one run has started.
pub(crate) const MARK: &str = "NIXL_RETROFIT_TEST_RUN";

/// A mark that no other run has.
pub(crate) fn new_mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Living processes that carry the mark in their environment.
pub(crate) fn processes(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter(|number| {
            let variables = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
            variables.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes())
        })
        .collect()
}

/// Waits until it is so, for twenty seconds at most.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The program's command lines in a line of a shell script or a Dockerfile, each from `nixl-retrofit` on.
pub(crate) fn command_lines(line: &str) -> Vec<Vec<String>> {
    // What is no shell, a piece of YAML for example, has no command line of the program in it.
    let words = shlex::split(line).unwrap_or_default();
    let ends = ["|", "||", "&", "&&", ";", "<", ">"];
    // `pip install nixl-retrofit`
    let installs = |start: usize| start > 0 && ["install", "binstall"].contains(&words[start - 1].as_str());
    let starts = (0..words.len()).filter(|start| words[*start] == "nixl-retrofit" && !installs(*start));
    let mut lines = Vec::new();
    for start in starts {
        let mut command = Vec::new();
        for word in words[start..].iter().take_while(|word| !ends.contains(&word.as_str())) {
            let ended = word.strip_suffix(';');
            command.push(ended.unwrap_or(word).to_string());
            if ended.is_some() {
                break;
            }
        }
        lines.push(command);
    }
    lines
}
