//! `doctor`: what would be loaded, whether it can be, and what can work.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::*;
use serde_json::Value;
use tempfile::TempDir;

/// A NIXL in miniature, with libraries that the compiler makes: plugins for UCX and LIBFABRIC, a UCX with the modules that
/// matter, a libibverbs of its own; and what they need from outside in a folder of its own.
struct Miniature {
    root: TempDir,
}

/// The libraries of the wheel, below the site-packages folder: path, needs, and the folders where they are found.
const WHEEL: [(&str, &[&str], &str); 11] = [
    (".nixl_cu12.mesonpy.libs/libnixl.so", &[], "$ORIGIN"),
    (".nixl_cu12.mesonpy.libs/libserdes.so", &[], "$ORIGIN"),
    (".nixl_cu12.mesonpy.libs/libnixl_capi.so", &["libnixl.so"], "$ORIGIN"),
    ("nixl_cu12.libs/libucs-1.so.0", &[], "$ORIGIN"),
    ("nixl_cu12.libs/libibverbs-1.so.1", &[], "$ORIGIN"),
    ("nixl_cu12.libs/libucp-1.so.0", &["libucs-1.so.0"], "$ORIGIN"),
    ("nixl_cu12.libs/ucx/libuct_ib.so.0", &["libucs-1.so.0", "libibverbs-1.so.1"], "$ORIGIN/.."),
    ("nixl_cu12.libs/ucx/libuct_ib_efa.so.0", &["libuct_ib.so.0", "libefa.so.1"], "$ORIGIN:$ORIGIN/.."),
    ("nixl_cu12.libs/ucx/libuct_cuda.so.0", &["libucs-1.so.0", "libcuda.so.1"], "$ORIGIN/.."),
    (
        ".nixl_cu12.mesonpy.libs/plugins/libplugin_UCX.so",
        &["libserdes.so", "libucp-1.so.0", "libucs-1.so.0"],
        "$ORIGIN/..:$ORIGIN/../../nixl_cu12.libs",
    ),
    (
        ".nixl_cu12.mesonpy.libs/plugins/libplugin_LIBFABRIC.so",
        &["libserdes.so", "libfabric.so.1", "libcuda.so.1"],
        "$ORIGIN/..:$ORIGIN/../../nixl_cu12.libs",
    ),
];

/// What it needs from outside. libefa is linked against the system's libibverbs, as rdma-core's is.
const OUTSIDE: [(&str, &[&str]); 3] =
    [("libibverbs.so.1", &[]), ("libefa.so.1", &["libibverbs.so.1"]), ("libfabric.so.1", &[])];

impl Miniature {
    /// All of it, with one libibverbs: the one outside is a link to the wheel's.
    fn whole() -> Miniature {
        let it = Miniature { root: tempfile::tempdir().unwrap() };
        it.write("site/nixl/__init__.py", "");
        for file in ["nixl_cu12/__init__.py", "nixl_cu12-1.5.0.dist-info/METADATA"] {
            it.write(&format!("site/{file}"), "Metadata-Version: 2.1\nName: nixl-cu12\nVersion: 1.5.0\n");
        }
        // Libraries for the linker alone: only a node has a driver.
        it.compile("linker/libcuda.so.1", "libcuda.so.1", "", &[], "");
        for (path, needs) in OUTSIDE {
            it.compile(&format!("outside/{path}"), path, "", needs, "");
        }
        for (path, needs, runpath) in WHEEL {
            let name = Path::new(path).file_name().unwrap().to_str().unwrap();
            it.compile(&format!("site/{path}"), name, "", needs, runpath);
        }
        fs::remove_file(it.path("outside/libibverbs.so.1")).unwrap();
        symlink(it.path("site/nixl_cu12.libs/libibverbs-1.so.1"), it.path("outside/libibverbs.so.1")).unwrap();
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// A library with that code, linked against others.
    fn compile(&self, path: &str, soname: &str, code: &str, needs: &[&str], rpath: &str) {
        let (target, source) = (self.path(path), self.path("source.c"));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&source, code).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined"]);
        cc.arg(format!("-Wl,-soname,{soname}")).arg("-o").arg(&target).arg(&source);
        if !rpath.is_empty() {
            cc.arg(format!("-Wl,--disable-new-dtags,-rpath,{rpath}"));
        }
        cc.args(needs.iter().map(|name| self.find(name)));
        let output = cc.output().expect("a C compiler is needed for this test");
        assert!(output.status.success(), "{path}: {}", stderr(&output));
    }

    fn find(&self, name: &str) -> PathBuf {
        let folders =
            ["outside", "linker", "site/.nixl_cu12.mesonpy.libs", "site/nixl_cu12.libs", "site/nixl_cu12.libs/ucx"];
        let found = folders.iter().map(|folder| self.path(folder).join(name)).find(|path| path.exists());
        found.unwrap_or_else(|| panic!("{name} is not made yet"))
    }

    /// The program, with the folder outside in `LD_LIBRARY_PATH`.
    fn doctor(&self, arguments: &[&str]) -> (i32, Value) {
        self.doctor_with(arguments, &[])
    }

    fn doctor_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, Value) {
        let mut command = program();
        command.arg("doctor").arg(self.path("site")).args(arguments).args(["--output-format", "json"]);
        command.env("LD_LIBRARY_PATH", self.path("outside")).envs(variables.iter().copied());
        let output = command.output().unwrap();
        let document = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", stdout(&output), stderr(&output)));
        (status(&output), document)
    }
}

/// The identifiers of the findings.
fn identifiers(document: &Value) -> BTreeSet<String> {
    let findings = document["findings"].as_array().unwrap_or_else(|| panic!("{document}"));
    findings.iter().map(|finding| finding["id"].as_str().unwrap().to_string()).collect()
}

/// Exactly these findings, and the exit status that follows.
fn assert_found((status, document): (i32, Value), expected: &[&str]) -> Value {
    let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
    assert_eq!(identifiers(&document), expected, "{}", serde_json::to_string_pretty(&document["findings"]).unwrap());
    assert_eq!(status, i32::from(!expected.is_empty()), "{document}");
    document
}

/// `works here`, … of a backend and fabric.
fn outcome<'a>(document: &'a Value, backend: &str, fabric: &str) -> &'a str {
    let verdicts = document["doctor"]["verdicts"].as_array().unwrap();
    let found = verdicts.iter().find(|it| it["backend"] == backend && it["fabric"] == fabric);
    found.unwrap_or_else(|| panic!("{verdicts:?}"))["outcome"].as_str().unwrap()
}

#[test]
fn a_whole_installation_has_nothing_wrong() {
    let document = assert_found(Miniature::whole().doctor(&[]), &[]);
    assert_eq!(outcome(&document, "UCX", "tcp"), "here");
    if !has_driver() {
        assert_eq!(outcome(&document, "UCX", "cuda"), "on-a-node");
        assert_eq!(outcome(&document, "LIBFABRIC", "tcp"), "on-a-node");
    }
    let nixl = &document["doctor"]["components"][0];
    assert_eq!((nixl["kind"].as_str(), nixl["version"].as_str()), (Some("nixl"), Some("1.5.0")));
}

#[test]
fn a_missing_library_is_named_with_its_package() {
    let it = Miniature::whole();
    fs::remove_file(it.path("outside/libfabric.so.1")).unwrap();
    let (status, document) = it.doctor(&["--backend", "LIBFABRIC"]);
    assert_eq!(status, 1);
    // The machine may have a libfabric of its own.
    if identifiers(&document).contains("library-missing") {
        let finding = &document["findings"][0];
        assert_eq!(finding["message"], "`libplugin_LIBFABRIC.so` needs `libfabric.so.1`, which is not found");
        assert!(finding["cure"][0].as_str().unwrap().starts_with("apt-get install -y libfabric1"), "{finding}");
        assert_eq!(outcome(&document, "LIBFABRIC", "efa"), "cannot");
    }
    assert_found(it.doctor(&["--backend", "UCX"]), &[]);
}

#[test]
fn a_library_where_the_loader_does_not_look_is_pointed_at() {
    let it = Miniature::whole();
    it.compile("site/nvidia/cuda_runtime/lib/libcudart.so.12", "libcudart.so.12", "", &[], "");
    let cudart = it.path("site/nvidia/cuda_runtime/lib/libcudart.so.12");
    fs::copy(&cudart, it.path("linker/libcudart.so.12")).unwrap();
    let (plugin, needs, rpath) = WHEEL[9];
    it.compile(&format!("site/{plugin}"), "libplugin_UCX.so", "", &[needs, &["libcudart.so.12"]].concat(), rpath);
    let document = assert_found(it.doctor(&["--backend", "UCX"]), &["library-missing"]);
    let folder = it.path("site/nvidia/cuda_runtime/lib").display().to_string();
    let cure = document["findings"][0]["cure"][0].as_str().unwrap();
    assert_eq!(cure, format!("ENV LD_LIBRARY_PATH={folder}:$LD_LIBRARY_PATH    # `libcudart.so.12` is there"));
}

#[test]
fn a_symbol_version_that_is_lacking_is_named() {
    let it = Miniature::whole();
    it.write("map", "FABRIC_1.10 { global: fi_getinfo; };\n");
    let map = format!("-Wl,--version-script={}", it.path("map").display());
    let source = it.path("source.c");
    fs::write(&source, "void fi_getinfo(void) {}\n").unwrap();
    let build = |target: &str, code: &str, arguments: &[&str]| {
        fs::write(&source, code).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined", "-o"]);
        cc.arg(it.path(target)).arg(&source).args(arguments);
        assert!(cc.status().unwrap().success(), "{target}");
    };
    build("linker/libfabric.so.1", "void fi_getinfo(void) {}\n", &["-Wl,-soname,libfabric.so.1", &map]);
    let linked = it.path("linker/libfabric.so.1").display().to_string();
    let plugin = "site/.nixl_cu12.mesonpy.libs/plugins/libplugin_LIBFABRIC.so";
    build(plugin, "void fi_getinfo(void); void create(void) { fi_getinfo(); }\n", &[&linked]);
    it.write("map", "FABRIC_1.8 { global: fi_getinfo; };\n");
    build("outside/libfabric.so.1", "void fi_getinfo(void) {}\n", &["-Wl,-soname,libfabric.so.1", &map]);
    let document = assert_found(it.doctor(&["--backend", "LIBFABRIC"]), &["library-too-old"]);
    let message = document["findings"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("`libplugin_LIBFABRIC.so` needs `FABRIC_1.10`, which `"), "{message}");
    assert!(document["findings"][0]["cure"][0].as_str().unwrap().contains("NIXL 1.5.0"), "{document}");
}

#[test]
fn a_symbol_that_no_library_defines_is_named() {
    let it = Miniature::whole();
    let (plugin, needs, rpath) = WHEEL[9];
    let code = "void serdes_of_another_release(void); void create(void) { serdes_of_another_release(); }\n";
    it.compile(&format!("site/{plugin}"), "libplugin_UCX.so", code, needs, rpath);
    let document = assert_found(it.doctor(&["--backend", "UCX"]), &["symbol-undefined"]);
    let message = document["findings"][0]["message"].as_str().unwrap();
    assert_eq!(message, "`libplugin_UCX.so` needs the symbol `serdes_of_another_release`, which no library defines");
}

#[test]
fn a_damaged_library_is_named() {
    let it = Miniature::whole();
    let library = it.path("site/.nixl_cu12.mesonpy.libs/libserdes.so");
    let bytes = fs::read(&library).unwrap();
    fs::write(&library, &bytes[..bytes.len() / 2]).unwrap();
    let document = assert_found(it.doctor(&["--backend", "UCX"]), &["library-damaged"]);
    assert_eq!(document["findings"][0]["path"], library.canonicalize().unwrap().display().to_string());
    assert_eq!(outcome(&document, "UCX", "tcp"), "cannot");
}

#[test]
fn a_library_for_another_processor_is_named() {
    let it = Miniature::whole();
    let library = it.path("site/.nixl_cu12.mesonpy.libs/libserdes.so");
    let mut bytes = fs::read(&library).unwrap();
    // e_machine: PowerPC, 64 bits.
    bytes[18..20].copy_from_slice(&21u16.to_le_bytes());
    fs::write(&library, &bytes).unwrap();
    let document = assert_found(it.doctor(&["--backend", "UCX"]), &["library-missing"]);
    let message = document["findings"][0]["message"].as_str().unwrap();
    assert!(message.contains("which is not found for this processor (`"), "{message}");
    let plugin = it.path("site/.nixl_cu12.mesonpy.libs/plugins/libplugin_UCX.so");
    let mut bytes = fs::read(&plugin).unwrap();
    bytes[18..20].copy_from_slice(&21u16.to_le_bytes());
    fs::write(&plugin, &bytes).unwrap();
    assert_found(it.doctor(&["--backend", "UCX"]), &["library-other-machine"]);
}

#[test]
fn a_plugin_folder_that_leads_nowhere_is_found_by_its_rpath() {
    let it = Miniature::whole();
    let folder = it.path("moved/plugins");
    fs::create_dir_all(&folder).unwrap();
    let plugin = "libplugin_UCX.so";
    fs::copy(it.path("site/.nixl_cu12.mesonpy.libs/plugins").join(plugin), folder.join(plugin)).unwrap();
    let folder = folder.display().to_string();
    let found = it.doctor_with(&["--backend", "UCX", "--fabric", "rdma"], &[("NIXL_PLUGIN_DIR", &folder)]);
    let document = assert_found(found, &["library-missing"]);
    assert_eq!(document["findings"][0]["message"], "`libplugin_UCX.so` needs `libserdes.so`, which is not found");
}

#[test]
fn a_backend_without_a_plugin_is_named() {
    let it = Miniature::whole();
    fs::remove_file(it.path("site/.nixl_cu12.mesonpy.libs/plugins/libplugin_LIBFABRIC.so")).unwrap();
    let document = assert_found(it.doctor(&["--backend", "LIBFABRIC"]), &["plugin-not-shipped"]);
    assert_eq!(outcome(&document, "LIBFABRIC", "tcp"), "cannot");
    assert_found(it.doctor(&["--backend", "UCX"]), &[]);
}

/// Real libfabrics: Intel MPI's has tcp and shm; Debian 12's has efa, and does not list it without a device.
#[test]
fn a_libfabric_without_efa_is_a_fault_also_in_a_build() {
    let it = Miniature::whole();
    let replace = |folder: &Path, names: &[&str]| {
        for name in names {
            let _ = fs::remove_file(it.path("outside").join(name));
            fs::copy(folder.join(name), it.path("outside").join(name)).unwrap();
        }
    };
    replace(&lab(&["libfabric"]), &["libfabric.so.1", "libtcp-fi.so", "libshm-fi.so"]);
    let document = assert_found(it.doctor(&["--backend", "LIBFABRIC"]), &["libfabric-built-without-efa"]);
    let finding = &document["findings"][0];
    assert_eq!(finding["severity"], "error");
    assert!(finding["message"].as_str().unwrap().ends_with("without the efa provider: it has tcp, shm"), "{finding}");
    assert_eq!(outcome(&document, "LIBFABRIC", "efa"), "cannot");
    assert_ne!(outcome(&document, "LIBFABRIC", "tcp"), "cannot");
    assert_eq!(assert_found(it.doctor(&[]), &["libfabric-built-without-efa"])["findings"][0]["severity"], "warning");
    assert_found(it.doctor(&["--backend", "UCX"]), &[]);
    assert_found(it.doctor(&["--backend", "LIBFABRIC", "--no-load"]), &[]);

    for module in ["libtcp-fi.so", "libshm-fi.so"] {
        fs::remove_file(it.path("outside").join(module)).unwrap();
    }
    let unpacked = |package: &str, folder: &str| lab(&["debian", package]).join(folder);
    let packages = [
        ("libfabric1", "libfabric.so.1"),
        ("libpsm2-2", "libpsm2.so.2"),
        ("libpsm-infinipath1", "libinfinipath.so.4"),
        ("libibverbs1", "libibverbs.so.1"),
        ("ibverbs-providers", "libefa.so.1"),
        ("librdmacm1", "librdmacm.so.1"),
        ("libnl-route-3-200", "libnl-route-3.so.200"),
    ];
    packages.iter().for_each(|(package, name)| replace(&unpacked(package, "usr/lib/x86_64-linux-gnu"), &[name]));
    replace(&unpacked("libnl-3-200", "lib/x86_64-linux-gnu"), &["libnl-3.so.200"]);
    let psm = unpacked("libpsm-infinipath1", "usr/lib/libpsm1").join("libpsm_infinipath.so.1.16");
    fs::copy(psm, it.path("outside/libpsm_infinipath.so.1")).unwrap();
    let document = assert_found(it.doctor(&["--backend", "LIBFABRIC"]), &[]);
    let mut libraries = document["doctor"]["libraries"].as_array().unwrap().iter();
    let providers = &libraries.find(|it| it["role"] == "libfabric").unwrap()["providers"];
    assert!(providers.as_array().unwrap().contains(&"tcp".into()), "{document}");
    let components = document["doctor"]["components"].to_string();
    assert!(components.contains("; efa where there is a device"), "{components}");
}

#[test]
fn two_copies_of_libibverbs_are_found() {
    let it = Miniature::whole();
    let copy = it.path("outside/libibverbs.so.1");
    fs::remove_file(&copy).unwrap();
    it.compile("outside/libibverbs.so.1", "libibverbs.so.1", "", &[], "");
    let document = assert_found(it.doctor(&[]), &["two-libibverbs"]);
    assert_eq!(outcome(&document, "UCX", "efa"), "cannot");
    assert_eq!(outcome(&document, "UCX", "tcp"), "here");
    assert_found(it.doctor(&["--backend", "LIBFABRIC"]), &[]);
}

/// The interface between libibverbs and its drivers is private, and changes with rdma-core.
#[test]
fn a_libefa_of_another_rdma_core_is_named() {
    let it = Miniature::whole();
    let source = it.path("source.c");
    let build = |target: &str, soname: &str, code: &str, arguments: &[&str]| {
        fs::write(&source, code).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined", "-o"]);
        cc.arg(it.path(target)).arg(&source).arg(format!("-Wl,-soname,{soname}")).args(arguments);
        assert!(cc.status().unwrap().success(), "{target}");
    };
    let verbs = |target: &str, soname: &str, version: &str| {
        it.write("map", &format!("IBVERBS_PRIVATE_{version} {{ global: verbs_register_driver; }};\n"));
        let map = format!("-Wl,--version-script={}", it.path("map").display());
        build(target, soname, "void verbs_register_driver(void) {}\n", &[&map]);
    };
    let own = "site/nixl_cu12.libs/libibverbs-1.so.1";
    let driver = |version: &str| {
        verbs("linker/libibverbs.so.1", "libibverbs.so.1", version);
        let linked = it.path("linker/libibverbs.so.1").display().to_string();
        let code = "void verbs_register_driver(void); void start(void) { verbs_register_driver(); }\n";
        build("outside/libefa.so.1", "libefa.so.1", code, &[&linked]);
    };
    verbs(own, "libibverbs-1.so.1", "34");
    driver("34");
    assert_found(it.doctor(&["--fabric", "efa", "--backend", "UCX"]), &[]);
    driver("59");
    let document = assert_found(it.doctor(&["--fabric", "efa", "--backend", "UCX"]), &["library-too-old"]);
    let finding = &document["findings"][0];
    let message = finding["message"].as_str().unwrap();
    assert!(message.starts_with("`libefa.so.1` needs `IBVERBS_PRIVATE_59`, which `"), "{message}");
    assert!(finding["cure"].to_string().contains("both of one rdma-core"), "{finding}");
    assert_eq!((outcome(&document, "UCX", "efa"), finding["severity"].as_str()), ("cannot", Some("error")));
}

#[test]
fn libraries_that_misbehave_end_only_their_own_process() {
    let constructor = |code: &str| format!("__attribute__((constructor)) static void start(void) {{ {code} }}\n");
    let headers = "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n";
    let cases = [
        ("exit(0);", "exit status: 0"),
        ("abort();", "signal: 6"),
        ("for (;;) puts(\"loaded\");", "wrote more than"),
        ("puts(\"{\\\"loaded\\\":null}\"); fflush(stdout); kill(getpid(), 9);", "signal: 9"),
    ];
    for (code, expected) in cases {
        let it = Miniature::whole();
        let (plugin, needs, rpath) = WHEEL[9];
        let code = format!("{headers}#include <signal.h>\n{}", constructor(code));
        it.compile(&format!("site/{plugin}"), "libplugin_UCX.so", &code, needs, rpath);
        let found = it.doctor(&["--backend", "UCX", "--fabric", "rdma"]);
        let document = assert_found(found, &["loading-ends-the-process"]);
        let message = document["findings"][0]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{code}: {message}");
    }
    // A fork that holds the pipes does not hold the program.
    let it = Miniature::whole();
    let (plugin, needs, rpath) = WHEEL[9];
    let code = format!("{headers}{}", constructor("if (fork() == 0) { sleep(60); _exit(0); }"));
    it.compile(&format!("site/{plugin}"), "libplugin_UCX.so", &code, needs, rpath);
    let started = std::time::Instant::now();
    assert_found(it.doctor(&["--backend", "UCX", "--fabric", "rdma"]), &[]);
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}

#[test]
fn without_loading_no_library_runs() {
    let it = Miniature::whole();
    let (plugin, needs, rpath) = WHEEL[9];
    let code = "#include <stdlib.h>\n__attribute__((constructor)) static void start(void) { exit(3); }\n";
    it.compile(&format!("site/{plugin}"), "libplugin_UCX.so", code, needs, rpath);
    let document = assert_found(it.doctor(&["--no-load", "--backend", "UCX", "--fabric", "rdma"]), &[]);
    assert!(document["doctor"]["libraries"].as_array().unwrap().iter().all(|it| it["loaded"].is_null()));
}

#[test]
fn a_pin_that_does_not_hold_is_found() {
    let it = Miniature::whole();
    let metadata =
        "Name: ai-dynamo\nVersion: 1.1.0\nRequires-Dist: nixl-cu12[extra]<1.1.0 ; extra == \"vllm\"\n\nText\n";
    it.write("site/ai_dynamo-1.1.0.dist-info/METADATA", metadata);
    let document = assert_found(it.doctor(&[]), &["pin-unsatisfied"]);
    let message = "ai-dynamo 1.1.0 asks for nixl-cu12<1.1.0, and nixl-cu12 1.5.0 is installed";
    assert_eq!(document["findings"][0]["message"], message);
}

#[test]
fn settings_that_contradict_each_other_are_found() {
    let it = Miniature::whole();
    it.write("site/sglang/srt/environ.py", "");
    let variable = "SGLANG_DISAGGREGATION_NIXL_BACKEND";
    let both = [("NIXL_BACKEND", "LIBFABRIC"), (variable, "UCX")];
    let document = assert_found(it.doctor_with(&[], &both), &["settings-disagree"]);
    assert!(document["findings"][0]["message"].as_str().unwrap().contains(variable), "{document}");
    assert_found(it.doctor_with(&[], &[(variable, "LIBFABRIK")]), &["setting-names-no-plugin"]);
    assert_found(it.doctor_with(&[], &[("MX_NIXL_BACKEND", "UCX")]), &["setting-read-by-nobody"]);
    assert_found(it.doctor_with(&[], &[(variable, "UCX")]), &[]);
}

#[test]
fn what_a_node_has_and_this_machine_lacks_is_wrong_only_where_it_is_judged_as_a_node() {
    if has_driver() {
        return;
    }
    let it = Miniature::whole();
    assert_found(it.doctor(&["--fabric", "efa"]), &[]);
    let (status, document) = it.doctor(&["--fabric", "efa", "--expect-node"]);
    assert_eq!(status, 1);
    assert_eq!(identifiers(&document), ["machine-lacks".to_string()].into());
}

#[test]
fn every_finding_has_a_page() {
    let text = run(["doctor", "--explain", "two-libibverbs"]);
    assert_eq!(status(&text), 0);
    assert!(stdout(&text).starts_with("# two-libibverbs\n"));
    let help = "\nhelp: run `nixl-retrofit doctor --explain` to list all of them\n";
    for (id, near) in [("nope", ""), ("two-libibverb", "; similar: `two-libibverbs`")] {
        let unknown = run(["doctor", "--explain", id]);
        assert_eq!(status(&unknown), 2);
        assert_eq!(stderr(&unknown), format!("nixl-retrofit: error: no finding is called `{id}`{near}{help}"));
    }
    let list = run(["doctor", "--explain"]);
    assert_eq!(status(&list), 0);
    let listed: Vec<String> = stdout(&list).lines().map(|line| line.split(' ').next().unwrap().to_string()).collect();
    let pages = fs::read_dir("docs/findings").unwrap().flatten();
    let mut pages: Vec<String> =
        pages.map(|page| page.path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    pages.sort();
    assert_eq!(listed, pages);
    // Every identifier in the source is one of those.
    let is_source = |path: &Path| path.extension().is_some_and(|it| it == "rs");
    for (path, bytes) in snapshot(Path::new("src/advice")).into_iter().filter(|(path, _)| is_source(path)) {
        let source = String::from_utf8(bytes).unwrap();
        for id in source.lines().filter_map(|line| line.trim().strip_prefix("id: \"")?.strip_suffix("\",")) {
            assert!(Path::new("docs/findings").join(format!("{id}.md")).exists(), "{}: {id}", path.display());
        }
    }
}

/// What was read from the folders is told all the same.
#[test]
fn an_environment_whose_python_cannot_run_is_found() {
    let it = Miniature::whole();
    it.write("venv/pyvenv.cfg", "home = /nonexistent\ninclude-system-site-packages = false\nversion = 3.12.4\n");
    for folder in ["venv/bin", "venv/lib/python3.12"] {
        fs::create_dir_all(it.path(folder)).unwrap();
    }
    symlink(it.path("site"), it.path("venv/lib/python3.12/site-packages")).unwrap();
    let python = it.path("venv/bin/python3");
    symlink("/nonexistent/python3", &python).unwrap();
    let message = format!("`{}` cannot be started: No such file or directory (os error 2)", python.display());
    for command in ["doctor", "smoke"] {
        for (option, expected) in [(None, true), (Some("--no-exec"), false)] {
            let mut arguments = vec![command.into(), it.path("venv").into_os_string()];
            arguments.extend(option.map(Into::into));
            let (status, document) = run_json(arguments);
            assert_eq!(status, 1, "{document:#}");
            let findings = document["findings"].as_array().unwrap();
            let found = findings.iter().find(|finding| finding["id"] == "interpreter-broken");
            assert_eq!(found.map(|it| &it["message"]), expected.then_some(&message.clone().into()), "{document:#}");
        }
    }
}

#[test]
fn the_help_for_a_wrong_target_names_what_the_command_takes() {
    for command in ["doctor", "smoke"] {
        let output = run([command, "/no/such"]);
        assert_eq!(status(&output), 2);
        let help = "help: pass a virtual environment, a Python interpreter, a site-packages folder or a NIXL installation as \
                    TARGET\n";
        let fact = "nixl-retrofit: error: /no/such: cannot be accessed: No such file or directory (os error 2)\n";
        assert_eq!(stderr(&output), format!("{fact}{help}"));
    }
}

/// The miniature with Dynamo, whose compiled side finds NIXL.
fn with_dynamo() -> Miniature {
    let it = Miniature::whole();
    copy_tree(&fixture("site-packages"), &it.path("site"));
    symlink(it.path("site/.nixl_cu12.mesonpy.libs/libnixl_capi.so"), it.path("outside/libnixl_capi.so")).unwrap();
    it
}

#[test]
fn a_dynamo_that_ignores_the_variable_is_found_until_it_is_patched() {
    let it = with_dynamo();
    let document = assert_found(it.doctor(&[]), &[]);
    assert_eq!(document["files"][0]["status"], "would-patch");
    let variables = [("NIXL_BACKEND", "LIBFABRIC,UCX")];
    assert_found(it.doctor_with(&[], &variables), &["variable-not-read"]);
    let site = it.path("site").display().to_string();
    let applied = run(["apply", "--smoke", "off", &site]);
    assert_eq!(status(&applied), 0, "{}", stderr(&applied));
    let document = assert_found(it.doctor_with(&[], &variables), &[]);
    assert_eq!(document["files"][0]["status"], "already-patched");
    assert_found(
        it.doctor_with(&[], &[("NIXL_BACKEND", "LIBFABRIC;UCX")]),
        &["backend-names-ignored", "setting-names-no-plugin"],
    );
}

#[test]
fn a_compiled_side_that_does_not_find_nixl_is_told() {
    let it = with_dynamo();
    fs::remove_file(it.path("outside/libnixl_capi.so")).unwrap();
    assert_found(it.doctor(&[]), &["capi-not-on-loader-path"]);
    assert_found(it.doctor(&["--backend", "UCX"]), &[]);
}

#[test]
fn a_variable_that_demands_hardware_is_a_note_in_a_build_and_an_error_on_a_node() {
    let it = Miniature::whole();
    let variables = [("FI_PROVIDER", "efa"), ("UCX_NET_DEVICES", "mlx5_9:1")];
    let (status, document) = it.doctor_with(&[], &variables);
    assert_eq!((status, identifiers(&document)), (0, ["variable-demands-hardware".to_string()].into()), "{document}");
    let (status, document) = it.doctor_with(&["--expect-node", "--fabric", "efa"], &variables);
    assert_eq!(status, 1);
    assert!(identifiers(&document).contains("variable-demands-hardware"), "{document}");
}

#[test]
fn a_configuration_that_nixl_cannot_read_is_found() {
    let it = Miniature::whole();
    it.write("nixl.cfg", "no = toml = here\n");
    let file = it.path("nixl.cfg").display().to_string();
    let found = it.doctor_with(&[], &[("NIXL_CONFIG_FILE", &file)]);
    assert_found(found, &["nixl-configuration-unreadable"]);
}

/// The miniature with a second libibverbs, whose wheel has a RECORD.
fn with_two_libibverbs() -> Miniature {
    let it = Miniature::whole();
    fs::remove_file(it.path("outside/libibverbs.so.1")).unwrap();
    it.compile("outside/libibverbs.so.1", "libibverbs.so.1", "int second;", &[], "");
    let own = "nixl_cu12.libs/libibverbs-1.so.1";
    let line = record_line(&it.path("site").join(own), own);
    it.write("site/nixl_cu12-1.5.0.dist-info/RECORD", &format!("{line}\nnixl_cu12/__init__.py,,\n"));
    it
}

/// RECORD's line for a file, computed by Python as installers do.
fn record_line(file: &Path, name: &str) -> String {
    let script = "import base64, hashlib, sys\n\
        data = open(sys.argv[1], 'rb').read()\n\
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()\n\
        print(f'{sys.argv[2]},sha256={digest},{len(data)}')";
    python(&["-c", script, &file.to_string_lossy(), name]).trim().to_string()
}

#[test]
fn two_copies_of_libibverbs_are_made_one_and_two_again() {
    let it = with_two_libibverbs();
    let before = snapshot(&it.path("site"));
    let (own, record) =
        (it.path("site/nixl_cu12.libs/libibverbs-1.so.1"), it.path("site/nixl_cu12-1.5.0.dist-info/RECORD"));
    let document = assert_found(it.doctor(&["--fix", "two-libibverbs"]), &[]);
    assert_eq!(document["doctor"]["repairs"][0]["id"], "two-libibverbs");
    assert_eq!(own.canonicalize().unwrap(), it.path("outside/libibverbs.so.1").canonicalize().unwrap());
    let line = record_line(&own, "nixl_cu12.libs/libibverbs-1.so.1");
    assert!(fs::read_to_string(&record).unwrap().starts_with(&line), "{line}");
    // Again: nothing to do.
    let document = assert_found(it.doctor(&["--fix", "two-libibverbs"]), &[]);
    assert!(document["doctor"]["repairs"][0]["steps"][0].as_str().unwrap().starts_with("nothing to do"), "{document}");
    assert_found(it.doctor(&["--undo"]), &["two-libibverbs"]);
    assert_eq!(snapshot(&it.path("site")), before);
    let (status, document) = it.doctor(&["--undo"]);
    assert_eq!((status, document["error"].as_str().unwrap().contains("nothing to undo")), (2, true), "{document}");
}

#[test]
fn a_repair_that_cannot_be_made_changes_nothing() {
    let it = with_two_libibverbs();
    // A hash that cannot be updated.
    let record = it.path("site/nixl_cu12-1.5.0.dist-info/RECORD");
    fs::write(&record, "nixl_cu12.libs/libibverbs-1.so.1,blake2b_8=abc,1\n").unwrap();
    let before = snapshot(&it.path("site"));
    let (status, document) = it.doctor(&["--fix", "two-libibverbs"]);
    assert_eq!(status, 2, "{document}");
    assert_eq!(snapshot(&it.path("site")), before);
    let (status, document) = it.doctor(&["--fix", "library-missing"]);
    assert_eq!(status, 2);
    assert!(document["error"].as_str().unwrap().contains("those with one are two-libibverbs"), "{document}");
}

/// The miniature with a patched Dynamo, with the RECORD from before and from after that.
fn with_patched_dynamo() -> (Miniature, Vec<u8>, Vec<u8>) {
    let it = with_dynamo();
    let record = || fs::read(it.path("site").join(RECORD)).unwrap();
    let before = record();
    let site = it.path("site").display().to_string();
    assert_eq!(status(&run(["apply", "--smoke", "off", &site])), 0);
    let after = record();
    (it, before, after)
}

#[test]
fn a_record_that_is_out_of_date_is_mended_and_restored() {
    let (it, before, after) = with_patched_dynamo();
    let record = it.path("site").join(RECORD);
    assert_found(it.doctor(&[]), &[]);
    fs::write(&record, &before).unwrap();
    let stale = snapshot(&it.path("site"));
    let document = assert_found(it.doctor(&[]), &["record-out-of-date"]);
    assert_eq!(document["findings"][0]["severity"], "warning");
    assert_eq!(snapshot(&it.path("site")), stale);

    let fix = || it.doctor(&["--fix", "record-out-of-date"]);
    let document = assert_found(fix(), &[]);
    assert_eq!(fs::read(&record).unwrap(), after);
    let steps = &document["doctor"]["repairs"][0]["steps"];
    let shown = steps[0].as_str().unwrap();
    assert!(
        shown.contains(&format!("\n-{SOURCE},sha256=")) && shown.contains(&format!("\n+{SOURCE},sha256=")),
        "{shown}"
    );
    let document = assert_found(fix(), &[]);
    assert!(document["doctor"]["repairs"][0]["steps"][0].as_str().unwrap().starts_with("nothing to do"), "{document}");

    assert_found(it.doctor(&["--undo"]), &["record-out-of-date"]);
    assert_eq!(snapshot(&it.path("site")), stale);

    // What somebody else wrote since is not lost.
    assert_found(fix(), &[]);
    let mut edited = fs::read(&record).unwrap();
    edited.extend_from_slice(b"dynamo/later.py,,\n");
    fs::write(&record, &edited).unwrap();
    let (status, document) = it.doctor(&["--undo"]);
    assert_eq!((status, fs::read(&record).unwrap()), (2, edited), "{document}");
    assert!(document["error"].as_str().unwrap().contains("changed since `doctor --fix`"), "{document}");
}

#[test]
fn a_row_of_what_somebody_else_wrote_is_only_reported() {
    let (it, _, _) = with_patched_dynamo();
    let module = it.path("site").join(SOURCE);
    // After the marker's end: inside the file, and none of this program's.
    let edited = fs::read_to_string(&module).unwrap().replace("class Connection", "# by hand\nclass Connection");
    fs::write(&module, edited).unwrap();
    let before = snapshot(&it.path("site"));
    let (_, document) = it.doctor(&["--fix", "record-out-of-date"]);
    let findings = document["findings"].as_array().unwrap();
    let finding =
        findings.iter().find(|finding| finding["id"] == "record-out-of-date").unwrap_or_else(|| panic!("{document}"));
    assert_eq!(finding["severity"], "note");
    assert!(document["doctor"]["repairs"][0]["steps"][0].as_str().unwrap().starts_with("nothing to do"), "{document}");
    assert_eq!(snapshot(&it.path("site")), before);
}

#[test]
fn a_record_that_cannot_be_mended_stays() {
    let (it, before, _) = with_patched_dynamo();
    let record = it.path("site").join(RECORD);
    let text = String::from_utf8(before).unwrap();
    let line = text.lines().find(|line| line.starts_with(SOURCE)).unwrap();
    fs::write(&record, text.replace(line, &format!("{SOURCE},blake2b_8=abc,1"))).unwrap();
    let before = snapshot(&it.path("site"));
    let (status, document) = it.doctor(&["--fix", "record-out-of-date"]);
    assert_eq!(status, 2, "{document}");
    assert!(document["error"].as_str().unwrap().contains("unsupported hash `blake2b_8=abc`"), "{document}");
    assert_eq!(snapshot(&it.path("site")), before);
}

/// Runs a script as root that sees a copy of `/etc`: $1 is the program, $2 the miniature's folder.
fn with_own_etc(it: &Miniature, script: &str) {
    let program = program();
    let setup = "cp -a /etc \"$2/etc\"; mount --bind \"$2/etc\" /etc; mkdir -p /var/cache/ldconfig; \
                 mount -t tmpfs tmpfs /var/cache/ldconfig; export LD_LIBRARY_PATH=\"$2/outside\"; \
                 doctor() { status=0; \"$program\" doctor \"$site\" --output-format json \"$@\" || status=$?; return $status; }; \
                 program=$1; site=$2/site; cd \"$2\";";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "bash", "-euc", &format!("{setup} {script}"), "bash"])
        .arg(program.get_program())
        .arg(it.root.path())
        .output()
        .expect("unshare (util-linux) is needed for this test");
    assert_eq!(status(&output), 0, "this test needs root: {}\n{}", stdout(&output), stderr(&output));
}

#[test]
fn the_efa_installer_is_named_with_its_version() {
    let it = with_dynamo();
    with_own_etc(
        &it,
        "doctor --no-load > without.json || true; mount -t tmpfs tmpfs /opt; mkdir /opt/amazon; \
         printf '# EFA installer version: 1.38.0\n# Packages installed:\nlibfabric-aws-bin_1.22.0amzn4.0\n' \
             > /opt/amazon/efa_installed_packages; doctor --no-load > with.json || true",
    );
    let installers = |name: &str| {
        let document: Value = serde_json::from_slice(&fs::read(it.path(name)).unwrap()).unwrap();
        let components = document["doctor"]["components"].as_array().unwrap().clone();
        let found = components.iter().filter(|component| component["kind"] == "efa-installer");
        found.map(|component| component["version"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(installers("without.json"), Vec::<Value>::new());
    assert_eq!(installers("with.json"), ["1.38.0"]);
}

#[test]
fn the_loader_is_told_of_the_c_api_and_forgets_it_again() {
    let it = with_dynamo();
    fs::remove_file(it.path("outside/libnixl_capi.so")).unwrap();
    let before = (snapshot(&it.path("site")), fs::read("/etc/ld.so.cache").unwrap());
    with_own_etc(
        &it,
        "doctor > before.json || true; doctor --fix capi-not-on-loader-path > fixed.json || true; \
         cp /etc/ld.so.conf.d/nixl-retrofit.conf written; /sbin/ldconfig -p > cache; doctor > after.json || true; \
         doctor --fix capi-not-on-loader-path > again.json || true; doctor --undo > undone.json || true; \
         ! [ -e /etc/ld.so.conf.d/nixl-retrofit.conf ]; /sbin/ldconfig -p > forgotten; ls /etc/ld.so.conf.d > left",
    );
    let document = |name: &str| -> Value { serde_json::from_slice(&fs::read(it.path(name)).unwrap()).unwrap() };
    let found = |name: &str| identifiers(&document(name)).into_iter().collect::<Vec<_>>();
    assert_eq!(found("before.json"), ["capi-not-on-loader-path"]);
    assert_eq!(found("fixed.json"), Vec::<String>::new());
    assert_eq!(found("after.json"), Vec::<String>::new());
    assert_eq!(found("undone.json"), ["capi-not-on-loader-path"]);
    let folder = it.path("site/.nixl_cu12.mesonpy.libs").canonicalize().unwrap().display().to_string();
    let written = fs::read_to_string(it.path("written")).unwrap();
    assert!(
        written.starts_with("# Written by nixl-retrofit") && written.ends_with(&format!("\n{folder}\n")),
        "{written}"
    );
    let capi = format!("{folder}/libnixl_capi.so");
    assert!(fs::read_to_string(it.path("cache")).unwrap().contains(&capi));
    assert!(!fs::read_to_string(it.path("forgotten")).unwrap().contains(&capi));
    assert!(!fs::read_to_string(it.path("left")).unwrap().contains("nixl-retrofit"));
    let again = document("again.json");
    assert!(again["doctor"]["repairs"][0]["steps"][0].as_str().unwrap().starts_with("nothing to do"), "{again}");
    assert_eq!((snapshot(&it.path("site")), fs::read("/etc/ld.so.cache").unwrap()), before);
}

#[test]
fn a_loader_that_cannot_be_told_leaves_no_file() {
    let it = with_dynamo();
    fs::remove_file(it.path("outside/libnixl_capi.so")).unwrap();
    with_own_etc(
        &it,
        "mount --bind \"$(type -P false)\" \"$(readlink -f /sbin/ldconfig)\"; status=0; \
         doctor --fix capi-not-on-loader-path > failed.json || true; echo $status > failed; \
         ! [ -e /etc/ld.so.conf.d/nixl-retrofit.conf ]; umount \"$(readlink -f /sbin/ldconfig)\"; \
         echo /somebody/else > /etc/ld.so.conf.d/nixl-retrofit.conf; doctor --fix capi-not-on-loader-path > taken.json || true; \
         echo $status > taken; doctor --undo > undone.json || true; echo $status > undone; cp /etc/ld.so.conf.d/nixl-retrofit.conf kept",
    );
    for name in ["failed", "taken", "undone"] {
        assert_eq!(fs::read_to_string(it.path(name)).unwrap(), "2\n", "{name}");
        let document: Value = serde_json::from_slice(&fs::read(it.path(&format!("{name}.json"))).unwrap()).unwrap();
        assert!(document["error"].is_string(), "{document}");
    }
    assert_eq!(fs::read_to_string(it.path("kept")).unwrap(), "/somebody/else\n");
}

#[test]
fn nothing_is_written_without_fix() {
    let it = with_two_libibverbs();
    let before = snapshot(it.root.path());
    assert_found(it.doctor(&[]), &["two-libibverbs"]);
    assert_eq!(snapshot(it.root.path()), before);
}

#[test]
fn the_other_end_is_held_against_this_one() {
    let it = Miniature::whole();
    let (_, report) = it.doctor(&[]);
    let other = it.path("other.json");
    let compared = |report: &Value, variables: &[(&str, &str)]| {
        fs::write(&other, report.to_string()).unwrap();
        it.doctor_with(&["--compare", &other.display().to_string()], variables)
    };
    let document = assert_found(compared(&report, &[]), &[]);
    let common = &document["doctor"]["comparison"]["common"];
    assert_eq!(common[0], "UCX", "{document}");
    let mut older = report.clone();
    older["doctor"]["components"][0]["version"] = "1.3.2".into();
    let document = assert_found(compared(&older, &[]), &["nixl-versions-differ"]);
    assert_eq!(document["findings"][0]["severity"], "error");
    assert_found(compared(&report, &[("NIXL_BACKEND", "LIBFABRIC")]), &["ends-choose-differently"]);
    let mut unable = report.clone();
    for verdict in unable["doctor"]["verdicts"].as_array_mut().unwrap() {
        verdict["outcome"] = "cannot".into();
    }
    assert_found(compared(&unable, &[]), &["no-common-backend"]);
    for wrong in ["{}", "no JSON", "[]"] {
        fs::write(&other, wrong).unwrap();
        let (status, document) = it.doctor(&["--compare", &other.display().to_string()]);
        assert_eq!(status, 2, "{document}");
        assert!(document["error"].as_str().unwrap().contains("help: write it with"), "{document}");
    }
}

#[test]
fn a_folder_without_nixl_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (status, document) = run_json([Path::new("doctor"), folder.path()]);
    assert_eq!(status, 2);
    assert!(document["error"].as_str().unwrap().contains("no NIXL is installed there"), "{document}");
}

/// NVIDIA's driver libraries in name: every function that the libraries of an environment want, and that fails.
fn driver_without_a_device(environment: &Path, folder: &Path) {
    let script = "find \"$1\" -name '*.so*' -type f -path '*nixl_cu*' -exec nm -D --undefined-only {} + 2>/dev/null \
        | sed -n 's/^ *U \\(cu[A-Z][A-Za-z0-9_]*\\|nvml[A-Za-z0-9_]*\\)\\(@.*\\)\\?$/int \\1(void) { return 100; }/p' | sort -u";
    let output = Command::new("sh").args(["-c", script, "sh"]).arg(environment).output().unwrap();
    let source = folder.join("driver.c");
    fs::write(&source, &output.stdout).unwrap();
    for name in ["libcuda.so.1", "libnvidia-ml.so.1"] {
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"]).arg(folder.join(name)).arg(&source);
        assert!(cc.arg(format!("-Wl,-soname,{name}")).status().unwrap().success());
    }
}

/// Real wheels: what the files say is what the loader says, for each plugin and module.
#[test]
fn the_files_and_the_loader_agree_about_every_wheel() {
    let stubs = tempfile::tempdir().unwrap();
    let extra = format!("{}:{}", lab(&["libfabric"]).display(), stubs.path().display());
    let mut judged = 0;
    for version in ["0.6.1", "0.8.0", "0.9.0", "0.10.1", "1.0.1", "1.3.2", "1.5.0", "1.5.1"] {
        let environment = nixl(version);
        driver_without_a_device(&environment, stubs.path());
        for library_path in ["", &extra] {
            let mut command = program();
            command.arg("doctor").arg(&environment).args(["--output-format", "json"]);
            let output = command.env("LD_LIBRARY_PATH", library_path).output().unwrap();
            let document: Value = serde_json::from_slice(&output.stdout).unwrap();
            for library in document["doctor"]["libraries"].as_array().unwrap_or_else(|| panic!("{version}: {document}"))
            {
                let is_whole = library["gaps"].as_array().unwrap().is_empty();
                assert_eq!(Some(is_whole), library["loaded"].as_bool(), "NIXL {version}, {library_path}: {library:#}");
                judged += 1;
            }
        }
    }
    assert!(judged > 250, "{judged}");
}

/// While an environment's Python starts, what its files say is looked at. A Python that says something else is believed.
#[test]
fn what_the_interpreter_answers_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("bin")).unwrap();
    fs::create_dir_all(path("lib/python3.11/site-packages")).unwrap();
    fs::write(path("pyvenv.cfg"), "home = /usr/bin\nversion = 3.11.2\ninclude-system-site-packages = false\n").unwrap();
    let libraries = fs::read_dir(nixl("1.5.0").join("lib")).unwrap().flatten();
    let elsewhere = libraries.map(|entry| entry.path().join("site-packages")).find(|site| site.is_dir()).unwrap();
    let answer = format!("{}\\n3.11.2\\n{}\\n\\n", path("bin/python3").display(), elsewhere.display());
    let source = path("python3.c");
    fs::write(&source, format!("#include <stdio.h>\nint main(void) {{ fputs(\"{answer}\", stdout); return 0; }}\n"))
        .unwrap();
    assert!(Command::new("cc").arg("-o").arg(path("bin/python3")).arg(&source).status().unwrap().success());
    let doctor = |options: &[&str]| {
        let mut command = program();
        command.arg("doctor").args(options).args(["--no-load", "--output-format", "json"]).arg(folder.path());
        let output = command.output().unwrap();
        (common::status(&output), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let (status, document) = doctor(&[]);
    let nixl = document["doctor"]["components"].as_array().unwrap_or_else(|| panic!("{document:#}"));
    let is_elsewhere = |component: &Value| Path::new(component["path"].as_str().unwrap_or("")).starts_with(&elsewhere);
    assert!(status < 2 && nixl.iter().any(is_elsewhere), "{document:#}");
    let (status, document) = doctor(&["--no-exec"]);
    assert_eq!(status, 2, "{document:#}");
}
