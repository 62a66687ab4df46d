//! What a module's `__getattr__` gives.

use super::*;
use crate::python::meaning::{Alias, NixlClass};
use crate::python::syntax::parse;

/// Relative imports are of the package `p`; nothing else is known.
struct Package;

impl Imports for Package {
    fn absolute(&self, _level: u32, module: &str) -> String {
        format!("p.{module}")
    }

    fn alias(&self, _module: &str, _name: &str) -> Option<Alias> {
        None
    }

    fn all(&self, _module: &str) -> Vec<(String, NixlClass)> {
        Vec::new()
    }
}

/// What it gives for the name `X`, in words.
fn given(module: &str) -> String {
    let tree = parse(module).expect("it parses");
    let Some(values) = values(module, &tree, "X", &Package) else { return "no function".into() };
    let words = values.list().iter().map(|value| match value {
        Value::None => "None".to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Module(module) => format!("module {module}"),
        Value::Member(module, name) => format!("{module}:{name}"),
        Value::Items(_) | Value::Table(_) => "container".into(),
        Value::Unknown => "?".into(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What it gives where its body is this, with `importlib` imported and a few names bound.
fn of_body(body: &str) -> String {
    let head = "import importlib\nimport a.b\nfrom .m import y\nT = {'X': ('m', 'k'), 'Y': ('m', 'l')}\nL = ['X']\n\
                def pick(flag, other='o'):\n    return 'm' if flag else other\n";
    given(&format!("{head}def __getattr__(name):\n    {}\n", body.replace('\n', "\n    ")))
}

#[test]
fn only_what_is_certain_is_known() {
    for (body, expected) in [
        ("return None", "None"),
        ("raise AttributeError(name)", ""),
        ("pass", "None"),
        ("return name", "\"X\""),
        ("if name == 'X':\n    return 'x'\nreturn 'y'", "\"x\""),
        ("if name != 'X':\n    return 'x'\nreturn 'y'", "\"y\""),
        ("if name in L:\n    return 'x'", "\"x\""),
        ("if name in ('A', 'B'):\n    return 'x'", "None"),
        ("if name not in T:\n    raise AttributeError\nreturn T[name][1]", "\"k\""),
        ("if not (name == 'X' or f()):\n    return 1\nreturn 'x'", "\"x\""),
        ("if f():\n    return 'x'\nreturn 'y'", "\"x\" \"y\""),
        ("module, attribute = T[name]\nreturn getattr(importlib.import_module(module), attribute)", "m:k"),
        ("return importlib.import_module('.m', __name__).k", "p.m:k"),
        ("return importlib.import_module(f'{pick(f())}.n')", "module m.n module o.n"),
        ("return importlib.import_module(pick(True, other='p') + '.n')", "module m.n module p.n"),
        ("return f'a{name}b{pick(f())}'", "\"aXbm\" \"aXbo\""),
        ("return f\"{name}\"", "\"X\""),
        ("return f'{name!r}'", "?"),
        ("return f'{name:>9}'", "?"),
        ("return f'{{{name}'", "?"),
        ("return f'\\n{name}'", "?"),
        ("return 'a' f'{name}'", "?"),
        ("return f'{name}' 'a'", "?"),
        ("return f'''{name}'''", "?"),
        ("return f'a'", "\"a\""),
        ("return {name}", "container"),
        ("return T.get(name, 'd')", "container"),
        ("return {'A': 1}.get(name)", "None"),
        ("return {'A': 1}[name]", ""),
        ("from n import k as z\nreturn z", "n:k"),
        ("from .n import k\nreturn k", "p.n:k"),
        ("import n.o as q\nreturn q.k", "n.o:k"),
        ("return a.b.c", "a.b:c"),
        ("return y", "p.m:y"),
        ("try:\n    import n\nexcept ImportError:\n    v = None\nelse:\n    v = n.k\nreturn v", "n:k None"),
        ("v = 'x'\nwith f() as v:\n    pass\nreturn v", "?"),
        ("globals()[name] = 'x'\nreturn 'y'", "\"y\" \"x\""),
        ("globals()['Z'] = 'x'\nreturn 'y'", "\"y\""),
        ("v = name\nif v is None:\n    return 'x'\nreturn 'y'", "\"y\""),
        ("return unknown", "?"),
        ("return f(name)", "?"),
        ("return T[f()]", "?"),
        ("return getattr(f(), 'k')", "?"),
        ("for v in L:\n    return 'x'\nreturn 'y'", "?"),
        ("T['X'] = 1\nreturn T[name][0]", "?"),
        ("T.update(more)\nreturn T[name][0]", "?"),
        ("global L\nL = f()\nreturn 'x' if name in L else 'y'", "\"x\" \"y\""),
        ("return __getattr__(name)", "?"),
    ] {
        assert_eq!(of_body(body), expected, "{body}");
    }
}

#[test]
fn the_function_has_to_be_the_only_one() {
    assert_eq!(given("x = 1\n"), "no function");
    assert_eq!(given("import f\n@f.cache\ndef __getattr__(name):\n    return 'x'\n"), "\"x\"");
    assert_eq!(given("import f\n@f.other\ndef __getattr__(name):\n    return 'x'\n"), "?");
    assert_eq!(given("def __getattr__(name):\n    return 'x'\ndef __getattr__(name):\n    return 'y'\n"), "?");
    assert_eq!(given("if a:\n    def __getattr__(name):\n        return 'x'\n"), "?");
    let deep = format!("def __getattr__(name):\n    return {}'x'{}\n", "(".repeat(80), ")".repeat(80));
    assert_eq!(given(&deep), "\"x\"");
    let many: String = (0..40).map(|number| format!("    if f():\n        return '{number}'\n")).collect();
    assert!(given(&format!("def __getattr__(name):\n{many}")).starts_with('?'));
}
