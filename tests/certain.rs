//! A call is rewritten only where it is certain what it calls: each module does the same before and after `apply`, but
//! for the backends of the calls that were rewritten.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::process::Command;

use common::*;
use serde_json::Value;

/// The modules' own way to create their agents.
const RUN: &str =
    "import module\nmodule.run()\nimport nixl._api\nprint([agent['backends'] for agent in nixl._api.agents])\n";

/// Runs a module with the variable set; what its agents got, or the error.
fn agents(source: &str, backend: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    copy_tree(&fixture("nixl_stand_in"), folder.path());
    fs::write(folder.path().join("module.py"), source).unwrap();
    let mut command = Command::new("python3");
    let output =
        command.args(["-B", "-c", RUN]).current_dir(folder.path()).env("NIXL_BACKEND", backend).output().unwrap();
    let text = if output.status.success() { stdout(&output) } else { stderr(&output) };
    text.trim().lines().last().unwrap_or_default().to_string()
}

/// Applies to a source; the new one and the file's report.
fn applied(source: &str) -> (String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.py");
    fs::write(&file, source).unwrap();
    let (status, document) = run_json(["apply".as_ref(), "--smoke=off".as_ref(), file.as_os_str()]);
    assert_eq!(status, 0, "{document}\n{source}");
    (fs::read_to_string(&file).unwrap(), document["files"][0].clone())
}

#[test]
fn a_configuration_class_that_may_be_unbound_is_not_used() {
    let agent = "import os\nfrom nixl._api import nixl_agent\n";
    for source in [
        "if os.environ.get('NOPE'):\n    from nixl._api import nixl_agent_config\ndef run(): nixl_agent('x')\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nixl._api import nixl_agent_config\ndef run(): nixl_agent('x')\n",
        "for _ in ():\n    from nixl._api import nixl_agent_config\ndef run(): nixl_agent('x')\n",
        "def run():\n    nixl_agent('x')\n    from nixl._api import nixl_agent_config\n",
        "def other():\n    from nixl._api import nixl_agent_config\ndef run(): nixl_agent('x')\n",
        "from nixl._api import nixl_agent_config as __config\nclass C:\n    def f(self): nixl_agent('x')\ndef run(): C().f()\n",
        "class C:\n    def __init__(self):\n        self.nixl_agent = nixl_agent\n        self.nixl_agent('x')\ndef run(): C()\n",
        "class C:\n    from nixl._api import nixl_agent_config\n    def f(self): nixl_agent('x')\ndef run(): C().f()\n",
        "def run(nixl_agent_config=None): nixl_agent('x')\n",
        "from nixl._api import nixl_agent_config\ndel nixl_agent_config\ndef run(): nixl_agent('x')\n",
        "def never(): return nixl_agent()\ndef run(): nixl_agent('x')\n",
        "def run():\n    if os.environ.get('VLLM_ATTENTION_BACKEND') is None:\n        nixl_agent('x')\n",
        "import contextlib\nwith contextlib.suppress(ImportError):\n    import nowhere\n    from nixl._api import nixl_agent_config\ndef run(): nixl_agent('x')\n",
    ] {
        let source = format!("{agent}{source}");
        let (patched, report) = applied(&source);
        assert_eq!(report["status"], "patched", "{source}");
        assert_eq!(agents(&source, "LIBFABRIC"), "[['UCX']]", "{source}");
        assert_eq!(agents(&patched, "LIBFABRIC"), "[['LIBFABRIC']]", "{patched}");
        assert_eq!(agents(&patched, "UCX"), "[['UCX']]", "{patched}");
    }
}

#[test]
fn what_is_not_certain_is_left_alone_with_a_reason() {
    let agent = "import os\nimport nixl._api as api\nfrom nixl._api import nixl_agent, nixl_agent_config\n";
    for (source, status, shape, words) in [
        (
            "class Fake:\n    def __init__(self, name): pass\nkind = nixl_agent if os.environ.get('REAL') else Fake\ndef run(): kind('x')\n",
            "unresolved",
            "unclear",
            "class `Fake`",
        ),
        (
            "import types\nns = types.SimpleNamespace(kind=None)\nns.kind = api.nixl_agent\ndef run(): ns.kind('x')\n",
            "unresolved",
            "attribute",
            "cannot be traced",
        ),
        ("def run(kind=nixl_agent): kind('x')\n", "unresolved", "default-argument", "default"),
        (
            "import functools\nmake = functools.partial(nixl_agent, 'x')\ndef run(): make()\n",
            "unresolved",
            "partial",
            "functools.partial",
        ),
        ("class Mine(nixl_agent): pass\ndef run(): Mine('x')\n", "unresolved", "subclass", "subclassed"),
        ("class C:\n    kind = nixl_agent\ndef run(): C.kind('x')\n", "unresolved", "class-attribute", "replace"),
        ("def run(): getattr(api, 'nixl_agent')('x')\n", "unresolved", "getattr", "getattr"),
        ("kinds = {'nixl': nixl_agent}\ndef run(): kinds['nixl']('x')\n", "unresolved", "collection", "container"),
        ("def run():\n    for kind in {nixl_agent}: kind('x')\n", "unresolved", "collection", "container"),
        (
            "import importlib\ndef run(name='nixl._api'): importlib.import_module(name).nixl_agent('x')\n",
            "unresolved",
            "attribute",
            "cannot be traced",
        ),
        (
            "import contextlib\ndef run():\n    with contextlib.nullcontext(api) as given:\n        given.nixl_agent('x')\n",
            "unresolved",
            "attribute",
            "cannot be traced",
        ),
        (
            "def run():\n    a = nixl_agent('x')\n    a.create_backend('LIBFABRIC')\n",
            "configured",
            "configured",
            "create_backend",
        ),
        (
            "def run():\n    a = nixl_agent('x')\n    if os.environ.get('NIXL_BACKEND', 'UCX') != 'UCX':\n        a.create_backend(os.environ['NIXL_BACKEND'])\n",
            "env-aware",
            "env-aware",
            "create_backend",
        ),
        (
            "def run():\n    c = nixl_agent_config(backends=[])\n    c.backends.append(os.environ['NIXL_BACKEND'])\n    nixl_agent('x', c)\n",
            "configured",
            "configured",
            "backends=[]",
        ),
        (
            "def run():\n    c = nixl_agent_config()\n    c.backends = [os.environ['NIXL_BACKEND']]\n    nixl_agent('x', c)\n",
            "env-aware",
            "env-aware",
            "is changed",
        ),
        ("def run(): nixl_agent('x', None, instantiate_all=True)\n", "configured", "configured", "instantiate_all"),
        (
            "'''\n# >>> nixl-retrofit 0.1.0 default=UCX allow=UCX,LIBFABRIC on-unknown=fallback env-var=NIXL_BACKEND\n# >>> original sha256=00 inserted=0+0\n'''\ndef run(): nixl_agent('x', nixl_agent_config(backends=['UCX']))\n",
            "configured",
            "configured",
            "backends=['UCX']",
        ),
    ] {
        let source = format!("{agent}{source}");
        let (after, report) = applied(&source);
        assert_eq!(after, source);
        assert_eq!(report["status"], status, "{report}\n{source}");
        let site = &report["sites"][0];
        assert_eq!((&site["shape"], &site["action"]), (&shape.into(), &"leave".into()), "{report}\n{source}");
        assert!(site["reason"].as_str().unwrap().contains(words), "{report}\n{source}");
        assert!(
            !agents(&source, "LIBFABRIC").contains("Error"),
            "the module works: {}\n{source}",
            agents(&source, "LIBFABRIC")
        );
    }
}

#[test]
fn check_says_what_it_cannot_judge() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.py");
    fs::write(&file, "from nixl._api import nixl_agent\nimport functools\nmake = functools.partial(nixl_agent, 'x')\n")
        .unwrap();
    let output = run(["check".as_ref(), file.as_os_str()]);
    assert_eq!(status(&output), 0, "{}", stdout(&output));
    let text = stdout(&output);
    assert!(text.starts_with("unchanged, a call cannot be judged: "), "{text}");
    assert!(text.contains("line 3, column 26: unchanged; `nixl_agent` is wrapped by `functools.partial`"), "{text}");
}

#[test]
fn a_text_that_looks_like_a_marker_is_none_unless_it_is_the_modules_own_comment() {
    let marker = "# >>> nixl-retrofit 0.1.0 default=UCX allow=UCX,LIBFABRIC on-unknown=fallback env-var=NIXL_BACKEND\n# >>> original sha256=00 inserted=0+0\n";
    for source in [
        format!("'''\n{marker}'''\nimport nixl._api as n\ndef run(): n.nixl_agent('x')\n"),
        format!("x = [\n{marker}]\nimport nixl._api as n\ndef run(): n.nixl_agent('x')\n"),
        format!("import nixl._api as n\ndef run():\n    n.nixl_agent('x')\n{marker}    return 1\n"),
    ] {
        let (patched, report) = applied(&source);
        assert_eq!(report["status"], "patched", "{report}\n{source}");
        assert_eq!(agents(&patched, "LIBFABRIC"), "[['LIBFABRIC']]", "{patched}");
        let (again, report) = applied(&patched);
        assert_eq!((again, &report["status"]), (patched, &"already-patched".into()), "{source}");
    }
}

#[test]
fn a_changed_default_of_nixl_is_named_before_it_is_replaced() {
    let site = site_packages();
    let api = site.path().join("nixl_cu12/_api.py");
    fs::create_dir(api.parent().unwrap()).unwrap();
    let class = |default: &str| {
        format!(
            "class nixl_agent_config:\n    def __init__(self, backends: list[str] = [{default}]):\n        self.backends = backends\n"
        )
    };
    let notes = |options: &[&str]| {
        let output = program().arg("check").args(options).arg(site.path()).output().unwrap();
        assert_eq!(status(&output), 1);
        stdout(&output).lines().filter(|line| line.contains("_api.py")).map(str::to_string).collect::<Vec<_>>()
    };
    fs::write(&api, class("\"UCX\"")).unwrap();
    assert_eq!(notes(&[]), Vec::<String>::new());
    fs::write(&api, class("\"LIBFABRIC\"")).unwrap();
    assert!(notes(&[])[0].ends_with("pass `--default-backend LIBFABRIC` to keep it"), "{:?}", notes(&[]));
    assert_eq!(notes(&["--default-backend=LIBFABRIC"]), Vec::<String>::new());
    fs::write(&api, class("os.environ[\"X\"]").replace("[os", "os").replace("]]", "]")).unwrap();
    assert!(notes(&[])[0].contains("computes its default backend"), "{:?}", notes(&[]));
}

#[test]
fn a_program_that_works_before_works_after() {
    let programs = include_str!("certain/programs.txt");
    let programs: Vec<(&str, &str)> =
        programs.split("### ").skip(1).map(|program| program.split_once('\n').unwrap()).collect();
    assert!(programs.len() > 100, "{}", programs.len());
    for (title, body) in programs {
        let source = format!("import os\nfrom nixl._api import nixl_agent\nimport nixl._api as api\n{body}");
        let (after, report) = applied(&source);
        let (name, expected) = title.split_once(": ").unwrap();
        let found = if report["status"] == "patched" { "rewritten" } else { "left" };
        assert_eq!(found, expected, "{name}: {report}");
        let (was, is) = (agents(&source, "LIBFABRIC"), agents(&after, "LIBFABRIC"));
        assert!(!was.contains("Error"), "{name} works: {was}");
        match found {
            "left" => assert_eq!(is, was, "{name}"),
            _ => assert!(is.contains("LIBFABRIC"), "{name}: {is}"),
        }
        assert!(!is.contains("Error"), "{name} goes on working: {is}\n{after}");
    }
}
