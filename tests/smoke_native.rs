//! The smoke transfer through UCX and libfabric themselves, on real NIXL wheels, as it passes and as it fails.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use common::{lab, nixl};

/// One run of the program.
struct Run {
    status: i32,
    document: Value,
    seconds: f64,
}

impl Run {
    fn of(target: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        let mut command = common::program();
        command.arg("smoke").args(arguments).args(["--output-format", "json"]).arg(target);
        command.env_remove("LD_LIBRARY_PATH").envs(variables.iter().copied());
        let begin = Instant::now();
        let output = command.output().expect("the program starts");
        let document = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", common::stdout(&output), common::stderr(&output)));
        Run { status: common::status(&output), document, seconds: begin.elapsed().as_secs_f64() }
    }

    fn smoke(&self) -> &Value {
        &self.document["smoke"]
    }

    #[track_caller]
    fn passed(&self) -> &Value {
        let smoke = self.smoke();
        assert_eq!((self.status, smoke["status"].as_str()), (0, Some("passed")), "{:#}", self.document);
        assert_eq!((&smoke["verified"], &smoke["engine"]), (&true.into(), &"native".into()), "{:#}", self.document);
        smoke
    }

    #[track_caller]
    fn failed(&self, stage: &str, words: &[&str]) {
        let smoke = self.smoke();
        assert_eq!((self.status, smoke["status"].as_str()), (1, Some("failed")), "{:#}", self.document);
        assert_eq!((&smoke["verified"], &smoke["engine"]), (&false.into(), &"native".into()), "{:#}", self.document);
        assert_eq!(smoke["failure"]["stage"], stage, "{:#}", self.document);
        let text = format!("{} {}", smoke["failure"]["message"], smoke["failure"]["advice"]);
        for word in words {
            assert!(text.contains(word), "'{word}' is missing in: {text}");
        }
    }
}

const UCX: [&str; 4] = ["--backend", "UCX", "--engine", "native"];

/// What all engines are tested for, `select` being the arguments that choose one.
fn faults_are_caught(target: &Path, select: &[&str], variables: &[(&str, &str)]) {
    let run = |arguments: &[&str]| Run::of(target, &[select, arguments].concat(), variables);
    for fault in ["corrupt", "corrupt-read"] {
        for offset in [0u64, 4095, 524_289, 1_048_575] {
            let run = run(&["--size", "1M", "--fault", &format!("{fault}:{offset}")]);
            run.failed("compare", &[&format!("byte {offset} of"), "1 of the message's"]);
        }
    }
    run(&["--fault", "kill"]).failed("transfer", &["target", "SIGKILL"]);
    let hang = run(&["--fault", "hang", "--timeout", "8s"]);
    hang.failed("transfer", &["no result within 8 s", "the target was transferring"]);
    assert!((7.9..12.0).contains(&hang.seconds), "{}", hang.seconds);
}

fn odd_sizes_pass(target: &Path, select: &[&str], variables: &[(&str, &str)]) {
    for (size, iterations) in [("1", "1"), ("10", "4"), ("1000003", "7"), ("1M", "500"), ("8M", "1")] {
        let shape = ["--size", size, "--iterations", iterations];
        Run::of(target, &[select, &shape].concat(), variables).passed();
    }
}

/// A NIXL without a C API: `auto` takes the native engine, and its plugin is looked at.
fn an_old_nixl_passes(version: &str) {
    let run = Run::of(&nixl(version), &["--backend", "UCX"], &[]);
    let smoke = run.passed();
    assert_eq!((&smoke["nixl_version"], &smoke["backend"]), (&version.into(), &"UCX".into()));
    assert_eq!(smoke["bytes"], 128 << 20);
    let fabric = smoke["fabric"].as_str().expect("UCX states what carried the bytes");
    assert!(["shm", "tcp", "ib", "efa"].contains(&fabric), "{fabric}");
    assert!(!smoke["transports"].as_array().unwrap().is_empty());
    let library = &smoke["native_library"];
    assert!(library["path"].as_str().unwrap().contains(".libs/libucp-"), "the bundled one: {library}");
    assert!(library["version"].as_str().unwrap().starts_with("1."), "{library}");
    assert_eq!(smoke["nixl_library"], Value::Null);
    assert!(smoke["plugin"]["path"].as_str().unwrap().ends_with("libplugin_UCX.so"), "{smoke:#}");
    let message = smoke["plugin"]["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("`libplugin_UCX.so` of NIXL {version} would ")), "{message}");
}

#[test]
fn ucx_passes_with_nixl_0_6_1() {
    an_old_nixl_passes("0.6.1");
}

#[test]
fn ucx_passes_with_nixl_0_8_0() {
    an_old_nixl_passes("0.8.0");
}

#[test]
fn ucx_passes_with_nixl_0_9_0() {
    an_old_nixl_passes("0.9.0");
}

#[test]
fn ucx_passes_with_a_nixl_that_has_a_c_api() {
    let run = Run::of(&nixl("1.5.0"), &UCX, &[]);
    let smoke = run.passed();
    assert!(smoke["fabric"].is_string(), "{smoke:#}");
    assert_eq!(smoke["plugin"], Value::Null);
}

/// The same transports as through NIXL, so that a difference between the two results is NIXL's.
#[test]
fn ucx_chooses_as_it_does_for_nixl() {
    let environment = nixl("1.5.0");
    let carried = |engine: &str| {
        let run = Run::of(&environment, &["--backend", "UCX", "--engine", engine, "--size", "8M"], &[]);
        assert_eq!(run.smoke()["engine"], engine);
        (run.smoke()["fabric"].clone(), run.smoke()["transports"].clone())
    };
    assert_eq!(carried("native"), carried("nixl"));
}

#[test]
fn ucx_states_the_fabric_it_is_restricted_to() {
    let run = Run::of(&nixl("0.9.0"), &UCX, &[("UCX_TLS", "tcp")]);
    assert_eq!(run.passed()["fabric"], "tcp", "{:#}", run.document);
}

#[test]
fn ucx_odd_sizes_are_moved_and_compared_too() {
    odd_sizes_pass(&nixl("0.9.0"), &UCX, &[]);
    odd_sizes_pass(&nixl("0.9.0"), &UCX, &[("UCX_TLS", "tcp")]);
}

#[test]
fn ucx_faults_are_caught() {
    faults_are_caught(&nixl("0.9.0"), &UCX, &[]);
    faults_are_caught(&nixl("0.9.0"), &UCX, &[("UCX_TLS", "tcp")]);
}

#[test]
fn ucx_without_a_transport_is_reported_in_its_words() {
    let run = Run::of(&nixl("0.9.0"), &UCX, &[("UCX_TLS", "nonsense")]);
    run.failed("agent", &["`ucp_init_version` returned", "No such device", "UCX_TLS"]);
}

#[test]
fn the_plugin_check_names_what_the_loader_misses() {
    let run = Run::of(&nixl("0.9.0"), &["--backend", "UCX", "--size", "1M"], &[]);
    let plugin = &run.passed()["plugin"];
    let message = plugin["message"].as_str().unwrap();
    if plugin["loads"] == true {
        assert_eq!(message, "`libplugin_UCX.so` of NIXL 0.9.0 would load");
        return;
    }
    assert!(message.contains("libcuda.so.1: cannot open shared object file"), "{message}");
    let warnings = run.smoke()["warnings"].to_string();
    assert!(warnings.contains("would not load"), "{warnings}");

    // With a library of that name it loads: NIXL itself would come this far on a machine with a driver.
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("cuda.c");
    let names = ["CtxGetCurrent", "CtxPopCurrent_v2", "CtxPushCurrent_v2", "CtxSetCurrent", "DeviceGet"];
    let more = ["DeviceGetPCIBusId", "DevicePrimaryCtxRelease_v2", "DevicePrimaryCtxRetain", "PointerGetAttributes"];
    let code: String = names.iter().chain(&more).map(|name| format!("int cu{name}(void) {{ return 3; }}\n")).collect();
    fs::write(&source, code).unwrap();
    let library = folder.path().join("libcuda.so.1");
    assert!(built_well(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(library).arg(&source)));
    let path = [("LD_LIBRARY_PATH", folder.path().to_str().unwrap())];
    let run = Run::of(&nixl("0.9.0"), &["--backend", "UCX", "--size", "1M"], &path);
    assert_eq!(run.passed()["plugin"]["message"], "`libplugin_UCX.so` of NIXL 0.9.0 would load", "{:#}", run.document);
}

fn built_well(command: &mut Command) -> bool {
    command.status().expect("a C compiler, cc").success()
}

#[test]
fn a_plugin_that_is_not_there_is_reported() {
    let empty = tempfile::tempdir().unwrap();
    let folder = empty.path().to_str().unwrap();
    let run = Run::of(&nixl("0.9.0"), &["--backend", "UCX", "--size", "1M", "--plugin-dir", folder], &[]);
    // What Dynamo's NIXL does not ship it cannot use, whatever UCX itself can do.
    assert_eq!((run.status, run.smoke()["failure"]["stage"].as_str()), (1, Some("backend")), "{:#}", run.document);
    assert_eq!(run.smoke()["plugin"]["loads"], false);
    assert!(run.smoke()["plugin"]["message"].as_str().unwrap().ends_with("would not load: no such file"));
}

#[test]
fn the_c_api_cannot_be_asked_of_a_nixl_without_it() {
    let output = common::run(["smoke", "--engine", "nixl", nixl("0.9.0").to_str().unwrap()]);
    assert_eq!(common::status(&output), 2);
    assert!(common::stderr(&output).contains("0.10.1"), "{}", common::stderr(&output));
}

#[test]
fn ucx_twenty_in_a_row_pass() {
    let environment = nixl("0.9.0");
    for _ in 0..20 {
        Run::of(&environment, &[&UCX[..], &["--size", "256K"]].concat(), &[]).passed();
    }
}

/// The wheel impi-rt's libfabric 2.1, with its provider modules beside it.
fn libfabric() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let wheel = lab(&["wheel", "impi-rt", "2021.16.2"]);
        let folder = tempfile::tempdir().unwrap();
        common::python(&["-m", "zipfile", "-e", wheel.to_str().unwrap(), folder.path().to_str().unwrap()]);
        folder
    });
    static LIBRARIES: OnceLock<PathBuf> = OnceLock::new();
    LIBRARIES.get_or_init(|| folder.path().join("impi_rt-2021.16.2.data/data/lib"))
}

fn with_libfabric() -> [(&'static str, &'static str); 2] {
    [("LD_LIBRARY_PATH", libfabric().to_str().unwrap()), ("FI_PROVIDER", "tcp")]
}

const LIBFABRIC: [&str; 4] = ["--backend", "LIBFABRIC", "--engine", "native"];

/// NIXL 0.8.0's own plugin has no tcp: only the native engine can show what the fabric does.
fn libfabric_passes(version: &str) -> Run {
    let run = Run::of(&nixl(version), &LIBFABRIC, &with_libfabric());
    let smoke = run.passed();
    assert_eq!((&smoke["fabric"], &smoke["backend"]), (&"tcp".into(), &"LIBFABRIC".into()), "{smoke:#}");
    assert!(smoke["transports"][0].as_str().unwrap().starts_with("tcp/"), "{smoke:#}");
    assert_eq!(smoke["bytes"], 128 << 20);
    assert_eq!(smoke["native_library"]["version"], "2.1");
    let path = smoke["native_library"]["path"].as_str().unwrap();
    assert!(Path::new(path).starts_with(libfabric()), "{path}");
    run
}

#[test]
fn libfabric_passes_with_nixl_0_6_1() {
    let run = libfabric_passes("0.6.1");
    assert_eq!(run.smoke()["plugin"]["loads"], false, "it needs a CUDA runtime: {:#}", run.document);
}

#[test]
fn libfabric_passes_with_nixl_0_8_0() {
    libfabric_passes("0.8.0");
}

#[test]
fn libfabric_passes_with_nixl_0_9_0() {
    let run = libfabric_passes("0.9.0");
    assert!(run.smoke()["plugin"]["path"].as_str().unwrap().ends_with("libplugin_LIBFABRIC.so"));
}

#[test]
fn libfabric_passes_with_a_nixl_that_has_a_c_api() {
    assert_eq!(libfabric_passes("1.5.0").smoke()["plugin"], Value::Null);
}

#[test]
fn libfabric_odd_sizes_are_moved_and_compared_too() {
    odd_sizes_pass(&nixl("0.9.0"), &LIBFABRIC, &with_libfabric());
}

#[test]
fn libfabric_faults_are_caught() {
    faults_are_caught(&nixl("0.9.0"), &LIBFABRIC, &with_libfabric());
}

/// NIXL's own plugin fails there in the same way: nothing is wrong with NIXL then.
#[test]
fn libfabric_on_the_loopback_alone_is_reported() {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", env!("CARGO_BIN_EXE_nixl-retrofit"), "smoke"]).args(LIBFABRIC);
    command.arg(nixl("0.9.0")).args(["--output-format", "json"]).envs(with_libfabric());
    let output = command.output().expect("unshare starts");
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", common::stderr(&output)));
    let run = Run { status: common::status(&output), document, seconds: 0.0 };
    run.failed("backend", &["`fi_enable` returned", "Bad file descriptor", "loopback", "veth"]);
}

#[test]
fn libfabric_without_a_known_provider_is_reported() {
    let variables = [with_libfabric()[0], ("FI_PROVIDER", "shm")];
    let run = Run::of(&nixl("0.9.0"), &LIBFABRIC, &variables);
    run.failed("agent", &["none of the providers cxi, efa, tcp, sockets", "FI_PROVIDER"]);
}

#[test]
fn a_missing_libfabric_is_reported_in_the_loaders_words() {
    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("libfabric.so.1"), "").unwrap();
    let variables = [("LD_LIBRARY_PATH", empty.path().to_str().unwrap())];
    let run = Run::of(&nixl("0.9.0"), &LIBFABRIC, &variables);
    run.failed("load", &["libfabric.so.1", "too short"]);
}

#[test]
fn libfabric_fifty_in_a_row_pass() {
    let environment = nixl("0.9.0");
    for _ in 0..20 {
        Run::of(&environment, &[&LIBFABRIC[..], &["--size", "256K"]].concat(), &with_libfabric()).passed();
    }
}
