//! Dynamo's other modules that create agents, and what `--also` names: several files of an environment in one run.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::*;
use serde_json::Value;
use tempfile::TempDir;

const OTHER: &str = "dynamo/common/multimodal/embedding_transfer.py";

/// Written for this test, with the shape of the real one: names that a helper function imports when it is called.
const OTHER_SOURCE: &str = "\
import uuid


def _load():
    try:
        from nixl._api import nixl_agent, nixl_agent_config
    except ImportError as error:
        raise ImportError('install nixl') from error
    return nixl_agent, nixl_agent_config


class Sender:
    def __init__(self):
        nixl_agent, nixl_agent_config = _load()
        self.name = str(uuid.uuid4())
        self.agent = nixl_agent(
            self.name, nixl_agent_config(num_threads=8, capture_telemetry=True)
        )
";

const BARE: &str = "import nixl._api as nixl_api\nnixl_api.nixl_agent('a')\n";
const CONFIGURED: &str =
    "from nixl._api import nixl_agent, nixl_agent_config\nnixl_agent('a', nixl_agent_config(backends=['OBJ']))\n";
const UNRESOLVED: &str = "from other import nixl_agent\nnixl_agent('a')\n";

/// The miniature with ai-dynamo beside ai-dynamo-runtime, and a package of somebody else's.
fn site() -> TempDir {
    let site = site_packages();
    write(site.path(), OTHER, OTHER_SOURCE);
    for (file, source) in
        [("bare", BARE), ("configured", CONFIGURED), ("unresolved", UNRESOLVED), ("silent", "nixl_agent = 1\n")]
    {
        write(site.path(), &format!("vllm/deep/{file}.py"), source);
    }
    record(site.path(), "ai_dynamo-9.9.9", &[OTHER]);
    record(site.path(), "vllm-1.0", &["vllm/deep/bare.py"]);
    site
}

fn write(site: &Path, name: &str, text: &str) {
    let path = site.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A distribution whose RECORD lists the files, with hashes as installers compute them.
fn record(site: &Path, name: &str, files: &[&str]) {
    let script = "import base64, hashlib, sys\n\
        for name in sys.argv[2:]:\n    \
        data = open(sys.argv[1] + '/' + name, 'rb').read()\n    \
        print(name + ',sha256=' + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode() + ',' + str(len(data)))";
    let site_path = site.to_string_lossy();
    let lines = python(&[&["-c", script, &site_path], files].concat());
    write(site, &format!("{name}.dist-info/RECORD"), &lines);
}

/// The reported files below the site-packages folder and their statuses, in order.
fn files(document: &Value, site: &Path) -> Vec<(String, String)> {
    let files = document["files"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    files
        .map(|file| {
            let path = PathBuf::from(text(&file["path"]));
            let path = path.strip_prefix(site).unwrap_or(&path);
            (path.to_string_lossy().into_owned(), text(&file["status"]))
        })
        .collect()
}

fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(path, status)| (path.to_string(), status.to_string())).collect()
}

fn run_in(site: &Path, arguments: &[&str]) -> (i32, Vec<(String, String)>) {
    let path = site.to_string_lossy();
    let (status, document) = run_json([arguments, &[&path]].concat());
    (status, files(&document, site))
}

#[test]
fn an_environments_modules_are_patched_and_reverted_together() {
    let site = site();
    let before = snapshot(site.path());
    let (status, found) = run_in(site.path(), &["check"]);
    assert_eq!((status, found), (1, named(&[(SOURCE, "would-patch"), (OTHER, "would-patch")])));
    assert_eq!(snapshot(site.path()), before);
    let (status, found) = run_in(site.path(), &["apply", "--smoke=off"]);
    assert_eq!((status, found), (0, named(&[(SOURCE, "patched"), (OTHER, "patched")])));
    let patched = fs::read_to_string(site.path().join(OTHER)).unwrap();
    let call = "nixl_agent_config(num_threads=8, capture_telemetry=True, backends=_nixl_retrofit_backends())";
    assert!(patched.contains(call), "{patched}");
    let (status, found) = run_in(site.path(), &["check"]);
    assert_eq!((status, found), (0, named(&[(SOURCE, "already-patched"), (OTHER, "already-patched")])));
    let (status, found) = run_in(site.path(), &["revert"]);
    assert_eq!((status, found), (0, named(&[(SOURCE, "reverted"), (OTHER, "reverted")])));
    assert_eq!(snapshot(site.path()), before, "both files and both RECORDs");
}

#[test]
fn the_agent_gets_the_backends_and_keeps_its_other_arguments() {
    let site = site();
    assert_eq!(run_in(site.path(), &["apply", "--smoke=off"]).0, 0);
    copy_tree(&fixture("nixl_stand_in"), site.path());
    let script = format!(
        "import sys, os, runpy; sys.path.insert(0, {site:?})\n\
         import nixl._api as api\n\
         real = api.nixl_agent\n\
         class Recording(real):\n    \
         def __init__(self, name, config):\n        \
         super().__init__(name, config)\n        \
         print(config.backends, config.num_threads, config.capture_telemetry)\n\
         api.nixl_agent = Recording\n\
         os.environ['NIXL_BACKEND'] = 'LIBFABRIC,UCX'\n\
         runpy.run_path({file:?})['Sender']()",
        site = site.path().to_string_lossy(),
        file = site.path().join(OTHER).to_string_lossy(),
    );
    assert_eq!(python(&["-B", "-c", &script]), "['LIBFABRIC', 'UCX'] 8 True\n");
}

#[test]
fn only_nixl_connect_is_the_narrow_behaviour() {
    let site = site();
    let (status, found) = run_in(site.path(), &["apply", "--smoke=off", "--only", "nixl_connect"]);
    assert_eq!((status, found), (0, named(&[(SOURCE, "patched")])));
    assert_eq!(fs::read_to_string(site.path().join(OTHER)).unwrap(), OTHER_SOURCE);
    assert_eq!(run_in(site.path(), &["check", "--only", "nixl_connect"]).0, 0);
    assert_eq!(run_in(site.path(), &["check"]).0, 1);
}

#[test]
fn a_module_of_dynamos_without_a_call_is_not_listed() {
    let site = site();
    write(site.path(), OTHER, "x = 1\n");
    assert_eq!(run_in(site.path(), &["check"]).1, named(&[(SOURCE, "would-patch")]));
}

#[test]
fn without_nixl_connect_nothing_is_changed() {
    let site = site();
    fs::remove_file(site.path().join(SOURCE)).unwrap();
    let before = snapshot(site.path());
    let output = run(["apply".as_ref(), "--smoke=off".as_ref(), site.path().as_os_str()]);
    assert_eq!(status(&output), 2, "{}", stderr(&output));
    assert_eq!(snapshot(site.path()), before);
}

#[test]
fn the_package_folder_brings_both() {
    let site = site();
    let found = run_in(site.path(), &["check"]).1;
    let (status, document) = run_json(["check".as_ref(), site.path().join("dynamo").as_os_str()]);
    assert_eq!((status, files(&document, site.path())), (1, found));
}

#[test]
fn also_takes_a_package_a_distribution_and_a_path() {
    let all = [
        (SOURCE, "would-patch"),
        (OTHER, "would-patch"),
        ("vllm/deep/bare.py", "would-patch"),
        ("vllm/deep/configured.py", "configured"),
        ("vllm/deep/unresolved.py", "unresolved"),
    ];
    let site = site();
    assert_eq!(run_in(site.path(), &["check", "--also", "vllm"]), (1, named(&all)));
    assert_eq!(run_in(site.path(), &["check", "--also", "vllm.deep"]), (1, named(&all)));
    let folder = site.path().join("vllm").to_string_lossy().into_owned();
    assert_eq!(run_in(site.path(), &["check", "--also", &folder]), (1, named(&all)));
    let file = site.path().join("vllm/deep/configured.py").to_string_lossy().into_owned();
    let configured = [all[0], all[1], ("vllm/deep/configured.py", "configured")];
    assert_eq!(run_in(site.path(), &["check", "--also", &file]), (1, named(&configured)));
    record(site.path(), "Some_Thing-2", &["vllm/deep/bare.py"]);
    assert_eq!(run_in(site.path(), &["check", "--also", "some.thing"]), (1, named(&all[..3])));
}

#[test]
fn revert_restores_what_also_named_without_being_told() {
    let site = site();
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "own.py", BARE);
    let before = snapshot(site.path());
    let own = outside.path().join("own.py").to_string_lossy().into_owned();
    let (status, found) = run_in(site.path(), &["apply", "--smoke=off", "--also", "vllm", "--also", &own]);
    assert_eq!(status, 0);
    assert_eq!(found.iter().filter(|(_, status)| status == "patched").count(), 4, "{found:?}");
    assert_ne!(fs::read_to_string(&own).unwrap(), BARE);
    let (status, found) = run_in(site.path(), &["revert"]);
    let reverted = [(SOURCE, "reverted"), (OTHER, "reverted"), ("vllm/deep/bare.py", "reverted")];
    assert_eq!((status, found), (0, named(&reverted)));
    assert_eq!(snapshot(site.path()), before, "the files and all RECORDs");
    let (status, _) = run_in(site.path(), &["revert", "--also", &own]);
    assert_eq!((status, fs::read_to_string(&own).unwrap().as_str()), (0, BARE));
}

#[test]
fn one_file_that_is_not_understood_keeps_all_as_they_are() {
    let site = site();
    write(site.path(), "vllm/broken.py", "nixl_agent(\n");
    let before = snapshot(site.path());
    let output = run(["apply", "--smoke=off", "--also", "vllm", &site.path().to_string_lossy()]);
    assert_eq!(status(&output), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("vllm/broken.py:"), "{}", stderr(&output));
    assert_eq!(snapshot(site.path()), before);
}

#[test]
fn an_unknown_name_is_an_error_that_lists_the_possible_ones() {
    let site = site();
    let output = run(["check", "--also", "vlm", &site.path().to_string_lossy()]);
    assert_eq!(status(&output), 2);
    let words = stderr(&output);
    assert!(words.contains("`--also vlm`: no such package") && words.contains(": dynamo, vllm"), "{words}");
    let output = run(["check", "--also", "vllm", "-"]);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("cannot be combined with `--also`"), "{}", stderr(&output));
}

/// `apply` with the variable set, on a miniature whose compiled side contains `name`; the report's findings.
fn findings(name: &str, value: Option<&str>, options: &[&str]) -> Vec<Value> {
    let site = site_packages();
    fs::write(site.path().join("dynamo/_core.abi3.so"), name).unwrap();
    let mut command = program();
    command.args(["apply", "--smoke=off", "--output-format=json"]).args(options).arg(site.path());
    if let Some(value) = value {
        command.env("NIXL_BACKEND", value).env("OTHER", value);
    }
    let output = command.output().unwrap();
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["findings"].as_array().unwrap().clone()
}

fn is_of_the_loader(finding: &Value) -> bool {
    finding["id"] == "media-loader-no-common-backend"
}

#[test]
fn libfabric_alone_beside_the_compiled_media_loader_is_a_finding() {
    let loader = "\0media-loader-\0";
    for (value, options) in [
        (Some("LIBFABRIC"), &[][..]),
        (Some("libfabric,BOGUS"), &[]),
        (Some("UCX,LIBFABRIC"), &["--allow=LIBFABRIC", "--default-backend=LIBFABRIC"]),
        (None, &["--default-backend=LIBFABRIC"]),
        (Some("LIBFABRIC"), &["--env-var=OTHER"]),
    ] {
        let mut found = findings(loader, value, options);
        found.retain(is_of_the_loader);
        assert_eq!(found.len(), 1, "{value:?} {options:?}");
        assert!(found[0]["cure"][0].as_str().unwrap().contains("=LIBFABRIC,UCX`"), "{found:?}");
    }
    assert!(findings("without it", Some("LIBFABRIC"), &[]).is_empty());
    for value in [None, Some("LIBFABRIC,UCX"), Some("UCX"), Some("BOGUS")] {
        assert!(!findings(loader, value, &[]).iter().any(is_of_the_loader), "{value:?}");
    }
}

#[test]
fn verbose_says_that_the_compiled_side_stays() {
    let site = site_packages();
    fs::write(site.path().join("dynamo/_core.abi3.so"), "media-loader-").unwrap();
    let output = run(["apply", "--smoke=off", "-v", &site.path().to_string_lossy()]);
    assert!(stdout(&output).contains("compiled, left unchanged: "), "{}", stdout(&output));
}
