//! What the rewritten code does when it runs: real Python, with a stand-in for NIXL that records.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::process::Command;

use common::*;
use tempfile::TempDir;

const NEWER: &str = "import nixl._api as nixl_api\n";

/// Rewrites a source; returns the new one.
fn rewritten(source: &[u8], options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("module.py");
    fs::write(&file, source).unwrap();
    let output = program().args(["apply", "--smoke=off"]).args(options).arg(&file).output().unwrap();
    assert_eq!(status(&output), 0, "{}\n{}", stderr(&output), String::from_utf8_lossy(source));
    let patched = fs::read(&file).unwrap();
    let again = program().args(["apply", "--smoke=off"]).args(options).arg(&file).output().unwrap();
    assert_eq!(status(&again), 0, "{}", stderr(&again));
    assert_eq!(fs::read(&file).unwrap(), patched, "the second time changes nothing");
    if patched != source {
        let reverted = run(["revert".as_ref(), file.as_os_str()]);
        assert_eq!(status(&reverted), 0, "{}", stderr(&reverted));
        assert_eq!(fs::read(&file).unwrap(), source, "revert gives the original bytes");
    }
    patched
}

/// Where a module and the stand-in for NIXL lie.
struct Room {
    folder: TempDir,
}

impl Room {
    fn new(module: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_tree(&fixture("nixl_stand_in"), folder.path());
        fs::write(folder.path().join("module.py"), module).unwrap();
        Room { folder }
    }

    /// Imports the module with the variable set, runs `code`; returns the agents' backends and what was logged.
    fn run(&self, variable: Option<&str>, code: &str) -> (String, String) {
        let script = format!(
            "import logging, sys\nlogging.basicConfig(level=logging.INFO, format='%(levelname)s %(name)s %(message)s')\n\
             import module\n{code}\nimport nixl._api\nprint([agent['backends'] for agent in nixl._api.agents])\n\
             assert all(agent['right_class'] for agent in nixl._api.agents)"
        );
        let mut command = Command::new("python3");
        command.args(["-B", "-c", &script]).current_dir(self.folder.path()).env_remove("NIXL_BACKEND").env_remove("X");
        if let Some(value) = variable {
            command.env("NIXL_BACKEND", value).env("X", value);
        }
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}\n{}",
            stderr(&output),
            fs::read_to_string(self.folder.path().join("module.py")).unwrap_or_default()
        );
        (stdout(&output).trim().to_string(), stderr(&output))
    }
}

fn backends(source: &str, variable: Option<&str>) -> String {
    Room::new(&rewritten(source.as_bytes(), &[])).run(variable, "").0
}

#[test]
fn every_value_of_the_variable_means_what_the_contract_says() {
    let module = rewritten(&fs::read(fixture("site-packages").join(SOURCE)).unwrap(), &[]);
    let room = Room::new(&module);
    for (value, chosen, warnings) in [
        (None, "['UCX']", 0),
        (Some(""), "['UCX']", 0),
        (Some("  "), "['UCX']", 0),
        (Some("UCX"), "['UCX']", 0),
        (Some("LIBFABRIC"), "['LIBFABRIC']", 0),
        (Some("libfabric"), "['LIBFABRIC']", 0),
        (Some("LIBFABRIC,UCX"), "['LIBFABRIC', 'UCX']", 0),
        (Some(" UCX , UCX"), "['UCX']", 0),
        (Some("BOGUS"), "['UCX']", 1),
        (Some("BOGUS,LIBFABRIC"), "['LIBFABRIC']", 1),
        (Some(",,"), "['UCX']", 0),
        (Some("\tlibfabric\r\n,\u{b}UCX\u{c}"), "['LIBFABRIC', 'UCX']", 0),
    ] {
        let (found, log) = room.run(value, "module.Connection('a')\nmodule.Connection('b')");
        assert_eq!(found, format!("[{chosen}, {chosen}]"), "{value:?}");
        let info = format!("INFO module NIXL Connect: Using backend(s): {chosen}\n");
        assert_eq!(log.matches(&info).count(), 1, "{value:?}: {log}");
        assert_eq!(log.matches("WARNING").count(), warnings, "{value:?}: {log}");
        let warning = "WARNING module NIXL Connect: Unknown backend 'BOGUS' in NIXL_BACKEND is ignored; supported: UCX, LIBFABRIC\n";
        assert_eq!(log.matches(warning).count(), warnings, "{log}");
    }
}

#[test]
fn letters_and_blanks_that_only_look_like_ascii_name_no_backend() {
    let room = Room::new(&rewritten(&fs::read(fixture("site-packages").join(SOURCE)).unwrap(), &[]));
    for value in ["l\u{131}bfabric", "L\u{130}BFABRIC", "\u{a0}LIBFABRIC", "LIBFABRIC\u{3000}", "\u{1c}LIBFABRIC"] {
        let (found, log) = room.run(Some(value), "module.Connection('a')");
        assert_eq!((found.as_str(), log.matches("WARNING").count()), ("[['UCX']]", 1), "{value:?}: {log}");
    }
}

#[test]
fn the_variable_is_read_when_the_agent_is_created() {
    let module = rewritten(&fs::read(fixture("site-packages").join(SOURCE)).unwrap(), &[]);
    let code = "import os\nfor value in ('UCX', 'LIBFABRIC'):\n    os.environ['NIXL_BACKEND'] = value\n    module.Connection('a', os=0, backends=1)";
    assert_eq!(Room::new(&module).run(None, code).0, "[['UCX'], ['LIBFABRIC']]");
}

#[test]
fn options_are_heeded() {
    let source = format!("{NEWER}nixl_api.nixl_agent('a')\n");
    let with = |options: &[&str], value| Room::new(&rewritten(source.as_bytes(), options)).run(value, "").0;
    assert_eq!(with(&["--default-backend=libfabric"], None), "[['LIBFABRIC']]");
    assert_eq!(with(&["--allow=UCX"], Some("LIBFABRIC")), "[['UCX']]");
    assert_eq!(with(&["--env-var=X"], Some("LIBFABRIC")), "[['LIBFABRIC']]");
    let strict = Room::new(&rewritten(
        format!("{NEWER}def f(): nixl_api.nixl_agent('a')\n").as_bytes(),
        &["--on-unknown=error"],
    ));
    let code = "try:\n    module.f()\nexcept ValueError as error:\n    print(error)";
    assert!(
        strict
            .run(Some("BOGUS"), code)
            .0
            .contains("NIXL_BACKEND names unknown backend(s) BOGUS; supported: UCX, LIBFABRIC")
    );
    assert_eq!(strict.run(Some("LIBFABRIC"), code).0, "[['LIBFABRIC']]");
}

#[test]
fn a_changed_option_patches_again_and_reverts_to_the_original() {
    let site = site_packages();
    let original = snapshot(site.path());
    let apply = |option: &str| {
        status(&run(["apply".as_ref(), "--smoke=off".as_ref(), option.as_ref(), site.path().as_os_str()]))
    };
    assert_eq!(apply("--default-backend=UCX"), 0);
    let first = snapshot(site.path());
    let check = run(["check".as_ref(), "--on-unknown=error".as_ref(), site.path().as_os_str()]);
    assert_eq!(status(&check), 1, "another option is a change");
    assert_eq!(apply("--on-unknown=error"), 0);
    assert_ne!(snapshot(site.path()), first);
    assert!(record_agrees(site.path()));
    assert_eq!(status(&run(["revert".as_ref(), site.path().as_os_str()])), 0);
    assert_eq!(snapshot(site.path()), original);
}

#[test]
fn calls_in_any_shape_are_rewritten_rightly() {
    let agent = "from nixl._api import nixl_agent\n";
    let both = "from nixl._api import nixl_agent, nixl_agent_config\n";
    let aliased = "from nixl._api import nixl_agent as A, nixl_agent_config as C\n";
    for (import, code) in [
        (NEWER, "nixl_api.nixl_agent('a',)"),
        (NEWER, "nixl_api.nixl_agent(agent_name='a')"),
        (NEWER, "nixl_api.nixl_agent('a', instantiate_all=False)"),
        (NEWER, "nixl_api.nixl_agent('a', None)"),
        (NEWER, "nixl_api.nixl_agent('a', nixl_conf=None)"),
        (NEWER, "nixl_api . nixl_agent ( ( 'a' ) )"),
        (NEWER, "nixl_api.nixl_agent((('a')),  # one, two)\n)"),
        (NEWER, "nixl_api.nixl_agent(  # (\n    'a'  # the name, )\n    ,  # ,)\n)"),
        (NEWER, "nixl_api.nixl_agent(\\\n  'a' \\\n )"),
        (NEWER, "(nixl_api.nixl_agent)('a')"),
        (NEWER, "(lambda os, logging, backends: nixl_api.nixl_agent(os))('a', 1, 2)"),
        (NEWER, "def f(a=nixl_api.nixl_agent('a')): pass"),
        (NEWER, "x = nixl_api.nixl_agent('a') if True else None"),
        (NEWER, "x = [nixl_api.nixl_agent(n) for n in 'a']"),
        (NEWER, "x = f'{nixl_api.nixl_agent(\"a\")!r:>10}'"),
        (NEWER, "x = nixl_api.nixl_agent('é' + \"\"\"\n\"\"\")"),
        (NEWER, "async def f(): return nixl_api.nixl_agent('a')\nimport asyncio; asyncio.run(f())"),
        (NEWER, "os = logging = None; nixl_api.nixl_agent('a')"),
        (agent, "nixl_agent('a')"),
        (agent, "nixl_agent('a', None)"),
        ("from nixl._api import nixl_agent as A\n", "A('a')"),
        (both, "nixl_agent('a')"),
        (both, "nixl_agent('a', nixl_agent_config())"),
        (both, "nixl_agent('a', nixl_agent_config(num_threads=8, capture_telemetry=True,))"),
        (both, "nixl_agent('a', nixl_agent_config(\n    True,  # progress\n))"),
        (both, "nixl_agent('a', nixl_conf=nixl_agent_config(listen_port=1))"),
        (both, "c = nixl_agent_config(num_threads=8)\nnixl_agent('a', c)"),
        (both, "c = None\nnixl_agent('a', c)"),
        (both, "c = nixl_agent_config(num_threads=8) if False else None\nnixl_agent('a', c)"),
        (both, "nixl_agent('a', nixl_agent_config() if False else None)"),
        (aliased, "A('a')"),
        (aliased, "def f(C): return A('a')\nf(1)"),
        (
            "try:\n    from nixl_cu13._api import nixl_agent\nexcept ImportError:\n    from nixl._api import nixl_agent\n",
            "nixl_agent('a')",
        ),
        ("try:\n    import nixl._api as n\nexcept ImportError as e:\n    n = None\n", "n.nixl_agent('a')"),
        ("import nixl._api\n", "nixl._api.nixl_agent('a')"),
        ("import importlib\n", "importlib.import_module('nixl._api').nixl_agent('a')"),
        (
            "def lazy():\n    from nixl._api import nixl_agent, nixl_agent_config\n    return nixl_agent, nixl_agent_config\n",
            "a, c = lazy()\na('a', c(num_threads=2))\n",
        ),
        (
            "def lazy():\n    from nixl._api import nixl_agent, nixl_agent_config\n    return nixl_agent, nixl_agent_config\n",
            "def f():\n    a, c = lazy()\n    return a('a')\nf()\n",
        ),
        ("def f():\n    from nixl._api import nixl_agent\n    return nixl_agent('a')\n", "f()"),
        ("'''doc'''\nfrom __future__ import annotations; import nixl._api as n; n.nixl_agent('a')\n", ""),
        ("import nixl._api as n; n.nixl_agent('a')\n", "import os\n"),
        ("@(lambda c: c)\nclass C: pass\nimport nixl._api as n\n", "n.nixl_agent('a')"),
    ] {
        let source = format!("{import}{code}\n");
        assert_eq!(backends(&source, Some("LIBFABRIC,UCX")), "[['LIBFABRIC', 'UCX']]", "{source}");
        assert_eq!(backends(&source, None), "[['UCX']]", "{source}");
    }
}

#[test]
fn a_configurations_other_arguments_stay() {
    let source = format!(
        "{NEWER}a = nixl_api.nixl_agent('n', nixl_api.nixl_agent_config(num_threads=8, capture_telemetry=True))\n"
    );
    let patched = String::from_utf8(rewritten(source.as_bytes(), &[])).unwrap();
    assert!(
        patched
            .contains("nixl_agent_config(num_threads=8, capture_telemetry=True, backends=_nixl_retrofit_backends())"),
        "{patched}"
    );
}

#[test]
fn names_that_are_taken_are_not_used() {
    let source = format!("{NEWER}def _nixl_retrofit_backends():\n    raise SystemError\nnixl_api.nixl_agent('a')\n");
    assert_eq!(backends(&source, Some("LIBFABRIC")), "[['LIBFABRIC']]");
}

#[test]
fn without_nixl_a_module_fails_where_it_failed_before() {
    let source = "try:\n    from nixl_nowhere_at_all import x\nexcept ImportError:\n    pass\n\
        try:\n    from nixl_cu99._api import nixl_agent\nexcept ImportError:\n    def nixl_agent(name):\n        raise ImportError('install NIXL')\n\
        def f():\n    return nixl_agent('a')\n";
    let room = Room::new(&rewritten(source.as_bytes(), &[]));
    let code = "try:\n    module.f()\nexcept ImportError:\n    print('as before')";
    assert_eq!(room.run(None, code).0, "as before\n[]");
}

#[test]
fn every_kind_of_text_comes_back_as_it_was() {
    let body = "import nixl._api as n\n\nclass C:\n\tdef f(self):\n\t\treturn n.nixl_agent('%')\n\x0c\nC().f()\n";
    let with = |name: &[u8]| -> Vec<u8> {
        let (before, after) = body.split_once('%').unwrap();
        [before.as_bytes(), name, after.as_bytes()].concat()
    };
    let crlf = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\n', "\r\n").into_bytes();
    let sources: Vec<(&str, Vec<u8>)> = vec![
        ("LF", with(b"a")),
        ("CRLF", crlf(&with(b"a"))),
        ("mixed", [b"import os\r\nimport sys\r\n".as_slice(), &with(b"a")].concat()),
        ("mark", [b"\xef\xbb\xbf".as_slice(), &with("é".as_bytes())].concat()),
        ("mark and CRLF", [b"\xef\xbb\xbf".as_slice(), &crlf(&with(b"a"))].concat()),
        ("latin-1", [b"# -*- coding: latin-1 -*-\n".as_slice(), &with(b"\xe9\xff")].concat()),
        ("cp1252", [b"#!/usr/bin/python3\n# coding: cp1252\n".as_slice(), &with(b"\x80")].concat()),
        ("shift_jis", [b"# coding: shift_jis\n".as_slice(), &with(b"\x83e\x83X\x83g")].concat()),
        ("iso-8859-15", [b"# vim: set fileencoding=iso-8859-15 :\n".as_slice(), &with(b"\xa4")].concat()),
        ("no newline at the end", b"import nixl._api as n\nn.nixl_agent('a')".to_vec()),
        ("one line", b"import nixl._api as n; n.nixl_agent('a')".to_vec()),
        ("only an import, no newline", b"def f(): n.nixl_agent('a')\nf\nimport nixl._api as n".to_vec()),
        ("form feed first", [b"\x0cimport os\n\x0c\n".as_slice(), &with(b"a")].concat()),
        (
            "docstring",
            [b"'''Doc.\n\nn.nixl_agent(x)\n'''\nfrom __future__ import annotations\n".as_slice(), &with(b"a")].concat(),
        ),
    ];
    for (kind, source) in sources {
        let patched = rewritten(&source, &[]);
        assert_ne!(patched, source, "{kind}");
        let room = Room::new(&patched);
        let code = if kind.starts_with("only") { "module.f()" } else { "" };
        assert_eq!(room.run(Some("LIBFABRIC"), code).0, "[['LIBFABRIC']]", "{kind}");
        let lone = patched.windows(2).filter(|pair| pair[1] == b'\n' && pair[0] != b'\r').count();
        if kind.ends_with("CRLF") {
            assert_eq!(lone, 0, "{kind}: inserted lines end as their neighbours do");
        }
    }
}

#[test]
fn inserted_names_are_in_the_files_encoding() {
    let sources: [(&str, &[u8]); 4] =
        [("utf-8", "é".as_bytes()), ("latin-1", b"\xe9"), ("cp1252", b"\x8a"), ("shift_jis", b"\x83e\x83X\x83g")];
    for (cookie, name) in sources {
        let source =
            [b"# coding: ", cookie.as_bytes(), b"\nimport nixl._api as ", name, b"\n", name, b".nixl_agent('a')\n"];
        let room = Room::new(&rewritten(&source.concat(), &[]));
        assert_eq!(room.run(Some("LIBFABRIC"), "").0, "[['LIBFABRIC']]", "{cookie}");
    }
}

#[test]
fn deep_expressions_do_not_end_the_program() {
    let deep = format!("{NEWER}x = {}1\nnixl_api.nixl_agent('a')\n", "1 + ".repeat(20_000));
    assert!(rewritten(deep.as_bytes(), &[]).len() > deep.len());
    let nested = format!("{NEWER}x = {}1{}\nnixl_api.nixl_agent('a')\n", "(".repeat(200), ")".repeat(200));
    assert!(rewritten(nested.as_bytes(), &[]).len() > nested.len());
}

#[test]
fn what_is_left_is_left_and_explained() {
    for (source, expected, shape) in [
        (
            "import nixl._api as n\nn.nixl_agent('a', n.nixl_agent_config(backends=['UCX']))\n",
            "configured",
            "configured",
        ),
        ("import nixl._api as n\nn.nixl_agent('a', n.nixl_agent_config(backends=[]))\n", "configured", "configured"),
        (
            "import os\nimport nixl._api as n\nn.nixl_agent('a', n.nixl_agent_config(backends=[os.environ['B']]))\n",
            "env-aware",
            "env-aware",
        ),
        ("import nixl._api as n\nn.nixl_agent(*a)\n", "unresolved", "unclear"),
        ("import nixl._api as n\ndef f(c):\n    return n.nixl_agent('a', c)\n", "unresolved", "unclear"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.py");
        fs::write(&file, source).unwrap();
        let (status, document) = run_json(["apply".as_ref(), "--smoke=off".as_ref(), file.as_os_str()]);
        assert_eq!(status, 0);
        let found = &document["files"][0];
        assert_eq!((&found["status"], &found["diff"]), (&expected.into(), &"".into()), "{source}");
        assert_eq!((&found["sites"][0]["shape"], &found["sites"][0]["action"]), (&shape.into(), &"leave".into()));
        assert!(found["sites"][0]["reason"].as_str().unwrap().len() > 10);
        assert_eq!(fs::read_to_string(&file).unwrap(), source);
    }
}
