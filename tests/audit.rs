//! `audit`: every place that creates a NIXL agent, its configuration or a backend, with the setting that chooses.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::*;
use serde_json::Value;
use tempfile::TempDir;

/// A folder with these files.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// `PATH:LINE CREATES CLASS SETTING` of each place in a folder, and the exit status.
fn places(folder: &Path) -> (i32, Vec<String>) {
    let (status, document) = run_json([Path::new("audit"), folder]);
    let list = document["audit"]["places"].as_array().unwrap_or_else(|| panic!("{document}"));
    let word = |place: &Value, key: &str| place[key].as_str().unwrap_or_default().to_string();
    let line = |place: &Value| {
        let path = word(place, "path");
        let path = Path::new(&path).strip_prefix(folder).unwrap().display().to_string();
        let rest = [word(place, "creates"), word(place, "class"), word(place, "setting")].join(" ");
        format!("{path}:{} {}", place["line"], rest.trim_end())
    };
    (status, list.iter().map(line).collect())
}

/// The places in one file, without its name.
fn of_source(text: &str) -> Vec<String> {
    let folder =
        tree(&[("m.py", &format!("import os\nfrom nixl._api import nixl_agent, nixl_agent_config\n{text}\n"))]);
    let (_, places) = places(folder.path());
    places.into_iter().map(|place| place.strip_prefix("m.py:").unwrap().to_string()).collect()
}

#[test]
fn each_class_has_its_shapes() {
    for (text, expected) in [
        ("nixl_agent('a')", &["3 agent ignores-settings"][..]),
        ("nixl_agent('a', None)", &["3 agent ignores-settings"]),
        (
            "nixl_agent('a', nixl_agent_config(num_threads=8))",
            &["3 agent ignores-settings", "3 configuration ignores-settings"],
        ),
        (
            "nixl_agent('a', nixl_agent_config(backends=['UCX']))",
            &["3 agent ignores-settings", "3 configuration ignores-settings"],
        ),
        (
            "c = nixl_agent_config() if nixl_agent_config else None\nnixl_agent('a', c)",
            &["3 configuration ignores-settings", "4 agent ignores-settings"],
        ),
        (
            "c = nixl_agent_config(backends=[os.environ['B']])\nnixl_agent('a', c)",
            &["3 configuration environment B", "4 agent environment B"],
        ),
        (
            "from settings import envs\nnixl_agent('a', nixl_agent_config(backends=[envs.MY_BACKEND.get()]))",
            &["4 agent environment MY_BACKEND", "4 configuration environment MY_BACKEND"],
        ),
        (
            "def f(options):\n    nixl_agent('a', nixl_agent_config(backends=options.backends))",
            &["4 agent option options.backends", "4 configuration option options.backends"],
        ),
        (
            "def f(**kwargs):\n    b = kwargs.get('names') or ['UCX']\n    nixl_agent('a', nixl_agent_config(backends=b))",
            &["5 agent option names", "5 configuration option names"],
        ),
        (
            "class C:\n    def __init__(self, x):\n        self.b = x.get_from_extra_config('backends', ['UCX'])\n    def f(self):\n        nixl_agent('a', nixl_agent_config(backends=self.b))",
            &[
                "7 agent option kv_connector_extra_config.backends",
                "7 configuration option kv_connector_extra_config.backends",
            ],
        ),
        (
            "from dataclasses import dataclass, field\n@dataclass\nclass C:\n    names: list = field(default_factory=lambda: ['UCX'])\n    def f(self):\n        nixl_agent('a', nixl_agent_config(backends=self.names))",
            &["8 agent option names", "8 configuration option names"],
        ),
        (
            "a = nixl_agent('a', nixl_agent_config(backends=[]))\na.create_backend('OBJ', {})",
            &["3 agent deliberate", "3 configuration deliberate", "4 backend deliberate"],
        ),
        (
            "o = {'backends': []}\nnixl_agent('a', nixl_agent_config(**o))",
            &["4 agent deliberate", "4 configuration deliberate"],
        ),
        (
            "o = {'num_threads': 1}\nnixl_agent('a', nixl_agent_config(**o))",
            &["4 agent ignores-settings", "4 configuration ignores-settings"],
        ),
        (
            "o = {}\no[\"backends\"] = x()\nnixl_agent('a', nixl_agent_config(**o))",
            &["5 agent unknown", "5 configuration unknown"],
        ),
        (
            "c = nixl_agent_config()\nc.backends = [os.environ['B']]\nnixl_agent('a', c)",
            &["3 configuration environment B", "5 agent environment B"],
        ),
        (
            "def f(b):\n    if b:\n        c = nixl_agent_config(backends=b)\n    else:\n        c = nixl_agent_config(num_threads=4)\n    nixl_agent('a', c)",
            &["5 configuration option b", "7 configuration option b", "8 agent option b"],
        ),
        (
            "def load():\n    return nixl_agent, nixl_agent_config\ndef f():\n    A, C = load()\n    return A('a', C(num_threads=8))",
            &["7 agent ignores-settings", "7 configuration ignores-settings"],
        ),
        (
            "import importlib\ndef load():\n    for name in ('nixl._api', 'nixl_cu12._api'):\n        m = importlib.import_module(name)\n        return m.nixl_agent, m.nixl_agent_config\nA, C = load()\nA('a', C(num_threads=8))",
            &["9 agent ignores-settings", "9 configuration ignores-settings"],
        ),
        ("def f(config):\n    nixl_agent('a', config)", &["4 agent unknown"]),
        ("import functools\nmake = functools.partial(nixl_agent)", &["4 agent unknown"]),
        ("nixl_agent('a', None, instantiate_all=True)", &["3 agent deliberate"]),
        ("a = pool()\na.get_plugin_list()\na.create_backend('UCX', {})", &["5 backend ignores-settings"]),
        ("engine.create_backend('UCX', {})", &[]),
        ("def f(x: nixl_agent): return isinstance(x, nixl_agent)", &[]),
    ] {
        assert_eq!(of_source(text), expected, "{text}");
    }
}

#[test]
fn a_name_is_followed_across_the_modules_of_the_tree() {
    let use_it = "W('a')\n";
    let files = [
        ("p/__init__.py", "from .low import Wrapper as NixlThing\n"),
        (
            "p/low.py",
            "try:\n    from nixl._api import nixl_agent as Wrapper\nexcept ImportError:\n    Wrapper = None\n",
        ),
        ("p/a.py", &format!("# NIXL\nfrom p import NixlThing as W\n{use_it}")),
        ("p/b.py", &format!("# NIXL\nfrom .low import Wrapper as W\n{use_it}")),
        ("p/c.py", "# NIXL\nimport p.low as low\nlow.Wrapper('a')\n"),
        ("p/d/e.py", "# NIXL\nfrom .. import low\nlow.Wrapper('a')\n"),
        ("p/f.py", "# NIXL\nfrom .low import *\nWrapper('a')\n"),
        ("p/other.py", "# NIXL\nfrom .elsewhere import Wrapper\nWrapper('a')\n"),
        (
            "p/lazy.py",
            "import importlib\ndef __getattr__(name):\n    table = {'NixlLazy': 'nixl_agent'}\n    return getattr(importlib.import_module('nixl._api'), table[name])\n",
        ),
        ("p/g.py", "from p.lazy import NixlLazy\nNixlLazy('a')\n"),
    ];
    let expected = ["p/a.py:3", "p/b.py:3", "p/c.py:3", "p/d/e.py:3", "p/f.py:3", "p/g.py:2"];
    let expected: Vec<String> = expected.iter().map(|place| format!("{place} agent ignores-settings")).collect();
    let root = tree(&files);
    assert_eq!(places(root.path()), (1, expected.clone()));
    // The packages of a source checkout lie deeper.
    let deeper: Vec<(String, &str)> = files.iter().map(|(path, text)| (format!("x-1.0/src/{path}"), *text)).collect();
    let deeper: Vec<(&str, &str)> = deeper.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let (_, found) = places(tree(&deeper).path());
    assert_eq!(found, expected.iter().map(|place| format!("x-1.0/src/{place}")).collect::<Vec<_>>());
}

#[test]
fn an_alias_without_nixl_s_name_is_found_too() {
    let root = tree(&[
        ("p/low.py", "from nixl._api import nixl_agent as Agent\n"),
        ("p/use.py", "from .low import Agent\nAgent('a')\n"),
    ]);
    assert_eq!(places(root.path()), (1, vec!["p/use.py:2 agent ignores-settings".to_string()]));
}

#[test]
fn places_are_grouped_by_distribution() {
    let agent = "from nixl._api import nixl_agent\nnixl_agent('a')\n";
    let site = tree(&[
        ("one/m.py", agent),
        ("two/m.py", agent),
        ("one-1.2.dist-info/RECORD", "one/m.py,sha256=x,1\n"),
        ("one-1.2.dist-info/METADATA", "Name: One\nVersion: 1.2\n\n"),
    ]);
    let (status, document) = run_json([Path::new("audit"), site.path()]);
    assert_eq!(status, 1);
    let groups = document["audit"]["groups"].as_array().unwrap();
    let names: Vec<&Value> = groups.iter().map(|group| &group["distribution"]).collect();
    assert_eq!(names, [&Value::Null, &Value::from("One")]);
    assert_eq!(groups[0]["folder"], site.path().join("two").display().to_string());
    let place = &document["audit"]["places"][1];
    assert_eq!((&place["distribution"], &place["distribution_version"]), (&"One".into(), &"1.2".into()));
    let finding = &document["findings"][0];
    assert_eq!(
        (&finding["id"], &finding["severity"], &finding["line"]),
        (&"ignores-settings".into(), &"warning".into(), &2.into())
    );
    assert!(finding["cure"][0].as_str().unwrap().contains("--also"), "{finding}");
}

#[test]
fn what_cannot_be_read_or_parsed_stops_nothing() {
    let root = tree(&[
        ("broken.py", "from nixl._api import nixl_agent\nnixl_agent(\n"),
        ("zero.py", "nixl_agent\0"),
        ("good.py", "from nixl._api import nixl_agent\nnixl_agent('a')\n"),
        ("large.py", &format!("from nixl._api import nixl_agent\nx = [{}]\n", "1,".repeat(200_000))),
        (".hidden/m.py", "from nixl._api import nixl_agent\nnixl_agent('a')\n"),
        (".gitignore", "*.py\n"),
    ]);
    symlink(root.path(), root.path().join("loop")).unwrap();
    symlink("nowhere.py", root.path().join("dangling.py")).unwrap();
    symlink("nowhere.so", root.path().join("dangling.so")).unwrap();
    let (status, found) = places(root.path());
    assert_eq!((status, found.len()), (1, 2), "{found:?}");
    let (_, document) = run_json([Path::new("audit"), root.path()]);
    let problems = document["audit"]["problems"].as_array().unwrap();
    let paths: Vec<&str> = problems.iter().map(|problem| problem["path"].as_str().unwrap()).collect();
    let names: Vec<&str> = paths.iter().map(|path| path.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["broken.py", "dangling.py", "zero.py"], "{problems:?}");
}

/// What `apply` writes reads the variable: in Python, and in Rust.
#[test]
fn a_patched_source_follows_its_variable() {
    let (environment, site) = virtual_environment();
    let rust = tree(&[(
        "m.rs",
        "use dynamo_memory::nixl::NixlAgent;\n\npub fn agent() -> anyhow::Result<NixlAgent> {\n    \
         Ok(NixlAgent::with_backends(\"a\", &[\"UCX\"])?)\n}\n",
    )]);
    let rust_in_two_steps = tree(&[(
        "m.rs",
        "use dynamo_memory::nixl::NixlAgent;\n\nfn agent() -> anyhow::Result<NixlAgent> {\n    let mut agent = \
         NixlAgent::new(\"a\")?;\n    agent.add_backend(\"UCX\")?;\n    Ok(agent)\n}\n",
    )]);
    let sources = [rust.path().join("m.rs"), rust_in_two_steps.path().join("m.rs")];
    for (target, folder) in
        [(environment.path(), site.as_path()), (&sources[0], rust.path()), (&sources[1], rust_in_two_steps.path())]
    {
        let output = run(["apply", "--smoke=off", "--env-var=MY_BACKEND", &target.display().to_string()]);
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        let (status, places) = places(folder);
        let follows = |place: &String| place.ends_with("environment MY_BACKEND");
        // An agent that is created without a backend first.
        let is_empty = |place: &String| place.ends_with("agent deliberate");
        assert!(places.iter().any(follows) && places.iter().all(|it| follows(it) || is_empty(it)), "{places:?}");
        assert_eq!(status, 0, "{places:?}");
    }
}

#[test]
fn the_status_says_whether_something_ignores_every_setting() {
    let good = tree(&[(
        "m.py",
        "import os\nfrom nixl import nixl_agent, nixl_agent_config as C\nnixl_agent('a', C(backends=[os.environ['B']]))\n",
    )]);
    let output = run([Path::new("audit"), good.path()]);
    assert_eq!(status(&output), 0);
    assert!(stdout(&output).contains("0 of 1 ignore every setting"), "{}", stdout(&output));
    let empty = tempfile::tempdir().unwrap();
    let output = run([Path::new("audit"), empty.path()]);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("no Python or Rust source in"), "{}", stderr(&output));
    let output = run(["audit", "/nowhere"]);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("\nhelp: pass a virtual environment"), "{}", stderr(&output));
}

#[test]
fn an_environment_s_packages_are_audited_and_its_variables_shown() {
    let (environment, site) = virtual_environment();
    fs::create_dir_all(site.join("modelexpress")).unwrap();
    fs::write(site.join("modelexpress/envs.py"), "").unwrap();
    let output = program().arg("audit").arg(environment.path()).env("MX_NIXL_BACKEND", "LIBFABRIC").output().unwrap();
    assert_eq!(status(&output), 1, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("ai-dynamo-runtime 9.9.9"), "{text}");
    assert!(text.contains("`MX_NIXL_BACKEND`, set to `LIBFABRIC`"), "{text}");
    let default = program().arg("audit").env("VIRTUAL_ENV", environment.path()).output().unwrap();
    assert_eq!(status(&default), 1, "{}", stderr(&default));
}

#[test]
fn rust_sources_are_audited_without_their_tests() {
    let agent = "use dynamo_memory::nixl::NixlAgent;\nfn f() {\n    NixlAgent::with_backends(\"a\", &[\"UCX\"]);\n}\n";
    let root = tree(&[
        ("src/lib.rs", agent),
        ("src/a/tests/mod.rs", agent),
        ("tests/t.rs", agent),
        ("src/broken.rs", "fn NixlAgent( {"),
    ]);
    assert_eq!(places(root.path()), (1, vec!["src/lib.rs:3 agent ignores-settings".to_string()]));
    let (_, document) = run_json([Path::new("audit"), root.path()]);
    assert_eq!(document["audit"]["problems"].as_array().unwrap().len(), 1, "{document}");
}

#[test]
fn the_compiled_media_loader_beside_libfabric_alone_is_a_finding() {
    let site = site_packages();
    fs::write(site.path().join("dynamo/_core.abi3.so"), "\0media-loader-\0").unwrap();
    for (value, expected) in [("LIBFABRIC", true), ("LIBFABRIC,UCX", false)] {
        let output = program().arg("audit").arg(site.path()).env("NIXL_BACKEND", value).output().unwrap();
        let text = stdout(&output);
        assert_eq!(text.contains("frontend media decoding finds no common backend"), expected, "{text}");
    }
}

/// What the laboratory fetches: the folder with the sources of a release.
fn lab(what: [&str; 3]) -> PathBuf {
    let output = Command::new("tests/lab.sh").args(what).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    PathBuf::from(stdout(&output).trim())
}

/// Fetches 150 MB from the package index on its first run.
#[test]
fn the_places_of_the_released_packages_are_those_that_were_read() {
    let mut expected: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let table = fs::read_to_string(fixture("audit.tsv")).unwrap();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let [name, version, path, line, creates, class, setting] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let place = format!("{path}:{line} {creates} {class} {setting}").trim_end().to_string();
        expected.entry((name.into(), version.into())).or_default().insert(place);
    }
    for ((name, version), expected) in expected {
        let (_, found) = places(&lab([if name == "dynamo-llm" { "crate" } else { "sources" }, &name, &version]));
        let found: BTreeSet<String> = found.into_iter().collect();
        let missing: Vec<_> = expected.difference(&found).collect();
        let extra: Vec<_> = found.difference(&expected).collect();
        assert!(missing.is_empty() && extra.is_empty(), "{name} {version}: missing {missing:#?}, extra {extra:#?}");
    }
}

/// Fetches packages as the test above does, and a crate.
#[test]
fn each_setting_is_in_the_file_that_the_table_names() {
    let table = fs::read_to_string("src/advice/knobs.tsv").unwrap();
    let mut held = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let [package, kind, name, _, _, _, source, version, words] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        assert!(["environment", "option"].contains(&kind), "{line}");
        let content = match package {
            // Its wheels are not on the package index.
            "tensorrt_llm" => continue,
            "dynamo-memory" => fs::read(lab(["crate", package, version]).join(source)).unwrap(),
            _ => fs::read(lab(["sources", package, version]).join(source)).unwrap(),
        };
        let text = String::from_utf8_lossy(&content).replace('\n', "\\n");
        assert!(text.contains(words), "{name}: {source} of {package} {version} has no {words}");
        held += 1;
    }
    assert!(held >= 12, "{held}");
}
