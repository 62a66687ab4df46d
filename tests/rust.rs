//! Rust sources: what is rewritten, what is left alone and why, and what the rewritten code does when it runs. It is
//! compiled against stand-ins with dynamo-memory's signatures; tests/rust_releases.py compiles it against the real crates.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::*;
use serde_json::Value;

/// What the shapes have in common.
const HEAD: &str = "use anyhow::Result;\nuse dynamo_memory::nixl::NixlAgent;\n\n";

/// Sources whose `run` makes an agent with UCX, each in another way.
const SHAPES: [(&str, &str); 37] = [
    (
        "0.8.0",
        "use anyhow::Result;\n#[cfg(not(never))]\nuse {\n    dynamo_memory::nixl::{self, NixlAgent},\n    std::sync::Arc,\n};\n#[cfg(not(never))]\npub fn run() -> Result<()> {\n    let _ = Arc::new(nixl::AgentConfig);\n    let agent = NixlAgent::with_backends(\"a\", &[\"UCX\"])?;\n    drop(agent);\n    Ok(())\n}\n",
    ),
    (
        "1.0.0",
        "use anyhow::Result;\nuse dynamo_memory::nixl::NixlAgent;\npub fn make() -> Result<NixlAgent> {\n    let name = String::from(\"a\");\n    let nixl_agent = NixlAgent::with_backends(&name, &[\"UCX\"])?;\n    Ok(nixl_agent)\n}\npub fn run() -> Result<()> {\n    make().map(drop)\n}\n",
    ),
    (
        "1.6.1",
        "use anyhow::{Context, Result};\nuse dynamo_memory::nixl::{AgentConfig, NixlAgent};\npub fn run() -> Result<()> {\n    let config = AgentConfig::default();\n    let mut nixl_agent = NixlAgent::new_with_config(\"a\", &config)?;\n    nixl_agent\n        .add_backend(\"UCX\")\n        .context(\"add UCX\")?;\n    Ok(())\n}\n",
    ),
    (
        "alone",
        "pub fn run() -> Result<()> { let mut agent = NixlAgent::new(\"a\")?; agent.add_backend(\"UCX\")?; Ok(()) }",
    ),
    ("lower case", "pub fn run() -> Result<()> { let mut agent = NixlAgent::new(\"a\")?; agent.add_backend(\"ucx\") }"),
    ("raw string", "pub fn run() -> Result<()> { NixlAgent::with_backends(r\"a\", &[r#\"UCX\"#]).map(drop) }"),
    (
        "loop",
        "pub fn run() -> Result<()> { let mut agent = NixlAgent::new(\"a\")?; for backend in [\"UCX\"] { agent.add_backend(backend)?; } Ok(()) }",
    ),
    (
        "loop over a constant",
        "const ALL: [&str; 1] = [\"UCX\"]; pub fn run() -> Result<()> { let mut agent = NixlAgent::new(\"a\")?; for backend in ALL.iter() { agent.add_backend(backend)?; } Ok(()) }",
    ),
    (
        "constant",
        "const BACKENDS: &[&str] = &[\"UCX\"]; pub fn run() -> Result<()> { NixlAgent::with_backends(\"a\", BACKENDS).map(drop) }",
    ),
    (
        "constant of a constant",
        "const UCX: &str = \"UCX\"; static LIST: [&str; 1] = [UCX]; pub fn run() -> Result<()> { NixlAgent::with_backends(\"a\", &LIST).map(drop) }",
    ),
    (
        "constant of a function",
        "pub fn run() -> Result<()> { const LIST: [&str; 1] = [\"UCX\"]; NixlAgent::with_backends(\"a\", &LIST).map(drop) }",
    ),
    ("vector", "pub fn run() -> Result<()> { NixlAgent::with_backends(\"a\", &vec![\"UCX\"]).map(drop) }"),
    (
        "variable",
        "pub fn run() -> Result<()> { let list = [\"UCX\"]; NixlAgent::with_backends(\"a\", &list[..]).and(NixlAgent::with_backends(\"a\", &list)).map(drop) }",
    ),
    ("type alias", "type A = NixlAgent; pub fn run() -> Result<()> { A::with_backends(\"a\", &[\"UCX\"]).map(drop) }"),
    (
        "renamed",
        "use dynamo_memory::nixl::NixlAgent as Agent; pub fn run() -> Result<()> { let _: fn(NixlAgent) = drop; Agent::with_backends(\"a\", &[\"UCX\"]).map(drop) }",
    ),
    (
        "glob",
        "mod inner { use dynamo_memory::nixl::*; pub fn run() -> anyhow::Result<()> { NixlAgent::with_backends(\"a\", &[\"UCX\"]).map(drop) } } pub fn run() -> Result<()> { let _: fn(NixlAgent) = drop; inner::run() }",
    ),
    (
        "full path",
        "pub fn run() -> Result<()> { let _: fn(NixlAgent) = drop; ::dynamo_memory::nixl::NixlAgent::with_backends(\"a\", &[\"UCX\"]).map(drop) }",
    ),
    (
        "module alias",
        "use dynamo_memory::nixl as n; pub fn run() -> Result<()> { let _: fn(NixlAgent) = drop; n::NixlAgent::with_backends(\"a\", &[\"UCX\"]).map(drop) }",
    ),
    ("qualified self", "pub fn run() -> Result<()> { <NixlAgent>::with_backends(\"a\", &[\"UCX\"]).map(drop) }"),
    (
        "function in a variable",
        "pub fn run() -> Result<()> { let make = NixlAgent::with_backends; make(\"a\", &[\"UCX\"]).map(drop) }",
    ),
    (
        "closure",
        "pub fn run() -> Result<()> { let make = |name: &str| NixlAgent::with_backends(name, &[\"UCX\"]); make(\"a\").map(drop) }",
    ),
    (
        "by reference",
        "fn fill(agent: &mut NixlAgent) -> Result<()> { agent.add_backend(\"UCX\") } pub fn run() -> Result<()> { fill(&mut NixlAgent::new(\"a\")?) }",
    ),
    (
        "helper function",
        "fn make() -> Result<NixlAgent> { NixlAgent::new(\"a\") } pub fn run() -> Result<()> { let mut agent = make()?; agent.add_backend(\"UCX\") }",
    ),
    (
        "pattern",
        "pub fn run() -> Result<()> { match NixlAgent::new(\"a\") { Ok(mut agent) => agent.add_backend(\"UCX\"), Err(error) => Err(error) } }",
    ),
    (
        "let else",
        "pub fn run() -> Result<()> { let Ok(mut agent) = NixlAgent::new(\"a\") else { return Ok(()) }; agent.add_backend(\"UCX\") }",
    ),
    (
        "trait",
        "trait Make: Sized { fn make() -> Result<Self>; } impl Make for NixlAgent { fn make() -> Result<Self> { Self::with_backends(\"a\", &[\"UCX\"]) } } pub fn run() -> Result<()> { NixlAgent::make().map(drop) }",
    ),
    (
        "nested module",
        "mod one { pub mod two { use super::super::NixlAgent; pub fn run() -> anyhow::Result<()> { let mut agent = NixlAgent::with_backends(\"a\", &[\"UCX\"])?; agent.add_backend(\"UCX\") } } } pub fn run() -> Result<()> { one::two::run() }",
    ),
    (
        "raw identifier",
        "use dynamo_memory::nixl::NixlAgent as r#type; pub fn r#fn() -> Result<()> { r#type::with_backends(\"a\", &[\"UCX\"]).map(drop) } pub fn run() -> Result<()> { let _: fn(NixlAgent) = drop; r#fn() }",
    ),
    (
        "ignored result",
        "pub fn run() -> Result<()> { let mut agent = NixlAgent::new(\"a\")?; let _ = agent.add_backend(\"UCX\"); if agent.add_backend(\"UCX\").is_err() { return Ok(()); } Ok(()) }",
    ),
    ("temporary", "pub fn run() -> Result<()> { NixlAgent::new(\"a\")?.add_backend(\"UCX\") }"),
    (
        "comments",
        "pub fn run() -> Result<()> { /* NixlAgent */ NixlAgent /* a */ :: /* b */ with_backends /* c */ (\"a\", &[\"UCX\"] /* d */) // e\n .map(drop) }",
    ),
    (
        "condition",
        "pub fn run() -> Result<()> { #[cfg(not(never))] let made = NixlAgent::with_backends(\"a\", &[\"UCX\"]); #[cfg(never)] let made = NixlAgent::new(\"a\"); made.map(drop) }",
    ),
    (
        "reborrowed",
        "pub fn run() -> Result<()> { let mut agent = NixlAgent::new(\"a\")?; let one = &mut agent; one.add_backend(\"UCX\")?; let two: &mut NixlAgent = one; two.add_backend(\"UCX\") }",
    ),
    (
        "bound by reference",
        "pub fn run() -> Result<()> { let mut made = NixlAgent::new(\"a\"); match made { Ok(ref mut agent) => agent.add_backend(\"UCX\")?, Err(_) => {} } if let Ok(agent) = &mut made { agent.add_backend(\"UCX\")?; } Ok(()) }",
    ),
    (
        "self",
        "trait Fill { fn fill(&mut self) -> Result<()>; } impl Fill for NixlAgent { fn fill(&mut self) -> Result<()> { self.add_backend(\"UCX\")?; self.add_backend(\"UCX\") } } pub fn run() -> Result<()> { NixlAgent::new(\"a\")?.fill() }",
    ),
    (
        "cloned",
        "fn fill(agent: &NixlAgent) -> Result<()> { let mut own = agent.clone(); own.add_backend(\"UCX\") } pub fn run() -> Result<()> { fill(&NixlAgent::new(\"a\")?) }",
    ),
    (
        "taken names",
        "fn nixl_retrofit_backends() {} struct NixlRetrofit; pub fn run() -> Result<()> { nixl_retrofit_backends(); let _ = NixlRetrofit; NixlAgent::with_backends(\"a\", &[\"UCX\"]).map(drop) }",
    ),
];

/// Sources with something that is left alone: shape, and a part of the reason. Empty: nothing is reported.
const LEFT: [(&str, &str, &str); 34] = [
    (
        "parameter",
        "fn make(list: &[&str]) -> Result<NixlAgent> { NixlAgent::with_backends(\"a\", list) }",
        "parameter `list`",
    ),
    ("parameter", "fn f() { let make = |list: &[&str]| NixlAgent::with_backends(\"a\", list); }", "parameter"),
    ("configured", "fn f() { NixlAgent::with_backends(\"a\", &[\"LIBFABRIC\"]); }", "names the backend `LIBFABRIC`"),
    ("configured", "fn f() { NixlAgent::with_backends(\"a\", &[\"POSIX\"]); }", "storage: `POSIX`"),
    ("configured", "fn f() { NixlAgent::with_backends(\"a\", &[]); }", "no backend"),
    (
        "configured",
        "fn f() { NixlAgent::with_backends(\"a\", &[\"UCX\", \"POSIX\"]); }",
        "`UCX`, `POSIX`; only a list of `UCX` alone",
    ),
    ("configured", "fn f() { NixlAgent::with_backends(\"a\", &[\"UCX\", \"LIBFABRIC\"]); }", "`UCX`, `LIBFABRIC`"),
    (
        "configured",
        "fn f(mut a: NixlAgent) { if a.add_backend(\"LIBFABRIC\").is_err() { a.add_backend(\"UCX\").unwrap(); } }",
        "LIBFABRIC",
    ),
    (
        "env-aware",
        "fn f() { let b = std::env::var(\"DYN_X\").unwrap_or(\"UCX\".into()); NixlAgent::with_backends(\"a\", &[b.as_str()]); }",
        "`DYN_X`",
    ),
    (
        "env-aware",
        "fn b() -> String { std::env::var(\"DYN_X\").unwrap() } fn f() { let mut a = NixlAgent::new(\"a\").unwrap(); a.add_backend(&b()); }",
        "`DYN_X`",
    ),
    (
        "unclear",
        "fn f() { let mut list = vec![\"UCX\"]; list.push(\"POSIX\"); NixlAgent::with_backends(\"a\", &list); }",
        "not constants",
    ),
    ("passed-on", "fn f() { call(NixlAgent::with_backends); }", "is passed on"),
    ("passed-on", "fn f() -> impl Fn() { let make = NixlAgent::with_backends; call(make) }", "is passed on"),
    (
        "unclear",
        "struct S { agent: NixlAgent } impl S { fn f(&mut self) { self.agent.add_backend(\"UCX\"); } }",
        "the type of `self.agent`",
    ),
    ("unclear", "fn f() { made!(NixlAgent::with_backends(\"a\", &[\"UCX\"])); }", "in the macro `made!`"),
    (
        "unclear",
        "macro_rules! made { () => { NixlAgent::with_backends(\"a\", &[\"UCX\"]) }; }",
        "in the macro `macro_rules!`",
    ),
    (
        "unclear",
        "fn f() { mod m { use dynamo_memory::nixl::NixlAgent; fn f() { NixlAgent::with_backends(\"a\", &[\"UCX\"]); } } }",
        "module inside of a function",
    ),
    (
        "unclear",
        "mod m { use super::super::x::NixlAgent; fn f() { NixlAgent::with_backends(\"a\", &[\"UCX\"]); } }",
        "another file",
    ),
    (
        "unclear",
        "mod m { use super::super::x::*; fn f() { NixlAgent::with_backends(\"a\", &[\"UCX\"]); } }",
        "imported by a glob",
    ),
    (
        "unclear",
        "mod m { use other::NixlAgent; fn f() { NixlAgent::with_backends(\"a\", &[\"UCX\"]); } }",
        "`other::NixlAgent`",
    ),
    (
        "unclear",
        "mod m { #[cfg(a)] use dynamo_memory::nixl::NixlAgent; #[cfg(not(a))] use o::NixlAgent; fn f() { NixlAgent::with_backends(\"a\", &[\"UCX\"]); } }",
        "bound several times",
    ),
    ("unclear", "fn f(a: &mut NixlAgent) { NixlAgent::add_backend(a, \"UCX\"); }", "called by its path"),
    (
        "",
        "mod m { struct NixlAgent; impl NixlAgent { fn with_backends(a: &str, b: &[&str]) {} } fn f() { NixlAgent::with_backends(\"a\", &[\"UCX\"]); } }",
        "",
    ),
    ("", "fn f<NixlAgent: T>() { NixlAgent::with_backends(\"a\", &[\"UCX\"]); }", ""),
    ("", "#[cfg(test)] mod tests { use super::*; fn f() { NixlAgent::with_backends(\"a\", &[\"UCX\"]); } }", ""),
    ("", "#[cfg(all(test, feature = \"testing-nixl\"))] fn f() { NixlAgent::with_backends(\"a\", &[\"UCX\"]); }", ""),
    ("", "#[tokio::test] async fn f() { NixlAgent::with_backends(\"a\", &[\"UCX\"]); }", ""),
    ("", "/// NixlAgent::with_backends(\"a\", &[\"UCX\"])\nfn f() {}", ""),
    ("", "// NixlAgent::with_backends(\"a\", &[\"UCX\"])\n/* /* NixlAgent */ with_backends */ fn f() {}", ""),
    ("", "fn f() { let s = \"NixlAgent::with_backends(\\\"a\\\", &[\\\"UCX\\\"])\"; }", ""),
    ("", "fn f(pool: &mut Pool) { pool.with_backends(\"a\", &[\"UCX\"]); }", ""),
    ("", "fn f() -> Result<NixlAgent> { NixlAgent::new(\"a\") }", ""),
    ("", "fn f() { #[cfg(test)] NixlAgent::with_backends(\"a\", &[\"UCX\"]); }", ""),
    ("", "fn f() { match 1 { #[cfg(test)] 2 => { NixlAgent::with_backends(\"a\", &[\"UCX\"]); } _ => {} } }", ""),
];

/// Applies to a source as `m.rs`, twice; the new one and the file's report. Reverts a copy.
fn applied(source: &str, options: &[&str]) -> (String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.rs");
    fs::write(&file, source).unwrap();
    let arguments = |command: &str| {
        let options = if command == "revert" { &[] } else { options };
        let smoke = (command == "apply").then_some("--smoke=off");
        let words = [Some(command), smoke].into_iter().flatten().chain(options.iter().copied());
        words.map(PathBuf::from).chain([file.clone()]).collect::<Vec<_>>()
    };
    let (status, document) = run_json(arguments("apply"));
    assert_eq!(status, 0, "{document}\n{source}");
    let patched = fs::read_to_string(&file).unwrap();
    let (status, again) = run_json(arguments("apply"));
    assert_eq!((status, fs::read_to_string(&file).unwrap()), (0, patched.clone()), "a second run changes nothing");
    if patched != source {
        assert_eq!(again["files"][0]["status"], "already-patched", "{again}");
        let (status, reverted) = run_json(arguments("revert"));
        assert_eq!((status, fs::read_to_string(&file).unwrap().as_str()), (0, source), "{reverted}");
    }
    (patched, document["files"][0].clone())
}

fn with_head(source: &str) -> String {
    if source.starts_with("use anyhow") { source.to_string() } else { format!("{HEAD}{source}\n") }
}

/// The stand-ins.
const CRATES: [&str; 4] = ["anyhow", "tracing", "dynamo_memory", "nixl_sys"];

/// A folder with the stand-ins, compiled.
struct Bench {
    folder: tempfile::TempDir,
    edition: &'static str,
}

impl Bench {
    fn new(edition: &'static str) -> Self {
        let bench = Bench { folder: tempfile::tempdir().unwrap(), edition };
        for name in CRATES {
            let source = fixture("rust_stand_in").join(format!("{name}.rs"));
            bench.compile(&source, &["--crate-type=rlib"]);
        }
        bench
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn compile(&self, source: &Path, options: &[&str]) {
        let mut rustc = Command::new("rustc");
        rustc
            .args(["--edition", self.edition, "-Dwarnings", "-Adead_code", "-Aunexpected_cfgs", "-L"])
            .arg(self.path());
        for name in CRATES {
            let library = self.path().join(format!("lib{name}.rlib"));
            if library.exists() {
                rustc.arg("--extern").arg(format!("{name}={}", library.display()));
            }
        }
        let output = rustc.args(options).arg("--out-dir").arg(self.path()).arg(source).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// A program with each source as a module, which runs them all. What the inserted code leaves unused is an error.
    fn program(&self, sources: &[String]) -> PathBuf {
        let mut main = String::new();
        for (number, source) in sources.iter().enumerate() {
            fs::write(self.path().join(format!("m{number}.rs")), source).unwrap();
            main.push_str(&format!("mod m{number};\n"));
        }
        let runs: Vec<String> = (0..sources.len())
            .map(|n| format!("println!(\"-- {n}\");\nif let Err(e) = m{n}::run() {{ println!(\"error {{e}}\"); }}\n"))
            .collect();
        main.push_str(&format!("fn main() {{\n{}}}\n", runs.concat()));
        let file = self.path().join("program.rs");
        fs::write(&file, main).unwrap();
        self.compile(&file, &["--crate-type=bin"]);
        self.path().join("program")
    }
}

/// What each module printed, with the variable set to this, and what was logged.
fn ran(program: &Path, value: Option<&str>, missing: &str) -> (Vec<String>, String) {
    let mut command = Command::new(program);
    command.env_remove("NIXL_BACKEND").env("MISSING", missing);
    if let Some(value) = value {
        command.env("NIXL_BACKEND", value);
    }
    let output = command.output().unwrap();
    let text = stdout(&output);
    (
        text.split("-- ").skip(1).map(|part| part.trim().split('\n').skip(1).collect::<Vec<_>>().join(" ")).collect(),
        stderr(&output),
    )
}

#[test]
fn every_shape_follows_the_variable_and_compiles_as_before() {
    let originals: Vec<String> = SHAPES.iter().map(|(_, source)| with_head(source)).collect();
    let patched: Vec<String> = originals.iter().map(|source| applied(source, &[]).0).collect();
    for ((name, _), (original, patched)) in SHAPES.iter().zip(originals.iter().zip(&patched)) {
        assert_ne!(original, patched, "{name}");
    }
    for edition in ["2021", "2024"] {
        let bench = Bench::new(edition);
        let (before, _) = ran(&bench.program(&originals), Some("LIBFABRIC"), "");
        let program = bench.program(&patched);
        assert_eq!(before, ran(&program, None, "").0, "unset, nothing changes");
        for (value, chosen) in [(" ", "UCX"), ("UCX", "UCX"), ("libfabric", "LIBFABRIC"), ("BOGUS", "UCX")] {
            let (after, _) = ran(&program, Some(value), "");
            let expected: Vec<String> = before.iter().map(|made| made.replace("UCX", chosen)).collect();
            assert_eq!(after, expected, "{value:?}");
        }
        let (after, _) = ran(&program, Some("LIBFABRIC, ucx,LIBFABRIC"), "");
        for ((name, _), made) in SHAPES.iter().zip(&after) {
            assert!(made.starts_with("LIBFABRIC,UCX"), "{name}: {made}");
        }
    }
}

/// The block manager's two ways: `build_agent` of `distributed/worker.rs`, and `state/resources.rs`.
const BLOCK_MANAGER: [&str; 2] = [
    "use nixl_sys::Agent as NixlAgent;

pub fn run() -> anyhow::Result<()> {
    let agent = NixlAgent::new(\"a\")?;
    // Comment.
    match agent.get_plugin_params(\"UCX\") {
        Ok((_, ucx_params)) => {
            agent.create_backend(\"UCX\", &ucx_params)?;
        }

        Err(_) => {
            tracing::warn!(\"No UCX plugin found\");
        }
    }
    let (_, posix_params) = agent.get_plugin_params(\"POSIX\")?;
    agent.create_backend(\"POSIX\", &posix_params)?;
    Ok(())
}
",
    "use other::*;
mod other {
    pub use nixl_sys::Agent as NixlAgent;
}

pub fn run() -> anyhow::Result<()> {
    let mut all = Vec::new();
    let agent = NixlAgent::new(\"a\")?;
    if let Ok((_, ucx_params)) = agent.get_plugin_params(\"UCX\") {
        let backend = agent.create_backend(\"UCX\", &ucx_params)?;
        all.push((\"UCX\".to_string(), backend));
    } else {
        tracing::warn!(\"No UCX plugin found\");
    }
    if let Ok((_, params)) = agent.get_plugin_params(\"GDS_MT\") {
        agent.create_backend(\"GDS_MT\", &params)?;
    }
    drop(agent);
    all.iter().for_each(|(name, _)| println!(\"{name}\"));
    Ok(())
}
",
];

#[test]
fn the_block_manager_follows_only_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.rs");
    let mut patched = Vec::new();
    for source in BLOCK_MANAGER {
        let (same, report) = applied(source, &[]);
        assert_eq!((same.as_str(), &report["status"]), (source, &"configured".into()), "{report}");
        let reason = report["sites"][0]["reason"].as_str().unwrap();
        assert!(reason.ends_with("`--also block-manager` rewrites it"), "{report}");
        for options in [&["--also=block-manager", "--on-unknown=error"][..], &["--also=block-manager"]] {
            let (changed, report) = applied(source, options);
            assert_eq!(report["sites"][0]["action"], "rewrite", "{report}");
            assert_eq!(report["sites"][1]["action"], "leave", "storage: {report}");
            fs::write(&file, &changed).unwrap();
            let mut rustfmt = Command::new("rustfmt");
            let output = rustfmt.args(["--edition=2024", "--check"]).arg(&file).output().unwrap();
            assert!(output.status.success(), "{}", stdout(&output));
            patched.push(changed);
        }
    }
    let bench = Bench::new("2021");
    let program = bench.program(&patched);
    let expected = |chosen: &str, names: &str| {
        [format!("{chosen},POSIX"), format!("{chosen},GDS_MT {names}")].map(|made| [made.clone(), made]).concat()
    };
    assert_eq!(ran(&program, None, "").0, expected("UCX", "UCX"));
    assert_eq!(ran(&program, Some("libfabric"), "").0, expected("LIBFABRIC", "LIBFABRIC"));
    assert_eq!(ran(&program, Some("LIBFABRIC,UCX"), "").0, expected("LIBFABRIC,UCX", "LIBFABRIC UCX"));
    assert_eq!(ran(&program, Some("LIBFABRIC,UCX"), "LIBFABRIC").0, expected("UCX", "UCX"));
    // One that fails is a warning while another one works.
    let (made, log) = ran(&program, Some("LIBFABRIC,UCX"), "!LIBFABRIC");
    assert_eq!(made, expected("UCX", "UCX"));
    let cause = "LIBFABRIC: No device for LIBFABRIC";
    assert!(log.contains(&format!("WARN NIXL Connect: Cannot use a backend of NIXL_BACKEND: {cause}\n")), "{log}");
    let error = |missing: &str, value: Option<&str>, words: &str| {
        for made in ran(&program, value, missing).0 {
            assert_eq!(made.split_once("error ").unwrap().1, format!("no backend of NIXL_BACKEND ({words}"));
        }
    };
    let both = "LIBFABRIC,UCX) works: LIBFABRIC: No device for LIBFABRIC; UCX: No device for UCX";
    error("!LIBFABRIC,!UCX", Some("LIBFABRIC,UCX"), both);
    error("!LIBFABRIC,UCX", Some("LIBFABRIC,UCX"), "LIBFABRIC,UCX) works: LIBFABRIC: No device for LIBFABRIC");
    error("!UCX", None, "unset) works: UCX: No device for UCX");
    // A missing plugin is what it was to the source: no error.
    assert_eq!(ran(&program, Some("LIBFABRIC,UCX"), "LIBFABRIC,UCX").0[0], "POSIX");
}

#[test]
fn a_statement_of_the_block_manager_that_cannot_be_repeated_is_left() {
    let head = "use nixl_sys::Agent as NixlAgent;\n";
    for body in [
        "if let Ok((_, p)) = a.get_plugin_params(\"UCX\") { a.create_backend(\"UCX\", &p); }",
        "loop { if let Ok((_, p)) = a.get_plugin_params(\"UCX\") { a.create_backend(\"UCX\", &p); break; } g(); }",
        "if let Ok((_, p)) = b.get_plugin_params(\"UCX\") { a.create_backend(\"UCX\", &p); } g();",
        "let (_, p) = a.get_plugin_params(\"UCX\").unwrap(); a.create_backend(\"UCX\", &p); g();",
        "if let Ok((_, p)) = a.get_plugin_params(\"UCX\") { a.create_backend(\"UCX\", &p); a.create_backend(\"UCX\", &p); } g();",
        "if let Ok((_, p)) = a.get_plugin_params(\"UCX\") { a.create_backend(\"UCX\", &p)?; return Ok(()); } g();",
        "if let Ok((_, p)) = a.get_plugin_params(\"UCX\") { a.create_backend(\"UCX\", &p)?; g().await; } g();",
        "if let Ok((_, p)) = a.get_plugin_params(\"UCX\") { a.create_backend(\"UCX\", &p)?; leave!(return); } g();",
    ] {
        let source = format!("{head}fn f(a: &NixlAgent, b: &NixlAgent) -> anyhow::Result<()> {{ {body} }}\n");
        let (same, report) = applied(&source, &["--also=block-manager"]);
        assert_eq!((same, &report["status"]), (source, &"configured".into()), "{report}");
        let reason = report["sites"][0]["reason"].as_str().unwrap();
        assert!(reason.ends_with("it is in no statement that can be repeated"), "{report}");
    }
    let output = run(["check", "--also=block-manager", fixture("site-packages").to_str().unwrap()]);
    assert_eq!(status_and_help(&output), (2, true), "{}", stderr(&output));
}

/// Whether the statement is repeated in a function with this head, and with something before it.
fn is_repeated(use_items: &str, function: &str, before: &str) -> bool {
    let statement = "if let Ok((_, p)) = a.get_plugin_params(\"UCX\") { a.create_backend(\"UCX\", &p)?; }";
    let source =
        format!("use nixl_sys::Agent as NixlAgent;\n{use_items}\n{function} {{ {before} {statement} Ok(()) }}\n");
    let (changed, report) = applied(&source, &["--also=block-manager"]);
    let reason = report["sites"][0]["reason"].as_str().unwrap();
    let is_left = reason.ends_with("whether its function returns an `anyhow::Error` is not certain");
    assert_eq!(is_left, changed == source, "{report}");
    !is_left
}

#[test]
fn the_block_manager_is_repeated_where_a_failure_has_the_right_type() {
    for (use_items, returned) in [
        ("", "anyhow::Result<()>"),
        ("use anyhow::Result as R;", "R<()>"),
        ("use anyhow::{Context, Result};", "Result<()>"),
    ] {
        assert!(is_repeated(use_items, &format!("fn f(a: &NixlAgent) -> {returned}"), ""), "{returned}");
    }
    for (use_items, returned) in [
        ("use std::io::Result;", "Result<()>"),
        ("type Result<T> = std::result::Result<T, Own>;", "Result<()>"),
        ("use anyhow::Result;", "Result<(), Own>"),
        ("", "Result<(), Own>"),
        ("", "Option<()>"),
        ("use super::*;", "Result<()>"),
        ("use super::*;", "Result<(), Own>"),
    ] {
        assert!(!is_repeated(use_items, &format!("fn f(a: &NixlAgent) -> {returned}"), ""), "{use_items} {returned}");
    }
    // What a glob import brings in shows by what the function returns.
    let through_glob = |before: &str| is_repeated("use super::*;", "fn f(a: &NixlAgent) -> Result<()>", before);
    assert!(through_glob("match g() { Err(e) => anyhow::bail!(e), _ => {} }"));
    assert!(!through_glob("let h = || { anyhow::bail!(\"x\") };"));
    assert!(!through_glob("bail!(\"x\");"));
    // In a closure, `?` is another function's.
    let inner = "if let Ok((_, p)) = a.get_plugin_params(\"UCX\") { a.create_backend(\"UCX\", &p)?; }";
    for around in ["let g = || {", "let g = async {"] {
        let body = format!("{around} {inner} Ok(()) }}; g()");
        let source = format!("use nixl_sys::Agent;\nfn f(a: &Agent) -> anyhow::Result<()> {{ {body} }}\n");
        assert_eq!(applied(&source, &["--also=block-manager"]).0, source);
    }
}

#[test]
fn what_is_logged_and_what_fails() {
    let source = with_head(
        "pub fn run() -> Result<()> { for _ in 0..2 { NixlAgent::with_backends(\"a\", &[\"UCX\"])?; } Ok(()) }",
    );
    let bench = Bench::new("2024");
    let program = bench.program(&[applied(&source, &[]).0]);
    let (_, log) = ran(&program, Some("BOGUS,LIBFABRIC"), "");
    let unknown = "WARN NIXL Connect: Unknown backend \"BOGUS\" in NIXL_BACKEND is ignored; supported: [\"UCX\", \"LIBFABRIC\"]\n";
    assert_eq!(log, format!("{unknown}INFO NIXL Connect: Using backend(s): [\"LIBFABRIC\"]\n"), "once a value");
    let (made, log) = ran(&program, Some("LIBFABRIC,UCX"), "LIBFABRIC");
    assert_eq!(made, ["UCX UCX"], "one that cannot be made is no error while another one works");
    assert!(
        log.contains("WARN NIXL Connect: Cannot use a backend of NIXL_BACKEND: LIBFABRIC: No LIBFABRIC plugin found"),
        "{log}"
    );
    let (made, _) = ran(&program, Some("LIBFABRIC,UCX"), "LIBFABRIC,UCX");
    let causes = "LIBFABRIC: No LIBFABRIC plugin found; UCX: No UCX plugin found";
    assert_eq!(made, [format!(" error no backend of NIXL_BACKEND (LIBFABRIC,UCX) works: {causes}")]);
    let (made, _) = ran(&program, None, "UCX");
    assert_eq!(made, [" error no backend of NIXL_BACKEND (unset) works: UCX: No UCX plugin found"]);

    let options = ["--on-unknown=error", "--default-backend=LIBFABRIC", "--env-var=X_BACKEND"];
    let strict = applied(&source, &options).0.replace("X_BACKEND", "NIXL_BACKEND");
    let program = bench.program(&[strict]);
    assert_eq!(ran(&program, None, "").0, ["LIBFABRIC LIBFABRIC"]);
    let (made, _) = ran(&program, Some("BOGUS,UCX"), "");
    let wrong = "NIXL_BACKEND names unknown backends, [\"BOGUS\"]; supported: [\"UCX\", \"LIBFABRIC\"]";
    assert_eq!(made, [format!(" error NIXL Connect: {wrong}")]);
}

#[test]
fn what_is_not_certain_is_left_alone_with_the_reason() {
    for (shape, source, reason) in LEFT {
        let source = format!("{HEAD}{source}\n");
        let (patched, report) = applied(&source, &[]);
        assert_eq!(patched, source, "{report}");
        let sites = report["sites"].as_array().unwrap();
        if shape.is_empty() {
            assert_eq!((report["status"].as_str(), sites.len()), (Some("nothing-to-patch"), 0), "{report}\n{source}");
            continue;
        }
        let told = |site: &Value| site["shape"] == shape && site["reason"].as_str().unwrap().contains(reason);
        assert!(sites.iter().any(told), "{shape}, {reason}: {report}\n{source}");
        assert!(sites.iter().all(|site| site["action"] == "leave"));
    }
}

#[test]
fn bytes_outside_the_insertions_stay() {
    let call = "fn f() -> Result<()> {\n    NixlAgent::with_backends(\"\u{e9}\", &[\"UCX\"]).map(drop)\n}";
    let unix = format!("{HEAD}// \u{e9}\u{1d11e} NixlAgent\n{call}\n");
    for source in [
        unix.clone(),
        unix.replace('\n', "\r\n"),
        format!("\u{feff}{unix}"),
        format!("#!/usr/bin/env rust-script\n{unix}"),
        unix.trim_end().to_string(),
        format!("use dynamo_memory::nixl::NixlAgent; /* a\n*/ use anyhow::Result; {call}"),
        format!("{} // >>> nixl-retrofit 0.1.0 x\n", unix.trim_end()),
        format!("{unix}const S: &str = \"\n// >>> nixl-retrofit 0.1.0 x\n// >>> original sha256=0 inserted=1+2\n\";\n"),
        format!("{unix}/*\n// >>> nixl-retrofit 0.1.0 x\n// >>> original sha256=0 inserted=1+2\n*/\n"),
        format!(
            "// SPDX\n\n/// Documented.\n{}",
            call.replace("Result<()>", "anyhow::Result<()>").replace("NixlAgent", "dynamo_memory::nixl::NixlAgent")
        ),
    ] {
        let (patched, report) = applied(&source, &[]);
        assert_eq!(report["status"], "patched", "{source}");
        assert_eq!(
            patched.matches('\n').count() == patched.matches("\r\n").count(),
            source.contains("\r\n"),
            "{patched}"
        );
    }
}

#[test]
fn changed_options_patch_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.rs");
    let source = format!("{HEAD}fn f() {{ NixlAgent::with_backends(\"a\", &[\"UCX\"]); }}\n");
    fs::write(&file, &source).unwrap();
    let apply = |options: &[&str]| {
        let arguments = ["apply", "--smoke=off"].iter().chain(options).map(PathBuf::from).chain([file.clone()]);
        run_json(arguments.collect::<Vec<_>>())
    };
    apply(&[]);
    let (status, document) = apply(&["--allow=UCX"]);
    assert_eq!((status, document["files"][0]["status"].as_str()), (0, Some("patched")), "{document}");
    assert!(fs::read_to_string(&file).unwrap().contains("const ALLOWED: [&str; 1] = [\"UCX\"];"));
    // Edited since: other options cannot be applied, and nothing is reverted.
    let edited = fs::read_to_string(&file).unwrap() + "// more\n";
    fs::write(&file, &edited).unwrap();
    assert_eq!(apply(&["--allow=UCX"]).0, 0);
    assert_eq!(apply(&[]).0, 2);
    let output = run(["revert".as_ref(), file.as_os_str()]);
    assert_eq!(status_and_help(&output), (2, true), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), edited);
}

fn status_and_help(output: &std::process::Output) -> (i32, bool) {
    (common::status(output), stderr(output).contains("\nhelp: "))
}

#[test]
fn bad_sources_are_errors_that_say_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.rs");
    let deep = |open: &str, close: &str| format!("fn f() {{ {}1{} }}", open.repeat(100_000), close.repeat(100_000));
    for (content, told) in [
        (b"// \xff\n".to_vec(), ": not UTF-8 at byte 3"),
        (b"fn f() {}\nfn {}\n".to_vec(), "m.rs:2:4: expected identifier\n    fn {}\n"),
        (b"fn f() {\n    g(;\n}\n".to_vec(), "m.rs:3:1: a bracket or a literal is not closed here, or this character"),
        (deep("(", ")").into_bytes(), "levels deep"),
        (deep("!", "").into_bytes(), "levels deep"),
    ] {
        fs::write(&file, &content).unwrap();
        for command in ["check", "apply"] {
            let output = run([command.as_ref(), file.as_os_str()]);
            assert_eq!(status_and_help(&output), (2, true), "{}", stderr(&output));
            assert!(stderr(&output).contains(told), "{}", stderr(&output));
        }
        assert_eq!(fs::read(&file).unwrap(), content);
    }
}

/// A workspace as Dynamo's repository has it.
fn workspace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let call = format!("{HEAD}pub fn f() {{ NixlAgent::with_backends(\"a\", &[\"UCX\"]); }}\n");
    write("Cargo.toml", "[workspace]\nmembers = [\"lib/*\"]\n[workspace.package]\nversion = \"1.7.0\"\n");
    write("lib/llm/Cargo.toml", "[package]\nname = \"dynamo-llm\"\nversion.workspace = true\n");
    write("lib/llm/src/lib.rs", "mod media;\nmod other;\n#[cfg(test)]\nmod checks;\n");
    write("lib/llm/src/media/mod.rs", "mod rdma;\n#[cfg(test)]\nmod tests;\n");
    write("lib/llm/src/other.rs", "// NixlAgent\n");
    for file in ["src/media/rdma.rs", "src/media/tests.rs", "src/checks.rs", "tests/it.rs", "benches/b.rs"] {
        write(&format!("lib/llm/{file}"), &call);
    }
    write("lib/memory/Cargo.toml", "[package]\nname = \"dynamo-memory\"\nversion = \"1.7.0\"\n");
    write("lib/memory/src/lib.rs", &call);
    folder
}

#[test]
fn a_package_and_a_workspace_lead_to_the_same_source() {
    let folder = workspace();
    let before = snapshot(folder.path());
    let package = folder.path().join("lib/llm");
    for target in [folder.path().to_path_buf(), folder.path().join("Cargo.toml"), package.clone()] {
        let (status, document) = run_json(["check".as_ref(), target.as_os_str()]);
        let files = document["files"].as_array().unwrap();
        assert_eq!((status, files.len()), (1, 1), "{document}");
        assert!(files[0]["path"].as_str().unwrap().ends_with("lib/llm/src/media/rdma.rs"));
        assert_eq!(
            (&files[0]["distribution"], &files[0]["distribution_version"]),
            (&"dynamo-llm".into(), &"1.7.0".into())
        );
    }
    let output = run(["apply".as_ref(), folder.path().as_os_str()]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("smoke skipped: UCX: Rust sources: nothing is built here"), "{}", stdout(&output));
    let changed: Vec<_> = snapshot(folder.path()).into_iter().filter(|entry| !before.contains(entry)).collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(status(&run(["check".as_ref(), package.as_os_str()])), 0);
    assert_eq!(status(&run(["revert".as_ref(), package.as_os_str()])), 0);
    assert_eq!(snapshot(folder.path()), before);
    for test in ["tests/it.rs", "benches/b.rs", "src/media/tests.rs", "src/checks.rs"] {
        let (status, document) = run_json(["check".as_ref(), package.join(test).as_os_str()]);
        assert_eq!((status, &document["files"][0]["status"]), (0, &"nothing-to-patch".into()), "{document}");
    }
}

#[test]
fn a_folder_without_the_package_is_an_error() {
    let folder = workspace();
    let path = folder.path();
    let output = run(["check".as_ref(), path.join("lib/memory").as_os_str()]);
    assert_eq!(status_and_help(&output), (2, true), "{}", stderr(&output));
    fs::write(path.join("lib/llm/src/media/rdma.rs"), "").unwrap();
    for test in ["src/media/tests.rs", "src/checks.rs", "src/other.rs"] {
        fs::write(path.join("lib/llm").join(test), "").unwrap();
    }
    let output = run(["check".as_ref(), path.as_os_str()]);
    assert_eq!(status_and_help(&output), (2, true), "{}", stderr(&output));
    fs::remove_dir_all(path.join("lib/llm")).unwrap();
    assert_eq!(status_and_help(&run(["check".as_ref(), path.as_os_str()])), (2, true));
    fs::write(path.join("Cargo.toml"), "[workspace\n").unwrap();
    assert_eq!(status(&run(["check".as_ref(), path.as_os_str()])), 2);
    let output = run(["apply", "--smoke=require", "nowhere.rs"]);
    assert_eq!(status_and_help(&output), (2, true), "{}", stderr(&output));
}

#[test]
fn the_checksum_of_a_vendored_package_follows() {
    let folder = workspace();
    let package = folder.path().join("lib/llm");
    let source = package.join("src/media/rdma.rs");
    let sha256 = |path: &Path| {
        let output = Command::new("sha256sum").arg(path).output().unwrap();
        stdout(&output).split(' ').next().unwrap().to_string()
    };
    let sums = package.join(".cargo-checksum.json");
    let listed =
        |sum: &str| format!("{{\"files\":{{\"a\":\"{sum}\",\"src/media/rdma.rs\":\"{sum}\"}},\"package\":\"0\"}}");
    let original = sha256(&source);
    let before = listed(&original);
    fs::write(&sums, &before).unwrap();
    assert_eq!(status(&run(["apply".as_ref(), "--smoke=off".as_ref(), package.as_os_str()])), 0);
    let patched = sha256(&source);
    let after = fs::read_to_string(&sums).unwrap();
    assert_eq!(after, before.replacen(&original, &patched, 2).replacen(&patched, &original, 1));
    // A run that was killed in between.
    fs::write(&sums, &before).unwrap();
    let (status_, document) = run_json(["check".as_ref(), package.as_os_str()]);
    assert_eq!((status_, &document["files"][0]["status"]), (1, &"unfinished".into()), "{document}");
    assert_eq!(status(&run(["apply".as_ref(), "--smoke=off".as_ref(), package.as_os_str()])), 0);
    assert_eq!(fs::read_to_string(&sums).unwrap(), after);
    assert_eq!(status(&run(["revert".as_ref(), package.as_os_str()])), 0);
    assert_eq!((sha256(&source), fs::read_to_string(&sums).unwrap()), (original, before));
}
