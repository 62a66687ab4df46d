//! What is left out of a module, and that its calls are judged as before.

use std::path::Path;

use super::*;
use crate::choice::rule::Rule;
use crate::python::agent_call::{find, find_in_rest};
use crate::python::patch;
use crate::python::syntax::{parse, parse_rest};
use crate::report::file::Action;

/// What nothing depends on.
const FILLER: &str = "def filler(a, b=1):\n    a.b = [a for c in b]\n    return a\nunused = filler(1)\n";

/// What remains of a text whose calls are judged as before; None where nothing is left out.
fn rest(text: &str) -> Option<String> {
    let Relevant { left_out, kept } = of(text)?;
    let rest = parse_rest(text, &left_out, &kept).expect("the rest parses");
    let whole = find(text, &parse(text).expect("it parses"), None);
    let found = find_in_rest(text, &rest).map(|it| it.expect("all can be told").sites);
    assert_eq!(format!("{found:#?}"), format!("{whole:#?}"), "{text}");
    let mut kept = String::new();
    let mut at = 0;
    for range in left_out {
        kept.push_str(&text[at..range.start]);
        at = range.end;
    }
    Some(kept + &text[at..])
}

#[test]
fn what_calls_depend_on_is_kept() {
    for (case, needed) in [
        ("def f(n):\n    return api.nixl_agent(n)\n", "return api"),
        ("class C:\n    x = 1\n    def f(self): return api.nixl_agent('a')\n", "self"),
        ("api = object()\napi.nixl_agent('a')\n", "object"),
        ("def f(n): return getattr(api, f'{n}')\n", "f'{n}'"),
        ("if x:\n    api = other()\ndef other(): return None\napi.nixl_agent('a')\n", "return None"),
        ("def g():\n    global api\n    api = 1\napi.nixl_agent('a')\n", "global"),
        ("def f(api=None): api.nixl_agent('a')\n", "api=None"),
        ("api.nixl_agent('a')\ndef api(): pass\n", "pass"),
        ("def f():\n    for api in apis: api.nixl_agent('a')\napis = [1, 2]\n", "[1, 2]"),
        ("def f():\n    with apis as api: api.nixl_agent('a')\napis = [3]\n", "[3]"),
        ("f = [api.nixl_agent('a') for api in apis]\napis = [4]\n", "[4]"),
        ("f = lambda api=other: api.nixl_agent('a')\nother = 5\n", "= 5"),
        ("class C:\n    def f(self): self.api.nixl_agent('a')\n    def g(self): self.api = api\n", "= api"),
        ("class C:\n    api = api\n    def f(self): self.api.nixl_agent('a')\n", "api = api"),
        ("class C:\n    def api(self): pass\n    def f(self): self.api.nixl_agent('a')\n", "pass"),
        (
            "class C:\n    @property\n    def api(self): return api\n    def f(self): self.api.nixl_agent('a')\n",
            "return api",
        ),
        ("class C:\n    def f(self): self.__api.nixl_agent('a')\ndef g(c): c._C__api = 6\n", "= 6"),
        ("x = y = api\nz = x\nz.nixl_agent('a')\n", "x = y"),
        ("x: object = api\nx.nixl_agent('a')\n", "x: object"),
        ("x = 0\nx += api\nx.nixl_agent('a')\n", "x += api"),
        ("(x := api); x.nixl_agent('a')\n", "x := api"),
        ("print(x := api)\nx.nixl_agent('a')\n", "x := api"),
        ("[x, *y], z = api\nx.nixl_agent('a')\n", "z = api"),
        ("del api\napi.nixl_agent('a')\n", "del api"),
        ("match 1:\n    case api: pass\napi.nixl_agent('a')\n", "case"),
        ("from nixl._api import (nixl_agent,\n    x)\ndef f(): return f'{nixl_agent(1)}'\n", "return f"),
        ("def f():\n    def g(): api.nixl_agent('a')\n    api = 7\n", "= 7"),
        ("def f():\n    class C:\n        if x: api = 8\n        def f(self): self.api.nixl_agent('a')\n", "= 8"),
        (
            "if x:\n    api = Proxy()\napi.nixl_agent('a')\n\
             class Proxy:\n    def __getattr__(self, n): self.r()\n    def r(self): raise ImportError\n",
            "raise",
        ),
    ] {
        let text = format!("import nixl._api as api\n{FILLER}{case}{FILLER}");
        let kept = rest(&text).unwrap_or_else(|| panic!("nothing is left out of {case}"));
        assert!(kept.contains(needed), "{needed} is left out of {case}\n{kept}");
        assert!(!kept.contains("return a\n") && !kept.contains("unused"), "{kept}");
    }
}

#[test]
fn nothing_is_left_out_where_more_than_the_plainest_calls_may_be() {
    for case in [
        "from nixl._api import nixl_agent as A\nA('a')\n",
        "from nixl._api import nixl_agent\nA = nixl_agent\n",
        "api.nixl_agent('a', None)\n",
        "api.nixl_agent(*a)\n",
        "api.nixl_agent(agent_name='a')\n",
        "api.nixl_agent()\n",
        "x = api.nixl_agent_config()\n",
        "x = api.nixl_agent('a')\nx.create_backend('UCX')\n",
        "f(api.nixl_agent)\n",
        "f()[0].nixl_agent('a')\n",
        "getattr(api, 'nixl_agent')('a')\n",
        "getattr(api, 'nixl' '_agent')('a')\n",
        "getattr(api, 'nixl_agen\\x74')('a')\n",
        "setattr(api, 'x', 1)\n",
        "globals()['api'] = 1\n",
        "def nixl_agent(a): pass\n",
        "class C:\n    nixl_agent = 1\n",
        "x.backends = 1\n",
        "exec(('import os\\n'\n 'nixl_agent(1)'))\n",
        &format!("x = getattr({}a, b)\n", "a + ".repeat(FIRST_ARGUMENT)),
        "x = '\n",
    ] {
        assert_eq!(of(&format!("import nixl._api as api\n{case}{FILLER}")), None, "{case}");
    }
}

/// How many statements of a module are judged by others; the calls are judged as before, and what is rewritten is proved.
fn alike(statements: &str) -> usize {
    let text = format!("import nixl._api as api\n{}{statements}", FILLER.repeat(8));
    rest(&text).unwrap_or_else(|| panic!("nothing is left out of {statements}"));
    let plan = patch::plan(Path::new("m.py"), text.as_bytes(), &Rule::default(), None).expect("it is understood");
    let rewritten = plan.sites.iter().filter(|site| site.action == Action::Rewrite).count();
    let patched = plan.patched.map(|patched| String::from_utf8(patched).expect("it is text")).unwrap_or_default();
    assert_eq!(patched.matches(", api.nixl_agent_config(backends=").count(), rewritten, "{patched}");
    let Relevant { left_out, kept } = of(&text).expect("as before");
    parse_rest(&text, &left_out, &kept).expect("as before").alike.statements().count()
}

#[test]
fn what_differs_in_other_names_alone_is_judged_once() {
    for (statements, count) in [
        ("def f(a):\n    return api.nixl_agent(a)\ndef g(bb): \n    return api.nixl_agent(bb)\n", 0),
        ("def f(a):\n    return api.nixl_agent(a)\ndef gg(bb):\n    return api.nixl_agent(bb)  # b\n", 1),
        ("x = api.nixl_agent('a')\ny = api.nixl_agent('bc');\nzz = api.nixl_agent('')\n", 2),
        ("api.nixl_agent('a')\n\nz = 1\n\napi.nixl_agent('bc')", 1),
        ("def f(a): return api.nixl_agent(a)\ndef g(b): return api.nixl_agent(b)\n", 0),
        ("class C:\n    x = api.nixl_agent('a')\nclass D:\n    y = api.nixl_agent('b')\n", 0),
        ("def f(a):\n    return api.nixl_agent(a)\nclass C:\n    x = 1\ndef g(b):\n    return api.nixl_agent(b)\n", 1),
        (
            "def f(a):\n    def g(b): return b, api.nixl_agent(a)\n    return g\n\
             def ff(aa):\n    def gg(bb): return bb, api.nixl_agent(aa)\n    return gg\n",
            0,
        ),
        (
            "def f(a):\n    def g(b):\n        b.x = a, api.nixl_agent(a)\n    c = g\n\
             def ff(aa):\n    def gg(bb):\n        bb.x = aa, api.nixl_agent(aa)\n    c = gg\n",
            1,
        ),
    ] {
        assert_eq!(alike(statements), count, "{statements}");
    }
}

#[test]
fn what_may_be_judged_otherwise_is_not_judged_by_another() {
    const ONE: &str = "def f(a):\n    return api.nixl_agent(a)\n";
    const OTHER: &str = "def gg(bb):\n    return api.nixl_agent(bb)\n";
    assert_eq!(alike(&format!("{ONE}{OTHER}")), 1);
    for between in [
        "api = other()\n",
        "del api\n",
        "import api\n",
        "if x:\n    api = other()\n",
        "raise SystemExit\n",
        "def h():\n    global api\n    api = other()\n",
        "class api: pass\n",
        "def api(): pass\n",
    ] {
        assert_eq!(alike(&format!("{ONE}{between}{OTHER}{OTHER}")), 1, "{between}");
    }
    for statements in [
        "foo = other()\ndef f(a):\n    return api.nixl_agent(a)\ndef g(b):\n    return foo.nixl_agent(b)\n",
        "def f(a):\n    return a.nixl_agent(a)\ndef g(b):\n    return b.nixl_agent(b)\n",
        "def f(a):\n    return api.nixl_agent(a)\ndef g(api):\n    return api.nixl_agent(api)\n",
        "def f(a):\n    return api.nixl_agent(h(a))\ndef g(b):\n    return api.nixl_agent(getattr(b))\n",
        "def f(a):\n    return h(api.nixl_agent(0xdef ))\ndef g(a):\n    return getattr(api.nixl_agent(0xdef ))\n",
        "def f(a):\n    return api.nixl_agent((a))\ndef g(b):\n    return api.nixl_agent((b))\n",
        "def f(a):\n    return getattr(api, a)\ndef g(b):\n    return getattr(api, b)\n",
    ] {
        assert_eq!(alike(statements), 0, "{statements}");
    }
}

#[test]
fn what_is_joined_is_on_the_modules_own_level() {
    for block in ["class C(B):\n    unused = 1\n", "class C(B):\n    \\\nunused = 1\n"] {
        let text = |end: &str| {
            format!("import nixl._api as api\n{FILLER}x = api.nixl_agent('a')\n{block}y = api.nixl_agent('b')\n{end}")
        };
        let rest = |text: &str| of(text).and_then(|it| parse_rest(text, &it.left_out, &it.kept));
        assert!(parse(&text("")).is_ok() && rest(&text("")).is_some(), "{block}");
        let text = text("    z = 1\n");
        assert!(parse(&text).is_err() && rest(&text).is_none(), "{text}");
    }
}

#[test]
fn a_module_without_nixl_needs_its_imports_and_headers_alone() {
    let kept = rest(&format!("'''Text.'''\nimport os\nif x:\n    y = 1\n{FILLER}")).unwrap_or_default();
    assert_eq!(kept, "'''Text.'''\nimport os\nif x:\n    \n\n");
}

#[test]
fn a_class_is_left_out_with_all_that_is_in_it() {
    const METHOD: &str = "    def f(self, a=1):\n        return a\n";
    let left_out = |class: &str| {
        let text = format!("import nixl._api as api\n{FILLER}{class}{FILLER}x = api.nixl_agent('a')\n{class}");
        let kept = rest(&text).unwrap_or_else(|| panic!("nothing is left out of {class}"));
        assert!(kept.contains("nixl_agent('a')") && !kept.contains("filler"), "{kept}");
        !kept.contains("class")
    };
    for class in [
        format!("class C:\n    \"\"\"Text (with more).\"\"\"\n    x = y\n{METHOD}"),
        format!("class C :  # (\n    @decorator\n{METHOD}\n{METHOD}"),
        "class größe:\n\tx = 1; y = 2\n".to_string(),
    ] {
        assert!(left_out(&class), "{class}");
    }
    for class in [
        format!("class C(B):\n{METHOD}"),
        format!("class C():\n{METHOD}"),
        format!("class C(metaclass=M):\n{METHOD}"),
        format!("class C[T]:\n{METHOD}"),
        format!("@decorator\nclass C:\n{METHOD}"),
        format!("class C:\n    if x:\n        y = 1\n{METHOD}"),
        format!("class C:\n    class D:\n        y = 1\n{METHOD}"),
        format!("class C:\n    import z\n{METHOD}"),
        format!("class C:\n    def g(self): self.x = api.nixl_agent('a')\n{METHOD}"),
        format!("class api:\n{METHOD}"),
        format!("if x:\n    class C:\n{}", METHOD.replace("    ", "        ")),
        "class C: x = 1\n".to_string(),
    ] {
        assert!(!left_out(&class), "{class}");
    }
}

#[test]
fn a_class_that_python_refuses_is_not_left_out() {
    for class in [
        "class C:\n    x = 1\n        y = 2\n",
        "class C:\n        x = 1\n    y = 2\n",
        "class C:\n    def f(self):\n    return 1\n",
        "class C:\nx = 1\n",
        "class C:\n    x = 1\nelse:\n    y = 2\n",
        "class 1:\n    x = 1\n",
        "class None:\n    x = 1\n",
        "class C D:\n    x = 1\n",
        "class C.D:\n    x = 1\n",
        "class:\n    x = 1\n",
        "class if y:\n    x = 1\n",
        "class = y:\n    x = 1\n",
        "class C, :\n    x = 1\n",
    ] {
        let text = format!("import nixl._api as api\n{FILLER}{class}{FILLER}x = api.nixl_agent('a')\n");
        assert!(parse(&text).is_err(), "{class}");
        let partial = of(&text).and_then(|it| parse_rest(&text, &it.left_out, &it.kept));
        assert!(partial.is_none(), "{class}");
    }
}

#[test]
fn a_long_module_is_read_in_two_parts() {
    let filler = FILLER.replace("def ", "\n\ndef ").repeat(400);
    let text = format!(
        "import nixl._api as api\n{filler}x = api\n{filler}\n\ndef f():\n    x.nixl_agent('a')\n{filler}\n\ndef g(): x = 1\n"
    );
    let kept = rest(&text).unwrap_or_default();
    assert!(kept.contains("x = api") && kept.contains("nixl_agent('a')"), "{kept}");
    assert!(!kept.contains("filler") && !kept.contains("def g"), "{kept}");
}

#[test]
fn the_names_that_matter_are_told_from_others() {
    for name in [AGENT, GETATTR, MODULE_GETATTR].iter().chain(&OTHER_WAYS).chain(&reference::RUN_TEXT) {
        assert!(may_matter(name), "{name}");
    }
    for name in ["", "self", "nixl", "get", &"n".repeat(42), "ä"] {
        assert!(!may_matter(name), "{name}");
    }
}
