//! The survey of files that nobody wrote for it. What it finds is tested on trees, in tests/audit.rs.

use std::path::{Path, PathBuf};

use super::*;
use crate::python::encoding::SourceText;
use crate::python::meaning::Alias;
use crate::python::syntax::{parse_alone, parse_without};
use crate::threads::STACK_BYTES;

/// Every module binds every name to a class, so that each import of any file is followed.
struct Everything;

impl Imports for Everything {
    fn absolute(&self, _level: u32, module: &str) -> String {
        format!("package.{module}")
    }

    fn alias(&self, _module: &str, name: &str) -> Option<Alias> {
        Some(Alias::certain(if name.len().is_multiple_of(2) { NixlClass::Agent } else { NixlClass::Configuration }))
    }

    fn all(&self, _module: &str) -> Vec<(String, NixlClass)> {
        vec![("name".into(), NixlClass::Agent)]
    }
}

fn python_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        match kind {
            Ok(kind) if kind.is_dir() => python_files(&path, files),
            Ok(kind) if kind.is_file() && path.extension().is_some_and(|it| it == "py") => files.push(path),
            _ => {}
        }
    }
}

#[test]
#[ignore = "takes minutes; FOLDERS names what to read, with colons"]
fn every_file_is_surveyed() {
    let folders = std::env::var("FOLDERS").expect("FOLDERS is set");
    let mut files = Vec::new();
    folders.split(':').for_each(|folder| python_files(Path::new(folder), &mut files));
    let work = move || {
        let mut surveyed = 0;
        for path in &files {
            let Ok(content) = std::fs::read(path) else { continue };
            let Ok(source) = SourceText::decode(&content) else { continue };
            let Ok(tree) = parse_alone(source.text()) else { continue };
            exports(&tree, &Everything);
            survey(source.text(), &tree, &Everything);
            surveyed += 1;
        }
        (files.len(), surveyed)
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread starts");
    let (files, surveyed) = thread.join().expect("no file makes it panic");
    println!("{surveyed} of {files} files surveyed");
    assert!(surveyed > 0);
}

/// Other modules bind these names to a class.
struct Named(FxHashMap<String, NixlClass>);

impl Named {
    /// A share of the names in a text, another share in each round. Those in strings are left to `getattr`.
    fn some_of(text: &str, round: usize) -> Self {
        let names = text.split(|it: char| !it.is_alphanumeric() && it != '_').filter(|name| !name.is_empty());
        let class = |name: &str| {
            let sum = name.bytes().fold(round, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
            match sum / 7 % 160 {
                0 => Some(NixlClass::Agent),
                1 => Some(NixlClass::Configuration),
                _ => None,
            }
        };
        let is_quoted = |name: &str| ['"', '\''].iter().any(|quote| text.contains(&format!("{quote}{name}{quote}")));
        let chosen = names.filter_map(|name| Some((name.to_string(), class(name)?)));
        Named(chosen.filter(|(name, _)| !is_quoted(name)).collect())
    }
}

impl Imports for Named {
    fn absolute(&self, _level: u32, module: &str) -> String {
        format!("package.{module}")
    }

    fn alias(&self, _module: &str, name: &str) -> Option<Alias> {
        self.0.get(name).copied().map(Alias::certain)
    }

    fn all(&self, _module: &str) -> Vec<(String, NixlClass)> {
        Vec::new()
    }
}

/// What is left of a module, and its places, which are those of the whole one. None where all of it is parsed.
fn rest(text: &str, imports: &Named) -> Option<(String, Vec<PlaceChoice>)> {
    let module = parse_alone(text).ok()?;
    let sketch = Sketch::read(text)?;
    let level = parse_without(text, &sketch.functions()).expect("what is left of it parses");
    assert_eq!(exports(&level, imports), exports(&module, imports), "{text}");
    let left_out = sketch.left_out(imports.0.iter().map(|(name, class)| (name.as_str(), *class)))?;
    let rest = parse_without(text, &left_out).expect("what is left of it parses");
    let places = survey(text, &module, imports);
    let found = survey_rest(text, &rest, imports)?;
    assert_eq!(format!("{found:#?}"), format!("{places:#?}"), "without {left_out:?}:\n{text}");
    let mut kept = String::new();
    let mut at = 0;
    for range in left_out {
        kept.push_str(&text[at..range.start]);
        at = range.end;
    }
    Some((kept + &text[at..], found))
}

/// What no place depends on.
const FILLER: &str = "def filler(fa, fb=1):\n    fa.fb = [fa for fc in fb]\n    return fa\n\
    class Filler:\n    def __init__(self): self.filled = 1\n    def fill(self): return self.filled\n";

/// What a module with this case in it keeps.
fn kept(case: &str) -> Option<String> {
    let imports = Named([("NixlWrapper".to_string(), NixlClass::Agent)].into_iter().collect());
    let text = format!("import os\nimport nixl._api as api\nfrom m import NixlWrapper\n{FILLER}{case}{FILLER}");
    let (kept, places) = rest(&text, &imports)?;
    assert!(!places.is_empty(), "{case}");
    assert!(!kept.contains("return fa") && !kept.contains("self.filled"), "{case}\n{kept}");
    Some(kept)
}

#[test]
fn what_places_depend_on_is_kept() {
    for (case, needed) in [
        // Where the places are.
        ("def f(n):\n    return api.nixl_agent(n)\n", "return api"),
        ("def f(n):\n    return NixlWrapper(n)\n", "return NixlWrapper"),
        ("def f(n):\n    from m import NixlWrapper as W\n    W(n)\n", "W(n)"),
        ("def f(n):\n    W = NixlWrapper\n    W(n)\n", "W(n)"),
        ("W = NixlWrapper\ndef f(n):\n    W(n)\n", "W(n)"),
        ("class C:\n    def f(self): self.w = NixlWrapper\n    def g(self): self.w(1)\n", "self.w(1)"),
        ("def f(): return NixlWrapper\ndef g(): f()(1)\n", "f()(1)"),
        ("def f(): yield api.nixl_agent_config()\ndef g():\n    h(f)\n", "h(f)"),
        ("def f(): g(getattr(api, 'nixl_agent'))\n", "getattr"),
        ("def f(): g(api.nixl_agent)\n", "g(api"),
        ("def f(n): getattr(api, n)('a')\n", "getattr"),
        ("def f(): exec('nixl_agent(1)')\n", "exec"),
        ("def f(): type('T', (NixlWrapper,), {})\n", "type"),
        ("def f(): cast(T, NixlWrapper)('a')\n", "cast"),
        ("def f(): return [NixlWrapper][0]\n", "[0]"),
        ("def f(x):\n    match x:\n        case object(nixl_agent=make): make('a')\n", "make('a')"),
        ("def f(a): a.create_backend('UCX')\na.get_plugin_list()\n", "create_backend"),
        ("c = api.nixl_agent_config()\ndef f(): c.backends = ['UCX']\n", "c.backends"),
        ("c = api.nixl_agent_config()\ndef f(): g(c)\n", "g(c)"),
        ("def f():\n    global W\n    W = NixlWrapper\ndef g(): W(1)\n", "W(1)"),
        ("c = api.nixl_agent_config()\nc.backends.append('UCX')\ndef f(a): g(a)\nf(c)\n", "g(a)"),
        // What the backends are made from.
        ("api.nixl_agent_config(backends=f())\ndef f(): return os.environ['A']\n", "environ"),
        (
            "api.nixl_agent_config(backends=f())\ndef f():\n    if os.environ['A']: return ['UCX']\n    return []\n",
            "environ",
        ),
        (
            "x = ['UCX']\ndef f():\n    global x\n    x = os.environ['A']\napi.nixl_agent_config(backends=x)\n",
            "environ",
        ),
        ("x = []\ndef f(): x.append(os.environ['A'])\napi.nixl_agent_config(backends=x)\n", "environ"),
        (
            "x = []\ndef f():\n    if os.environ['A']:\n        x.append('UCX')\napi.nixl_agent_config(backends=x)\n",
            "environ",
        ),
        (
            "class C:\n    def f(self): self.x = os.environ['A']\n    def g(self): api.nixl_agent_config(backends=self.x)\n",
            "environ",
        ),
        (
            "class C:\n    @property\n    def x(self): return os.environ['A']\n    \
             def g(self): api.nixl_agent_config(backends=self.x)\n",
            "environ",
        ),
        ("class C:\n    x: list = None\ndef f(): api.nixl_agent_config(backends=C().x)\n", "x: list"),
        ("def f(): return g()\ndef g(): return os.environ['A']\napi.nixl_agent_config(backends=f())\n", "environ"),
        ("def f(o): o.x = os.environ['A']\napi.nixl_agent_config(backends=p.x)\n", "environ"),
        ("def f(): globals()['x'] = os.environ['A']\nx = 1\napi.nixl_agent_config(backends=x)\n", "environ"),
        // `fa` is a name of the filler alone.
        ("class C: pass\ndef f():\n    c = C()\n    api.nixl_agent_config(backends=c.fa)\n", "c.fa"),
        // The conditions.
        (
            "def f(a):\n    if os.environ['A']:\n        return api.nixl_agent(a, x)\n    return api.nixl_agent(a)\n",
            "environ",
        ),
        (
            "if f():\n    x = ['UCX']\nelse:\n    x = []\napi.nixl_agent_config(backends=x)\ndef f(): return os.environ['A']\n",
            "environ",
        ),
        (
            "if y:\n    x = ['UCX']\nelif f():\n    x = []\napi.nixl_agent_config(backends=x)\ndef f(): return os.environ['A']\n",
            "environ",
        ),
        // What a call may be.
        ("api = f() if x else api\napi.nixl_agent('a')\ndef f(): return None\n", "return None"),
        (
            "W = NixlWrapper if x else Stub\nclass Stub:\n    def __init__(self, n):\n        raise ImportError\nW(1)\n",
            "raise",
        ),
        (
            "W = NixlWrapper if x else Stub\ndef fail(): raise ImportError\n\
             class Stub:\n    def __init__(self, n):\n        fail()\nW(1)\n",
            "raise",
        ),
        (
            "W = NixlWrapper if x else o\no = Stub()\nclass Stub:\n    def __call__(self, n): raise ImportError\nW(1)\n",
            "raise",
        ),
        (
            "if x:\n    api = Proxy()\napi.nixl_agent('a')\nclass Proxy:\n    def __getattr__(self, n): raise ImportError\n",
            "raise",
        ),
        // What is passed.
        (
            "def make(c): return api.nixl_agent('a', c)\ndef f(): make(c=api.nixl_agent_config())\nx.backends = 1\n",
            "make(c=",
        ),
        (
            "def make(c): api.nixl_agent('a', c)\ndef f(): make(g())\ndef g(): return None\nx.backends = 1\n",
            "return None",
        ),
        (
            "class A:\n    def f(self): self.x = ['UCX']\nclass B(A):\n    def g(self): api.nixl_agent('a', self.x)\n",
            "'UCX'",
        ),
    ] {
        let kept = kept(case).unwrap_or_else(|| panic!("nothing is left out of {case}"));
        assert!(kept.contains(needed), "{needed} is left out of {case}\n{kept}");
    }
}

#[test]
fn what_is_done_with_an_agent_is_left_out() {
    for case in [
        "class C:\n    def f(self): self.agent = api.nixl_agent('a')\n    def g(self): return self.agent.other()\n",
        "class C:\n    def f(self):\n        c = api.nixl_agent_config()\n        self.agent = NixlWrapper('a', c)\n    \
         def g(self):\n        if self.agent: return other()\n",
        "W = NixlWrapper\nclass C:\n    def f(self): self.agent = W('a')\n    def g(self): return other(self.agent)\n",
        "class C:\n    def f(self): self.nixl_agent = api.nixl_agent('a')\n    def g(self): return self.nixl_agent.other()\n",
        "def f(): api.nixl_agent('a')\ndef g(s): return other(setattr(s, 'x', 1))\n",
    ] {
        let kept = kept(case).unwrap_or_else(|| panic!("nothing is left out of {case}"));
        assert!(!kept.contains("other"), "{case}\n{kept}");
    }
}

#[test]
fn all_of_a_module_is_parsed_where_names_may_be_given_unseen() {
    for case in [
        "def __getattr__(n): return {'A': 'nixl_agent'}[n]\n",
        "def f(): getattr(api, 'NixlWrapper')('a')\n",
        "def f(): getattr(api, 'NixlWrap' 'per')('a')\n",
        "def f(): getattr(api, 'NixlWr\\x61pper')('a')\n",
        "x = 1; from m import y\n",
    ] {
        assert_eq!(kept(&format!("api.nixl_agent('a')\n{case}")), None, "{case}");
    }
    let many: String =
        (0..20).map(|n| format!("class C{n}:\n    def make(self, c): api.nixl_agent('a', c)\n")).collect();
    assert_eq!(kept(&format!("{many}x.backends = 1\n")), None, "more functions of a name than are followed");
}

#[test]
fn a_name_comes_from_the_first_of_two_modules_that_the_whole_file_names() {
    let text = "def filler(): import b, a\n\ntry:\n    from a import nixl_agent\nexcept E:\n    from b import nixl_agent\nnixl_agent('a')\n";
    assert_eq!(rest(text, &Named(FxHashMap::default())), None);
}

#[test]
#[ignore = "takes minutes; FOLDERS names what to read, with colons"]
fn what_is_left_out_changes_nothing() {
    let folders = std::env::var("FOLDERS").expect("FOLDERS is set");
    let mut files = Vec::new();
    folders.split(':').for_each(|folder| python_files(Path::new(folder), &mut files));
    let work = move || {
        let (mut places, mut left_out, mut bytes) = (0, 0, 0);
        for (number, path) in files.iter().enumerate() {
            let Ok(content) = std::fs::read(path) else { continue };
            let Ok(source) = SourceText::decode(&content) else { continue };
            // What few files do, many do then.
            for (round, (from, to)) in [
                ("", ""),
                (".append(", ".create_backend("),
                (".name", ".backends"),
                ("= None", "= nixl_agent_config()"),
            ]
            .into_iter()
            .enumerate()
            {
                let text =
                    if from.is_empty() { source.text().to_string() } else { source.text().replacen(from, to, 9) };
                let imports = Named::some_of(&text, round + number);
                if let Some((kept, found)) = rest(&text, &imports) {
                    places += found.len();
                    left_out += text.len() - kept.len();
                }
                bytes += text.len();
            }
        }
        (files.len(), places, left_out, bytes)
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread starts");
    let (files, places, left_out, bytes) = thread.join().expect("no file differs");
    println!("{files} files with {places} places, {left_out} of {bytes} bytes left out");
    assert!(places > 0 && left_out > 0);
}
