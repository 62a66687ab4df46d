//! Sources and how their calls are judged.

use super::*;
use crate::python::syntax::{parse, parse_rest};
use crate::report::file::SiteShape;

/// Each call's line and shape, in short.
fn shapes(text: &str) -> Vec<String> {
    let module = parse(text).expect("the test's source parses");
    let sites = find(text, &module, None).expect("not too deep");
    if let Some(rest) = relevant::of(text).and_then(|it| parse_rest(text, &it.left_out, &it.kept)) {
        let found = find_in_rest(text, &rest).expect("not too deep").expect("all can be told").sites;
        assert_eq!(format!("{found:?}"), format!("{sites:?}"), "{text}");
    }
    sites.iter().map(short).collect()
}

fn short(site: &Site) -> String {
    let shape = match &site.shape {
        Shape::Bare => "bare".into(),
        Shape::ConfigurationWithoutBackends => "config".into(),
        Shape::Configured(_) => "configured".into(),
        Shape::EnvironmentAware(read, _) => format!("env {}", read.variable.as_deref().unwrap_or("?")),
        Shape::Unresolved(..) => "unclear".into(),
    };
    format!("{}:{shape}", site.line)
}

fn one(text: &str) -> String {
    let shapes = shapes(text);
    assert_eq!(shapes.len(), 1, "{shapes:?} in\n{text}");
    shapes[0].split_once(':').map(|(_, shape)| shape.to_string()).unwrap_or_default()
}

#[test]
fn the_agent_is_found_whatever_it_is_called() {
    for text in [
        "import nixl._api as nixl_api\nnixl_api.nixl_agent('a')",
        "import nixl._api\nnixl._api.nixl_agent('a')",
        "import nixl\nnixl.nixl_agent('a')",
        "from nixl import _api\n_api.nixl_agent('a')",
        "from nixl import _api as api\napi.nixl_agent('a')",
        "from nixl._api import nixl_agent\nnixl_agent('a')",
        "from nixl._api import nixl_agent as X\nX('a')",
        "from nixl_cu12._api import nixl_agent\nnixl_agent('a')",
        "import nixl_cu13._api as n\nn.nixl_agent('a')",
        "from nixl._api import *\nnixl_agent('a')",
        "from nixl._api import nixl_agent\nAgent = nixl_agent\nAgent('a')",
        "import importlib\napi = importlib.import_module('nixl._api')\napi.nixl_agent('a')",
        "class Proxy:\n    def __init__(self, e): self.e = e\n    def fail(self): raise self.e\n    def __getattr__(self, name): self.fail()\ntry:\n    import nixl._api as api\nexcept ImportError as e:\n    api = Proxy(e)\napi.nixl_agent('a')",
        "try:\n    from nixl_cu13._api import nixl_agent\nexcept ImportError:\n    from nixl_cu12._api import nixl_agent\nnixl_agent('a')",
        "try:\n    from nixl._api import nixl_agent\nexcept ImportError:\n    nixl_agent = None\ndef f():\n    return nixl_agent('a')",
        "def f():\n    from nixl._api import nixl_agent\n    return nixl_agent('a')",
        "def f():\n    global api\n    import nixl._api as api\ndef g():\n    return api.nixl_agent('a')",
        "def lazy():\n    from nixl._api import nixl_agent, nixl_agent_config\n    return nixl_agent, nixl_agent_config\ndef f():\n    agent, config = lazy()\n    return agent('a')",
        "class C:\n    def __init__(self):\n        import nixl._api as api\n        self.api = api\n    def f(self):\n        return self.api.nixl_agent('a')",
        "if TYPE_CHECKING:\n    from x import y\nelse:\n    import nixl._api as api\napi.nixl_agent('a')",
        "from typing import Any, cast\nfrom nixl._api import nixl_agent\nA = cast(Any, nixl_agent)\nA('a')",
        "import typing as t\nimport nixl._api\nt.cast('Any', nixl._api).nixl_agent('a')",
    ] {
        assert_eq!(one(text), "bare", "{text}");
    }
}

#[test]
fn what_is_not_nixls_is_no_site() {
    for text in [
        "def nixl_agent(x): pass\nnixl_agent('a')",
        "class nixl_agent: pass\nnixl_agent('a')",
        "from nixl._api import nixl_agent\ndef nixl_agent(x): pass\nnixl_agent('a')",
        "from nixl._api import nixl_agent\nnixl_agent = print\nnixl_agent('a')",
        "import nixl._api as api\n'api.nixl_agent(x)'",
        "import nixl._api as api\n# api.nixl_agent(x)",
        "import nixl._api as api\ndef f():\n    \"\"\"api.nixl_agent(x)\"\"\"",
        "import nixl._api as api\napi.nixl_agent_config()",
        "import nixl._api as api\nx: api.nixl_agent = None",
        "from nixl._api import nixl_agent\ndef f(nixl_agent=print):\n    pass",
    ] {
        assert_eq!(shapes(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn scopes_are_pythons() {
    let parameter = "from nixl._api import nixl_agent\ndef f(nixl_agent):\n    return nixl_agent('a')";
    assert_eq!(one(parameter), "unclear");
    let class_name = "class C:\n    from nixl._api import nixl_agent\n    def f(self):\n        return nixl_agent('a')";
    assert_eq!(shapes(class_name).len(), 0, "a class's names are not seen in its functions");
    let in_class = "class C:\n    from nixl._api import nixl_agent\n    a = nixl_agent('a')";
    assert_eq!(one(in_class), "bare");
    let later = "def f():\n    return nixl_agent('a')\nfrom nixl._api import nixl_agent";
    assert_eq!(one(later), "bare", "the function runs when the module is complete");
    let other_branch = "if x:\n    from nixl._api import nixl_agent\n    nixl_agent('a')\nelse:\n    nixl_agent = print\n    nixl_agent('b')";
    assert_eq!(shapes(other_branch), ["3:bare"]);
}

#[test]
fn calls_come_in_any_shape() {
    let import = "from nixl._api import nixl_agent, nixl_agent_config\n";
    for (text, expected) in [
        ("nixl_agent(agent_name='a')", "bare"),
        ("nixl_agent('a',)", "bare"),
        ("nixl_agent('a', None)", "bare"),
        ("nixl_agent('a', nixl_conf=None)", "bare"),
        ("nixl_agent(\n  'a'  # the name, (\n  ,  # more\n)", "bare"),
        ("f = lambda n: nixl_agent(n)", "bare"),
        ("def f(a=nixl_agent('a')): pass", "bare"),
        ("x = nixl_agent('a') if y else None", "bare"),
        ("x = [nixl_agent(n) for n in names]", "bare"),
        ("x = {n: nixl_agent(n) for n in names}", "bare"),
        ("x = list(nixl_agent(n) for n in names)", "bare"),
        ("x = f'{nixl_agent(n)}'", "bare"),
        ("nixl_agent(*args)", "unclear"),
        ("nixl_agent('a', **options)", "unclear"),
        ("nixl_agent('a', instantiate_all=True)", "configured"),
        ("nixl_agent('a', instantiate_all=False)", "bare"),
        ("nixl_agent('a', instantiate_all=x)", "unclear"),
        ("nixl_agent('a', nixl_agent_config())", "config"),
        ("nixl_agent('a', nixl_agent_config(num_threads=8, capture_telemetry=True))", "config"),
        ("nixl_agent('a', nixl_agent_config(True, False, 0, ['UCX']))", "unclear"),
        ("nixl_agent('a', nixl_agent_config(**options))", "unclear"),
        ("nixl_agent('a', nixl_agent_config(backends=['UCX']))", "configured"),
        ("nixl_agent('a', nixl_agent_config(backends=[]))", "configured"),
        ("nixl_agent('a', make())", "unclear"),
        ("def f(config=None):\n    return nixl_agent('a', config)", "unclear"),
        ("c = nixl_agent_config(num_threads=2)\nnixl_agent('a', c)", "config"),
        ("c = nixl_agent_config(num_threads=2) if x else None\nnixl_agent('a', c)", "config"),
        ("c = nixl_agent_config()\nc.backends = ['OBJ']\nnixl_agent('a', c)", "configured"),
        ("c = nixl_agent_config(backends=b)\ndef f():\n    return nixl_agent('a', c)", "configured"),
        ("def make():\n    return nixl_agent_config(num_threads=2)\nnixl_agent('a', make())", "config"),
    ] {
        assert_eq!(one(&format!("{import}{text}")), expected, "{text}");
    }
}

#[test]
fn patches_made_by_hand_are_known() {
    let inside = [
        "b = os.environ.get('NIXL_BACKEND', 'UCX')\n    c = api.nixl_agent_config(backends=[b])\n    return api.nixl_agent(n, c)",
        "return api.nixl_agent(n, api.nixl_agent_config(backends=[os.getenv('NIXL_BACKEND')]))",
        "return api.nixl_agent(n, api.nixl_agent_config(backends=os.environ['NIXL_BACKEND'].split(',')))",
        "import os as o\n    x = o.environ.get('NIXL_BACKEND', 'UCX')\n    y = [x] if x != 'UCX' else ['UCX']\n    c = api.nixl_agent_config(backends=y)\n    return api.nixl_agent(n, c)",
        "x = os.environ.get('NIXL_BACKEND', 'UCX')\n    if x not in ('UCX', 'LIBFABRIC'):\n        x = 'UCX'\n    bs = [x]\n    c = api.nixl_agent_config(backends=bs)\n    return api.nixl_agent(n, c)",
        "if os.environ.get('NIXL_BACKEND') == 'LIBFABRIC':\n        bs = ['LIBFABRIC']\n    else:\n        bs = ['UCX']\n    return api.nixl_agent(n, api.nixl_agent_config(backends=bs))",
        "x = os.environ.get('NIXL_BACKEND')\n    if x:\n        c = api.nixl_agent_config(backends=[x])\n    else:\n        c = None\n    return api.nixl_agent(n, c)",
        "bs = [b.strip() for b in os.environ.get('NIXL_BACKEND', 'UCX').split(',')]\n    return api.nixl_agent(n, api.nixl_agent_config(backends=bs))",
        "return api.nixl_agent(n, api.nixl_agent_config(backends=chosen()))",
        "return api.nixl_agent(n, CONFIG)",
        "return api.nixl_agent(n, api.nixl_agent_config(backends=[os.environ.get(NAME)]))",
        "bs = []\n    for b in os.environ.get('NIXL_BACKEND', 'UCX').split(','):\n        bs.append(b.strip())\n    return api.nixl_agent(n, api.nixl_agent_config(backends=bs))",
        "bs, rest = [], set()\n    if os.environ.get('NIXL_BACKEND') == 'LIBFABRIC':\n        bs.append('LIBFABRIC')\n    return api.nixl_agent(n, api.nixl_agent_config(backends=bs or ['UCX']))",
        "c = api.nixl_agent_config()\n    c.backends = [os.environ['NIXL_BACKEND']]\n    return api.nixl_agent(n, c)",
        "return api.nixl_agent(n, api.nixl_agent_config(backends=['LIBFABRIC' if 'NIXL_BACKEND' in os.environ else 'UCX']))",
    ];
    for body in inside {
        let text = format!(
            "import os\nimport nixl._api as api\nNAME = 'NIXL_BACKEND'\nCONFIG = api.nixl_agent_config(backends=[os.environ.get(NAME)])\n\
             def chosen():\n    value = os.environ.get('NIXL_BACKEND')\n    return [value or 'UCX']\ndef f(n):\n    {body}\n"
        );
        assert_eq!(one(&text), "env NIXL_BACKEND", "{body}");
    }
    let from_import = "from os import environ as e\nimport nixl._api as api\napi.nixl_agent('a', api.nixl_agent_config(backends=[e['X_BACKEND']]))";
    assert_eq!(one(from_import), "env X_BACKEND");
    let attribute = "import os\nimport nixl._api as api\nclass C:\n    def __init__(self):\n        self.b = [os.environ['MX']]\n    def f(self):\n        return api.nixl_agent('a', api.nixl_agent_config(backends=self.b))";
    assert_eq!(one(attribute), "env MX");
    let not_os = "import myos as os\nimport nixl._api as api\napi.nixl_agent('a', api.nixl_agent_config(backends=[os.environ['X']]))";
    assert_eq!(one(not_os), "configured");
    let other_variable = "import os\nimport nixl._api as api\ndef f():\n    if os.environ.get('DEBUG'):\n        print()\n    return api.nixl_agent('a')";
    assert_eq!(one(other_variable), "bare");
}

#[test]
fn names_that_go_round_in_circles_end() {
    assert_eq!(one("import nixl._api as api\na = b\nb = a\napi.nixl_agent('x', a)"), "unclear");
    assert_eq!(shapes("nixl_agent = nixl_agent\nnixl_agent('x')").len(), 0);
}

/// A site's kind and reason.
fn unresolved(text: &str) -> (SiteShape, String) {
    let module = parse(text).expect("the test's source parses");
    let sites = find(text, &module, None).expect("not too deep");
    match sites.as_slice() {
        [Site { shape: Shape::Unresolved(kind, reason), edits, .. }] if edits.is_empty() => (*kind, reason.clone()),
        other => panic!("{other:?} in\n{text}"),
    }
}

#[test]
fn what_may_lead_to_an_agent_is_named() {
    let import = "from nixl._api import nixl_agent\n";
    for (text, kind) in [
        ("import functools\nmake = functools.partial(nixl_agent, 'x')\nmake()", SiteShape::Partial),
        ("class Mine(nixl_agent): pass\nMine('x')", SiteShape::Subclass),
        ("class C:\n    kind = nixl_agent", SiteShape::ClassAttribute),
        ("kinds = {'nixl': nixl_agent}\nkinds['nixl']('x')", SiteShape::Collection),
        ("register(nixl_agent)", SiteShape::PassedOn),
        ("def give():\n    return nixl_agent", SiteShape::Returned),
        ("def give():\n    yield nixl_agent", SiteShape::Returned),
        ("T = type('T', (nixl_agent,), {})\nT('x')", SiteShape::Subclass),
        ("[nixl_agent, other][0]('x')", SiteShape::Collection),
        ("kinds = {'a': nixl_agent} | more\nkinds['a']('x')", SiteShape::Collection),
        ("kinds = more + (nixl_agent,)", SiteShape::Collection),
        ("match nixl_agent:\n    case type() as make:\n        make('x')", SiteShape::Unclear),
        ("match (x, nixl_agent):\n    case (_, make):\n        make('x')", SiteShape::Collection),
        (
            "import nixl._api as api\nmatch api:\n    case object(nixl_agent=make):\n        make('x')",
            SiteShape::Unclear,
        ),
        (
            "import nixl._api as api\nmatch api:\n    case object(nixl_agent=type() as make):\n        make('x')",
            SiteShape::Unclear,
        ),
        ("from typing import Any, cast\ndef give():\n    return cast(Any, nixl_agent)", SiteShape::Returned),
        ("import nixl._api as api\nx = getattr(api, 'nixl_' + kind)\nx('x')", SiteShape::Getattr),
        ("import nixl._api as api\ndef f(kind):\n    return getattr(api, kind, None)('x')", SiteShape::Getattr),
        ("import nixl\ngetattr(nixl._api, f'nixl_{kind}')('x')", SiteShape::Getattr),
        ("from .compat import cast\ncast(kind, nixl_agent)('x')", SiteShape::Unclear),
        ("import nixl._api as api\nx = getattr((api), kind)", SiteShape::Getattr),
        ("exec('nixl_\\x61gent(1)')", SiteShape::DynamicImport),
        ("exec('nixl_agent(1)')", SiteShape::DynamicImport),
        ("a = eval('api.nixl_agent(1)', {'api': api})", SiteShape::DynamicImport),
        ("x = [nixl_agent]", SiteShape::Collection),
        ("x = [k for k in kinds if k or nixl_agent]\ny = {k: nixl_agent for k in x}", SiteShape::Collection),
        ("def f(kind=nixl_agent): pass", SiteShape::DefaultArgument),
        ("import nixl._api as api\nx = getattr(api, 'nixl_agent')", SiteShape::Getattr),
        ("import pydoc\nx = pydoc.locate('nixl._api.nixl_agent')", SiteShape::DynamicImport),
        ("import importlib\nimportlib.import_module(name).nixl_agent('x')", SiteShape::Attribute),
        ("globals()['nixl_agent']('x')", SiteShape::Collection),
        ("from elsewhere import nixl_agent as other\nimport elsewhere\nelsewhere.nixl_agent('x')", SiteShape::Unclear),
        ("with opened() as api:\n    api.nixl_agent('x')", SiteShape::Attribute),
        ("for nixl_agent in kinds():\n    nixl_agent('x')", SiteShape::LoopVariable),
        (
            "from elsewhere import Wrapper\nfrom nixl._api import nixl_agent_config\nWrapper('x', nixl_agent_config())",
            SiteShape::PassedOn,
        ),
        ("api = anything()\nNixlAgent = api.nixl_agent\nNixlAgent('x')", SiteShape::Attribute),
        ("from elsewhere import nixl_agent as NixlAgent\nNixlAgent('x')", SiteShape::Unclear),
        ("nixl_agent()", SiteShape::Unclear),
        ("nixl_agent('x', None, False, 1)", SiteShape::Unclear),
    ] {
        let text = format!("{import}{text}\n");
        assert_eq!(unresolved(&text).0, kind, "{text}");
        shapes(&text);
    }
}

#[test]
fn a_look_at_the_class_creates_nothing() {
    let import = "from typing import TypeVar, cast\nfrom nixl._api import nixl_agent\n";
    for text in [
        "isinstance(x, nixl_agent)",
        "def f(a: nixl_agent) -> nixl_agent: pass",
        "if nixl_agent is None: pass",
        "a = cast(nixl_agent, x)",
        "T = TypeVar('T', bound=str)",
        "print(nixl_agent)",
        "print(type(nixl_agent))",
        "x: Callable[[nixl_agent], None] = None",
        "x in (nixl_agent, other)",
        "match x:\n    case nixl_agent():\n        pass",
        "match nixl_agent:\n    case api.nixl_agent:\n        pass",
        "match x:\n    case object(other=y):\n        y('x')",
        "getattr(self, name)",
        "import os\ngetattr(os, name)",
        "eval('other(1)')",
        "eval('nixl_agent_config()')",
        "import re\nre.compile('nixl_agent(1)')",
        "import nixl\nname = 'version'\ngetattr(nixl, name)",
        "assert nixl_agent",
        "x: dict[str, nixl_agent] = {}",
        "hasattr(x, 'nixl_agent')",
        "import logging\nlogging.info('nixl_agent')",
        "x = nixl_agent",
        "__all__ = ['nixl_agent']",
        "a = x.nixl_agent\na.register()",
        "getattr(self, 'nixl_agent', None)",
        "del nixl_agent",
    ] {
        let text = format!("{import}{text}\n");
        assert_eq!(shapes(&text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_stand_in_leaves_the_call_alone_unless_it_raises() {
    let left = [
        "class Fake:\n    def __init__(self, name): pass\ncls = Fake if x else nixl_agent\ncls('a')",
        "try:\n    from nixl._api import nixl_agent as A\nexcept ImportError:\n    class A: pass\nA('a')",
        "try:\n    from nixl._api import nixl_agent as A\nexcept ImportError:\n    def A(name): return None\nA('a')",
        "try:\n    import nixl._api as api\nexcept ImportError:\n    from unittest.mock import MagicMock\n    api = MagicMock()\napi.nixl_agent('a')",
        "try:\n    import nixl._api as api\nexcept ImportError:\n    import fake as api\napi.nixl_agent('a')",
        "def f(cls=nixl_agent):\n    return cls('a')",
        "def f(nixl_agent):\n    return nixl_agent('a')",
        "import os\nA = Other if os.environ else nixl_agent\nA('a')",
        "A = nixl_agent\ndef swap():\n    global A\n    A = print\nA('a')",
        "A = nixl_agent\nfor i in x:\n    A('a')\n    A = print",
        "try:\n    A = nixl_agent\n    A = print\nexcept Exception:\n    A('a')",
        "class C:\n    kind = nixl_agent\n    def f(self): return self.kind('a')",
        "import types\nns = types.SimpleNamespace()\nns.kind = nixl_agent\nns.kind('a')",
        "from fakes import *\nnixl_agent('a')",
        "import nixl._api as api\napi.nixl_agent = Fake\napi.nixl_agent('a')",
        "import nixl._api as api\nsetattr(api, 'nixl_agent', Fake)\napi.nixl_agent('a')",
        "def f(): globals()['nixl_agent'] = print\nnixl_agent('a')",
        "class C:\n    def __init__(self): self.make = nixl_agent\n    def f(self): self.make('a')\nc = C()\nc.make = print",
        "def other(): pass\nmatch x:\n    case 1: A = nixl_agent\n    case _: A = other\nA('a')",
    ];
    for text in left {
        let text = format!("from nixl._api import nixl_agent\n{text}\n");
        let module = parse(&text).unwrap();
        let sites = find(&text, &module, None).unwrap();
        assert!(!sites.is_empty() && sites.iter().all(|site| site.edits.is_empty()), "{sites:?}\n{text}");
        assert!(sites.iter().any(|site| matches!(site.shape, Shape::Unresolved(..))), "{sites:?}\n{text}");
    }
    let raising = [
        "try:\n    from nixl._api import nixl_agent as A\nexcept ImportError:\n    class A:\n        def __init__(self, *a): raise ImportError\nA('a')",
        "try:\n    from nixl._api import nixl_agent as A\nexcept ImportError:\n    def A(name):\n        raise ImportError('no NIXL')\nA('a')",
        "try:\n    from nixl._api import nixl_agent as A\nexcept ImportError:\n    raise\nA('a')",
        "A = None\nif x:\n    from nixl._api import nixl_agent as A\ndef f():\n    return A('a')",
    ];
    for text in raising {
        assert_eq!(one(&format!("{text}\n")), "bare", "{text}");
    }
}

/// How the class is reached from the only call.
fn class(text: &str) -> String {
    let module = parse(text).expect("the test's source parses");
    let sites = find(text, &module, None).expect("not too deep");
    match sites.iter().flat_map(|site| &site.edits).next() {
        Some(CallEdit::AddConfiguration { class: ConfigurationClass::Expression(expression), .. }) => {
            expression.clone()
        }
        Some(CallEdit::AddConfiguration { class: ConfigurationClass::ImportedFrom(modules), .. }) => modules.join("|"),
        other => panic!("{other:?} in {text}"),
    }
}

#[test]
fn a_name_is_used_only_where_it_is_bound_on_every_way_to_the_call() {
    let import = "from nixl._api import nixl_agent\n";
    for (text, expected) in [
        ("from nixl._api import nixl_agent_config\nnixl_agent('a')", "nixl_agent_config"),
        ("from nixl._api import nixl_agent_config as C\ndef f():\n    nixl_agent('a')", "C"),
        ("if TYPE_CHECKING:\n    from nixl._api import nixl_agent_config\nnixl_agent('a')", "nixl._api"),
        ("for i in x:\n    from nixl._api import nixl_agent_config\nnixl_agent('a')", "nixl._api"),
        ("def g():\n    from nixl._api import nixl_agent_config\nnixl_agent('a')", "nixl._api"),
        ("def f():\n    nixl_agent('a')\n    from nixl._api import nixl_agent_config", "nixl._api"),
        ("def f():\n    nixl_agent('a')\nfrom nixl._api import nixl_agent_config", "nixl._api"),
        ("from nixl._api import nixl_agent_config\ndel nixl_agent_config\nnixl_agent('a')", "nixl._api"),
        ("from nixl._api import nixl_agent_config\ndef f(): nixl_agent('a')\ndel nixl_agent_config", "nixl._api"),
        ("from nixl._api import nixl_agent_config\nnixl_agent_config = 1\nnixl_agent('a')", "nixl._api"),
        ("from nixl._api import nixl_agent_config\ndef f(nixl_agent_config): nixl_agent('a')", "nixl._api"),
        ("class C:\n    from nixl._api import nixl_agent_config\n    def f(self): nixl_agent('a')", "nixl._api"),
        ("from nixl._api import nixl_agent_config as __c\nclass C:\n    def f(self): nixl_agent('a')", "nixl._api"),
        ("with suppress(ImportError):\n    from nixl._api import nixl_agent_config\nnixl_agent('a')", "nixl._api"),
        ("try:\n    from nixl._api import nixl_agent_config\nfinally:\n    nixl_agent('a')", "nixl._api"),
        (
            "try:\n    from nixl._api import nixl_agent_config\nexcept ImportError:\n    nixl_agent_config = None\nnixl_agent('a')",
            "nixl._api",
        ),
        (
            "try:\n    from nixl._api import nixl_agent_config\nexcept ImportError:\n    raise\nnixl_agent('a')",
            "nixl_agent_config",
        ),
        ("class C:\n    def f(self):\n        self.nixl_agent = nixl_agent\n        self.nixl_agent('a')", "nixl._api"),
        (
            "import nixl._api as api\nclass C:\n    def f(self):\n        self.api = api\n        self.api.nixl_agent('a')",
            "self.api.nixl_agent_config",
        ),
        ("while x():\n    from nixl._api import nixl_agent_config\n    nixl_agent('a')", "nixl_agent_config"),
        (
            "from nixl._api import nixl_agent_config\nfrom other import *\nnixl_cu12 = 1\nimport nixl._api as n\nn.nixl_agent('a')",
            "n.nixl_agent_config",
        ),
    ] {
        let text = format!("{import}{text}\n");
        assert_eq!(class(&text), expected, "{text}");
    }
    let both = "try:\n    from nixl_cu13._api import nixl_agent, nixl_agent_config\nexcept ImportError:\n    nixl_agent = nixl_agent_config = None\n";
    assert_eq!(class(&format!("{both}def f(): return nixl_agent('a')\n")), "nixl_agent_config");
    let one = "try:\n    from nixl_cu13._api import nixl_agent, nixl_agent_config\nexcept ImportError:\n    nixl_agent = None\n";
    assert_eq!(class(&format!("{one}def f(): return nixl_agent('a')\n")), "nixl_cu13._api");
    let apart = "try:\n    from nixl._api import nixl_agent\nexcept ImportError:\n    nixl_agent = None\ntry:\n    from nixl._api import nixl_agent_config\nexcept ImportError:\n    nixl_agent_config = None\n";
    assert_eq!(
        class(&format!("{apart}def f(): return nixl_agent('a')\n")),
        "nixl._api",
        "an old NIXL without the class"
    );
}

#[test]
fn backends_that_are_chosen_later_are_somebodys_choice() {
    let import = "import os\nfrom nixl._api import nixl_agent, nixl_agent_config\n";
    for (text, expected) in [
        ("a = nixl_agent('x')\na.create_backend('UCX')", "configured"),
        ("nixl_agent('x').create_backend('UCX')", "configured"),
        ("def f():\n    a = nixl_agent('x')\n    b = a\n    b.create_backend(os.environ['B'])", "env B"),
        (
            "def f():\n    a = nixl_agent('x')\n    if os.environ.get('B') == 'X':\n        a.create_backend('X')",
            "env B",
        ),
        (
            "class C:\n    def f(self):\n        self.__a = nixl_agent('x')\n    def g(self):\n        self.__a.create_backend('UCX')",
            "configured",
        ),
        (
            "class C:\n    def f(self):\n        self.a = nixl_agent('x')\nclass D(C):\n    def g(self):\n        self.a.create_backend('UCX')",
            "configured",
        ),
        ("def make():\n    return nixl_agent('x')\nmake().create_backend('UCX')", "configured"),
        ("def add(a):\n    a.create_backend('UCX')\nadd(nixl_agent('x'))", "configured"),
        (
            "class C:\n    def add(self, a):\n        a.create_backend('UCX')\n    def f(self):\n        a = nixl_agent('x')\n        self.add(a)",
            "configured",
        ),
        ("with nixl_agent('x') as a:\n    a.create_backend('UCX')", "configured"),
        ("getattr(a := nixl_agent('x'), 'create_backend')('UCX')", "configured"),
        ("more = nixl_agent('x').create_backend\nmore('UCX')", "configured"),
        ("c = nixl_agent_config()\nc.backends.append('X')\na = nixl_agent('x', c)", "configured"),
        ("c = nixl_agent_config()\nc.backends += ['X']\na = nixl_agent('x', c)", "configured"),
        ("c = nixl_agent_config()\nc.backends[0] = os.environ['B']\na = nixl_agent('x', c)", "env B"),
        ("c = nixl_agent_config()\nsetattr(c, 'backends', [])\na = nixl_agent('x', c)", "configured"),
        ("c = nixl_agent_config()\nl = c.backends\nl.append('X')\na = nixl_agent('x', c)", "configured"),
        ("agents = [nixl_agent(n) for n in x]\nfor a in agents:\n    a.create_backend('UCX')", "unclear"),
        (
            "class C:\n    def f(self):\n        self.a = self.a or nixl_agent('x')\n        self.a.create_backend('UCX')",
            "configured",
        ),
        ("a, *b = [nixl_agent('x'), 1]\na.create_backend('UCX')", "unclear"),
        ("d = {}\nd[1] = nixl_agent('x')\nd[1].create_backend('UCX')", "unclear"),
        ("l = []\nl.append(nixl_agent('x'))\nfor a in l: a.create_backend('UCX')", "unclear"),
        ("nixl_agent('x', None, instantiate_all=True)", "configured"),
        ("nixl_agent('x', nixl_agent_config(), True)", "configured"),
        ("nixl_agent('x', nixl_agent_config(), instantiate_all=y)", "unclear"),
    ] {
        assert_eq!(one(&format!("{import}{text}\n")), expected, "{text}");
    }
    let two = "a = nixl_agent('x')\nb = nixl_agent('y')\nb.create_backend('UCX')\n";
    assert_eq!(shapes(&format!("{import}{two}")), ["3:bare", "4:configured"]);
    let classes = "class C:\n    def f(self):\n        self.a = nixl_agent('x')\nclass D:\n    def f(self):\n        self.a = nixl_agent('x')\n        self.a.create_backend('UCX')\n";
    assert_eq!(shapes(&format!("{import}{classes}")), ["5:bare", "8:configured"]);
}

#[test]
fn an_environment_variable_counts_where_it_reaches_the_backends() {
    let import = "import os\nfrom nixl._api import nixl_agent, nixl_agent_config\n";
    let other = "def f():\n    if os.environ.get('VLLM_ATTENTION_BACKEND') is None:\n        return nixl_agent('x')\n";
    assert_eq!(one(&format!("{import}{other}")), "bare");
    let early = "def f():\n    if os.environ.get('B') == 'X':\n        return nixl_agent('x', nixl_agent_config(backends=['X']))\n    return nixl_agent('x')\n";
    assert_eq!(shapes(&format!("{import}{early}")), ["5:env B", "6:env B"]);
    let beside = "if os.environ.get('B'):\n    a = nixl_agent('x', nixl_agent_config(backends=['X']))\nelse:\n    a = nixl_agent('x')\n";
    assert_eq!(shapes(&format!("{import}{beside}")), ["4:env B", "6:env B"]);
    let both = "if os.environ.get('B'):\n    a = nixl_agent('x')\nelse:\n    a = nixl_agent('y')\n";
    assert_eq!(shapes(&format!("{import}{both}")), ["4:bare", "6:bare"]);
    let after =
        "if os.environ.get('B'):\n    a = nixl_agent('x', nixl_agent_config(backends=['X']))\nb = nixl_agent('y')\n";
    assert_eq!(shapes(&format!("{import}{after}")), ["4:configured", "5:bare"]);
    for between in ["c = nixl_agent_config(backends=['UCX'])", "c = None"] {
        let text = format!(
            "{import}{between}\nif os.environ.get('B') == 'X':\n    c = nixl_agent_config(backends=['X'])\nnixl_agent('x', c)\n"
        );
        assert_eq!(one(&text), "env B", "{text}");
    }
    let overwritten = "x = [os.environ['B']]\nx = ['UCX']\nnixl_agent('x', nixl_agent_config(backends=x))\n";
    assert_eq!(one(&format!("{import}{overwritten}")), "configured");
}

#[test]
fn a_hand_patch_is_described() {
    let described = |text: &str| {
        let text = format!("import nixl._api as api\n{text}\n");
        let module = parse(&text).unwrap();
        match find(&text, &module, None).unwrap().remove(0).shape {
            Shape::EnvironmentAware(read, _) => *read,
            other => panic!("{other:?} in {text}"),
        }
    };
    let read = described(
        "import os\ndef f():\n    x = os.environ.get('B', 'UCX')\n    if x not in ('UCX', 'LIBFABRIC'):\n        x = 'UCX'\n    return api.nixl_agent('a', api.nixl_agent_config(backends=[x]))",
    );
    assert_eq!((read.variable.as_deref(), read.list, read.default.as_deref()), (Some("B"), false, Some("UCX")));
    assert_eq!((read.allowed, read.unbound), (vec!["UCX".to_string(), "LIBFABRIC".into()], None));
    let read = described(
        "import os\nbs = [b.strip() for b in (os.getenv('B') or 'UCX').split(',')]\napi.nixl_agent('a', api.nixl_agent_config(backends=bs))",
    );
    assert_eq!((read.list, read.default.as_deref()), (true, Some("UCX")));
    let read = described("api.nixl_agent('a', api.nixl_agent_config(backends=[os.getenv('B', 'UCX')]))");
    assert_eq!((read.variable.as_deref(), read.unbound.as_deref()), (Some("B"), Some("os")));
}

#[test]
fn one_odd_call_does_not_hide_the_others() {
    let text = "from nixl._api import nixl_agent\ndef never(): return nixl_agent()\ndef f(): return nixl_agent('x')\n";
    assert_eq!(shapes(text), ["2:unclear", "3:bare"]);
}

#[test]
fn a_definition_is_known_as_deep_as_an_import() {
    let is_known = |binding: &str, depth: usize| {
        let chain = "nixl_agent if y else ".repeat(depth);
        let text = format!("from nixl._api import nixl_agent\n{binding}\n({chain}f)('a')\n");
        !find(&text, &parse(&text).expect("it parses"), None).expect("not too many").is_empty()
    };
    let import: Vec<bool> = (190..210).map(|depth| is_known("from m import f", depth)).collect();
    assert!(import[0] && !import[19], "{import:?}");
    for definition in ["def f(): pass", "class f: pass"] {
        assert_eq!((190..210).map(|depth| is_known(definition, depth)).collect::<Vec<_>>(), import, "{definition}");
    }
}

#[test]
fn what_raises_is_no_lookup_of_a_name() {
    let text = |name: &str| format!("import nixl._api as api\nx = getattr(api, {name})\n");
    for name in ["b'nixl_agent'", "1", "None"] {
        assert_eq!(shapes(&text(name)), [""; 0], "{name}");
    }
    for name in ["f'nixl_agent'", "name", "'nixl_' + name"] {
        assert_eq!(shapes(&text(name)), ["2:unclear"], "{name}");
    }
}
