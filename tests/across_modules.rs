//! `--also`: calls of NIXL's agent through names that other modules of the package bind.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::path::Path;

use common::*;
use serde_json::Value;
use tempfile::TempDir;

/// A module that binds both classes, or None where NIXL is missing.
const NAMES: &str = "\
try:
    from nixl._api import nixl_agent as Wrapper, nixl_agent_config as Settings
except ImportError:
    Wrapper = None
    Settings = None
";

/// The miniature of site-packages, with these files of another package beside Dynamo.
fn site(files: &[(&str, &str)]) -> TempDir {
    let site = site_packages();
    for (name, text) in files {
        let path = site.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    site
}

/// `STATUS [ACTION REASON]...` of a file.
fn of_file(document: &Value, path: &Path) -> String {
    let files = document["files"].as_array().unwrap_or_else(|| panic!("{document}"));
    let Some(file) = files.iter().find(|file| file["path"] == path.to_str().unwrap()) else {
        return "not listed".into();
    };
    let sites = file["sites"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap().to_string();
    let sites = sites.map(|site| format!(" [{} {}]", word(&site["action"]), word(&site["reason"])));
    word(&file["status"]) + &sites.collect::<String>()
}

/// What `check --also engine` says of `engine/worker.py` in a package with these files.
fn checked(worker: &str, others: &[(&str, &str)]) -> String {
    let site = site(&[&[("engine/worker.py", worker)], others].concat());
    let (status, document) =
        run_json(["check".as_ref(), "--also".as_ref(), "engine".as_ref(), site.path().as_os_str()]);
    assert_eq!(status, 1, "Dynamo's own module would change: {document}");
    of_file(&document, &site.path().join("engine/worker.py"))
}

const BARE: &str = "would-patch [rewrite no configuration, so NIXL uses its default backend]";
const CONFIGURED: &str = "would-patch [rewrite a configuration without backends, so NIXL uses its default backend]";

#[test]
fn an_alias_is_followed_to_the_modules_that_bind_it() {
    let names = ("engine/names.py", NAMES);
    let empty = ("engine/__init__.py", "");
    // Through one module, absolute and relative, as a name and as an attribute, with a configuration under its own alias.
    for worker in [
        "from engine.names import Wrapper\nWrapper('a')\n",
        "from .names import Wrapper as Agent\nAgent('a')\n",
        "from engine import names\nnames.Wrapper('a')\n",
        "import engine.names\nengine.names.Wrapper('a')\n",
        "import engine.names as n\ndef f():\n    cls = n.Wrapper\n    return cls('a')\n",
        "from engine.names import *\nWrapper('a')\n",
    ] {
        assert_eq!(checked(worker, &[empty, names]), BARE, "{worker}");
    }
    let configured = "from engine.names import Settings, Wrapper\nWrapper('a', Settings(num_threads=4))\n";
    assert_eq!(checked(configured, &[empty, names]), CONFIGURED);
    // Through two modules.
    let passed_on = ("engine/api.py", "from .names import Wrapper as Agent\n");
    assert_eq!(checked("from engine.api import Agent\nAgent('a')\n", &[empty, names, passed_on]), BARE);
    // Re-exported by the package.
    let package = ("engine/__init__.py", "from engine.names import Wrapper\n");
    assert_eq!(checked("import engine\nengine.Wrapper('a')\n", &[package, names]), BARE);
    assert_eq!(checked("from . import Wrapper\nWrapper('a')\n", &[package, names]), BARE);
    // A name without NIXL's, in files that do not write about NIXL.
    let plain = ("engine/names.py", "import nixl._api as api\nMover = api.nixl_agent\n");
    assert_eq!(checked("from engine.names import Mover\nMover('a')\n", &[empty, plain]), BARE);
}

#[test]
fn a_module_may_give_the_class_when_it_is_asked() {
    let empty = ("engine/__init__.py", "");
    let worker = "from engine.names import Wrapper, settings\nWrapper('a', settings(num_threads=4))\n";
    let with = |text: &str| checked(worker, &[empty, ("engine/names.py", text)]);
    let table = "import importlib\n\n\n\
        def _package():\n    return 'nixl_rocm' if gpu.is_rocm() else 'nixl'\n\n\n\
        def _load(name):\n    \
            target = {'Wrapper': 'nixl_agent', 'settings': 'nixl_agent_config', 'Handle': 'nixl_xfer_handle'}[name]\n    \
            try:\n        \
                module = importlib.import_module(f'{_package()}._bindings' if name == 'Handle' else f'{_package()}._api')\n    \
            except ImportError:\n        \
                value = None\n    \
            else:\n        \
                value = getattr(module, target, None)\n    \
            globals()[name] = value\n    \
            return value\n\n\n\
        def __getattr__(name):\n    \
            if name in __all__:\n        \
                return _load(name)\n    \
            raise AttributeError(name)\n\n\n\
        __all__ = ['Wrapper', 'settings', 'Handle']\n";
    assert_eq!(with(table), CONFIGURED);
    let pairs = "import importlib\n\
        _LAZY = {'Wrapper': ('nixl._api', 'nixl_agent'), 'settings': ('nixl._api', 'nixl_agent_config')}\n\n\n\
        def __getattr__(name):\n    \
            if name not in _LAZY:\n        raise AttributeError(name)\n    \
            module, attribute = _LAZY[name]\n    \
            return getattr(importlib.import_module(module), attribute)\n";
    assert_eq!(with(pairs), CONFIGURED);
    // Each of these gives something else too, or may.
    let not_traced = "comes from the module's `__getattr__` in a way that cannot be traced";
    for (changed, why) in [
        (pairs.replace("'nixl._api', 'nixl_agent')", "choose(), 'nixl_agent')"), not_traced),
        (pairs.replace("    return", "    _LAZY.update(more)\n    return"), not_traced),
        (
            pairs.replace("'nixl._api', 'nixl_agent')", "'fast', 'nixl_agent')"),
            "may be `nixl_agent` of the module `fast`",
        ),
        (table.replace("value = None", "value = Stub"), not_traced),
        (table.replace("globals()[name] = value", "globals()[name] = traced(value)"), not_traced),
    ] {
        let found = with(&changed);
        assert!(
            found.starts_with("unresolved [leave may not be NIXL's agent: `Wrapper` of the module `engine.names` "),
            "{found}"
        );
        assert!(found.contains(why), "{found}\n{changed}");
    }
}

#[test]
fn what_is_not_certain_is_left_alone_with_the_reason() {
    let empty = ("engine/__init__.py", "");
    let worker = "from engine.names import Wrapper\nWrapper('a')\n";
    let reason = |others: &[(&str, &str)]| {
        let found = checked(worker, &[&[empty], others].concat());
        let before = "unresolved [leave may not be NIXL's agent: `Wrapper` of the module `engine.names` ";
        found.strip_prefix(before).unwrap_or_else(|| panic!("{found}")).trim_end_matches(']').to_string()
    };
    let names = |text: &str| reason(&[("engine/names.py", text)]);
    let import = "from nixl._api import nixl_agent as Wrapper\n";
    assert_eq!(
        names(&format!("{import}if FAST:\n    from fast import Wrapper\n")),
        "may be `Wrapper` of the module `fast`"
    );
    assert_eq!(names(&format!("{import}class Wrapper(Wrapper):\n    pass\n")), "may be that module's class `Wrapper`");
    assert_eq!(
        names(&format!("{import}def replace(other):\n    global Wrapper\n    Wrapper = other\n")),
        "may be a parameter, so its value comes from the caller"
    );
    let replacing = ("engine/tests.py", "import engine.names\nengine.names.Wrapper = nixl_agent = object\n");
    let found = reason(&[("engine/names.py", import), replacing]);
    assert!(found.starts_with("may be replaced: `") && found.contains("engine/tests.py`"), "{found}");
    let circle = [
        ("engine/names.py", "from engine.more import Wrapper\nfrom nixl._api import nixl_agent as Wrapper\n"),
        ("engine/more.py", "from engine.names import Wrapper\n"),
    ];
    assert!(reason(&circle).contains("is imported in a circle"), "{}", reason(&circle));
}

#[test]
fn a_module_of_the_same_name_elsewhere_is_not_the_one() {
    let others = [("engine/__init__.py", ""), ("engine/deep/__init__.py", ""), ("engine/deep/names.py", NAMES)];
    let found = checked("from names import Wrapper\nWrapper('a')\n", &others);
    assert!(found.contains("[leave may not be NIXL's agent: `Wrapper` of the module `names` may come from"), "{found}");
    // Another module's name is no alias.
    assert_eq!(checked("from engine.other import Wrapper\nWrapper('a')\n", &others), "not listed");
}

#[test]
fn each_site_that_follows_a_setting_is_reported_and_nothing_changes() {
    let files = [
        ("engine/__init__.py", ""),
        ("engine/names.py", NAMES),
        (
            "engine/worker.py",
            "from engine.names import Settings, Wrapper\n\n\ndef make(options):\n    \
             return Wrapper('a', Settings(backends=options.backends))\n",
        ),
    ];
    let site = site(&files);
    let run = |command: &[&str]| {
        let path = site.path().to_str().unwrap();
        run_json([command, &["--also", "engine", path]].concat())
    };
    let (status, document) = run(&["apply", "--smoke=off"]);
    assert_eq!(status, 0, "{document}");
    let worker = site.path().join("engine/worker.py");
    let expected = "configured [leave chooses its own backends: `backends=options.backends`]";
    assert_eq!(of_file(&document, &worker), expected);
    assert_eq!(fs::read_to_string(&worker).unwrap(), files[2].1);
    let (status, document) = run(&["check"]);
    assert_eq!((status, of_file(&document, &worker)), (0, expected.to_string()));
}

#[test]
fn the_agent_gets_the_backends_and_revert_restores_the_file() {
    let worker = "from engine.names import Settings, Wrapper\n\n\ndef make():\n    \
        return [Wrapper('a'), Wrapper('b', Settings(num_threads=4)), Wrapper('c', Settings() if False else None)]\n";
    let site = site(&[("engine/__init__.py", ""), ("engine/names.py", NAMES), ("engine/worker.py", worker)]);
    let path = site.path().to_str().unwrap();
    let before = snapshot(site.path());
    let also = |command: &[&str]| run_json([command, &["--also", "engine", path]].concat());
    let (status, document) = also(&["apply", "--smoke=off"]);
    assert_eq!(status, 0, "{document}");
    let patched = snapshot(site.path());
    assert_eq!(also(&["apply", "--smoke=off"]).0, 0);
    assert_eq!(snapshot(site.path()), patched, "a second run changes nothing");
    assert_eq!(also(&["check"]).0, 0);
    let stand_in = tempfile::tempdir().unwrap();
    copy_tree(&fixture("nixl_stand_in"), stand_in.path());
    let script = format!(
        "import sys, os; sys.path[:0] = [{path:?}, {:?}]\n\
         import nixl._api as api\n\
         real = api.nixl_agent\n\
         class Recording(real):\n    \
         def __init__(self, name, config):\n        \
         super().__init__(name, config)\n        \
         print(name, config.backends, config.num_threads)\n\
         api.nixl_agent = Recording\n\
         os.environ['NIXL_BACKEND'] = 'LIBFABRIC,UCX'\n\
         import engine.worker\n\
         engine.worker.make()",
        stand_in.path().to_str().unwrap(),
    );
    let printed = python(&["-B", "-c", &script]);
    let expected = ["a ['LIBFABRIC', 'UCX']", "b ['LIBFABRIC', 'UCX'] 4", "c ['LIBFABRIC', 'UCX']"];
    assert!(printed.lines().zip(expected).all(|(line, start)| line.starts_with(start)), "{printed}");
    assert_eq!(printed.lines().count(), 3, "{printed}");
    assert_eq!(run_json(["revert", path]).0, 0);
    assert_eq!(snapshot(site.path()), before);
}

#[test]
fn a_script_is_judged_with_the_modules_beside_it() {
    let site = site(&[]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("names.py"), NAMES).unwrap();
    let script = folder.path().join("connector.py");
    fs::write(&script, "from names import Wrapper\nWrapper('a')\n").unwrap();
    let named = |place: &Path| {
        let arguments = ["check".as_ref(), "--also".as_ref(), place.as_os_str(), site.path().as_os_str()];
        of_file(&run_json(arguments).1, &script)
    };
    assert_eq!(named(&script), BARE);
    assert_eq!(named(folder.path()), BARE);
    // A file is listed whatever it has.
    fs::write(&script, "x = 1\n").unwrap();
    assert_eq!(named(&script), "nothing-to-patch");
    assert_eq!(named(folder.path()), "not listed");
}
