//! The smoke transfer through real NIXL wheels, as it passes and in every way it can be made to fail.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use common::{MARK, link_tree, new_mark, nixl, processes, wait_for};

fn site_packages(environment: &Path) -> PathBuf {
    let lib = fs::read_dir(environment.join("lib")).unwrap().flatten().map(|entry| entry.path().join("site-packages"));
    lib.into_iter().find(|path| path.is_dir()).expect("a site-packages folder")
}

/// One run of the program, and what it has left behind.
struct Run {
    status: i32,
    document: Value,
    seconds: f64,
}

impl Run {
    fn of(target: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        let mark = new_mark();
        let mut command = smoke(target, arguments, &mark);
        command.envs(variables.iter().copied());
        let begin = Instant::now();
        let output = command.output().expect("the program starts");
        let seconds = begin.elapsed().as_secs_f64();
        assert_eq!(processes(&mark), Vec::<u32>::new(), "processes were left behind");
        Run { status: common::status(&output), document: document(&output), seconds }
    }

    fn smoke(&self) -> &Value {
        &self.document["smoke"]
    }

    fn failure(&self, key: &str) -> &str {
        self.smoke()["failure"][key].as_str().unwrap_or_else(|| panic!("no failure.{key}: {:#}", self.document))
    }

    #[track_caller]
    fn passed(&self) -> &Value {
        let smoke = self.smoke();
        assert_eq!((self.status, smoke["status"].as_str()), (0, Some("passed")), "{:#}", self.document);
        assert_eq!(smoke["verified"], true, "{:#}", self.document);
        assert_eq!(smoke["failure"], Value::Null);
        smoke
    }

    #[track_caller]
    fn failed(&self, stage: &str, words: &[&str]) {
        let smoke = self.smoke();
        assert_eq!((self.status, smoke["status"].as_str()), (1, Some("failed")), "{:#}", self.document);
        assert_eq!(smoke["verified"], false, "{:#}", self.document);
        assert_eq!(self.failure("stage"), stage, "{:#}", self.document);
        assert!(!self.failure("advice").is_empty());
        for word in words {
            let text = format!("{} {}", self.failure("message"), self.failure("advice"));
            assert!(text.contains(word), "'{word}' is missing in: {text}");
        }
    }
}

fn smoke(target: &Path, arguments: &[&str], mark: &str) -> Command {
    let mut command = common::program();
    command.arg("smoke").args(arguments).args(["--output-format", "json"]).arg(target).env(MARK, mark);
    if !arguments.contains(&"--backend") {
        command.args(["--backend", "UCX"]);
    }
    command
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", common::stdout(output), common::stderr(output)))
}

fn passes(version: &str) {
    let run = Run::of(&nixl(version), &[], &[]);
    let smoke = run.passed();
    assert_eq!(smoke["engine"], "nixl");
    assert_eq!(smoke["backend"], "UCX");
    assert_eq!(smoke["nixl_version"], version);
    assert_eq!(smoke["bytes"], 128 << 20);
    assert!(smoke["latency_us"].as_f64().unwrap() > 0.0);
    assert!(smoke["bandwidth_gbit_s"].as_f64().unwrap() > 0.0);
    assert!(smoke["setup_ms"].as_f64().unwrap() < smoke["duration_ms"].as_f64().unwrap());
    let fabric = smoke["fabric"].as_str().expect("UCX states what carried the bytes");
    assert!(["shm", "tcp", "ib", "efa"].contains(&fabric), "{fabric}");
    assert!(!smoke["transports"].as_array().unwrap().is_empty());
}

#[test]
fn passes_with_nixl_1_0_1() {
    passes("1.0.1");
}

#[test]
fn passes_with_nixl_1_3_2() {
    passes("1.3.2");
}

#[test]
fn passes_with_nixl_1_5_0() {
    passes("1.5.0");
}

#[test]
fn passes_with_nixl_1_5_1() {
    passes("1.5.1");
}

#[test]
fn odd_sizes_are_moved_and_compared_too() {
    for (size, iterations) in [("1", "1"), ("10", "4"), ("1000003", "7"), ("1M", "500")] {
        let run = Run::of(&nixl("1.5.0"), &["--size", size, "--iterations", iterations], &[]);
        run.passed();
    }
}

/// This payload takes longer than the interval at which its progress is told: without optimization, half a minute.
#[test]
fn a_large_payload_shows_how_far_it_has_come_on_a_terminal() {
    let program = common::program().get_program().to_string_lossy().into_owned();
    let environment = nixl("1.5.0");
    let line = format!("TERM=xterm {program} smoke --backend UCX --size 1G --timeout 5m {}", environment.display());
    let output = Command::new("script").args(["-qec", &line, "/dev/null"]).output();
    let shown = common::stdout(&output.expect("script (util-linux) is needed for this test"));
    assert!(shown.contains("passed"), "{shown}");
    for stage in ["registering memory", "comparing"] {
        let label = format!("{stage}, ");
        let percent = shown.split(&label).skip(1).filter_map(|rest| rest.split(" %").next());
        let percents: Vec<u64> = percent.filter_map(|text| text.parse().ok()).collect();
        assert!(percents.iter().any(|&percent| (1..100).contains(&percent)), "{stage}: {percents:?}\n{shown}");
    }
}

/// The most memory that one of the two workers held, in KiB, as the kernel counted it.
fn peak(size: &str, engine: &str) -> u64 {
    let script = "import resource, subprocess, sys\n\
        subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n\
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let run = smoke(&nixl("1.5.0"), &["--size", size, "--engine", engine], &new_mark());
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(run.get_program()).args(run.get_args());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => python.env(name, value),
            None => python.env_remove(name),
        };
    }
    let output = python.output().expect("python3 is needed for this test");
    common::stdout(&output).trim().parse().unwrap_or_else(|_| panic!("{}", common::stderr(&output)))
}

#[test]
fn a_worker_holds_the_payload_once_and_little_else() {
    for engine in ["nixl", "native"] {
        let payload = peak("64M", engine) - peak("4K", engine);
        assert!(payload <= (64 + 4) << 10, "{engine}: {payload} KiB more than with 4 KiB");
    }
}

#[test]
fn a_corrupted_byte_is_caught_wherever_it_is() {
    let environment = nixl("1.5.0");
    for fault in ["corrupt", "corrupt-read"] {
        for offset in [0u64, 4095, 524_289, 1_048_575] {
            let fault = format!("{fault}:{offset}");
            let run = Run::of(&environment, &["--size", "1M", "--fault", &fault], &[]);
            run.failed("compare", &[&format!("byte {offset} of"), "1 of the message's"]);
        }
    }
}

#[test]
fn a_byte_that_is_not_moved_is_caught() {
    for (fault, operation, before) in [
        ("short-write", "written into", "none of them was ever written"),
        ("short-read", "read from", "all of them are what the initiator had written before"),
    ] {
        let run = Run::of(&nixl("1.5.0"), &["--size", "1M", "--iterations", "1", "--fault", fault], &[]);
        run.failed("compare", &[operation, "byte 1048575 of", "1 of the message's", before]);
    }
}

#[test]
fn a_killed_worker_is_reported() {
    Run::of(&nixl("1.5.0"), &["--fault", "kill"], &[]).failed("transfer", &["target", "SIGKILL", "memory"]);
}

#[test]
fn an_exit_inside_a_worker_is_reported() {
    // Where the machine has RDMA's libraries, UCX's module for them crashes in its exit handler.
    let variables = [("UCX_MODULES", "^ib")];
    Run::of(&nixl("1.5.0"), &["--fault", "exit"], &variables).failed("transfer", &["target", "exit status 1"]);
}

#[test]
fn a_crash_inside_a_worker_is_reported() {
    Run::of(&nixl("1.5.0"), &["--fault", "abort"], &[]).failed("transfer", &["target", "SIGABRT"]);
}

#[test]
fn a_hanging_worker_ends_at_the_deadline() {
    let run = Run::of(&nixl("1.5.0"), &["--fault", "hang", "--timeout", "8s"], &[]);
    run.failed("transfer", &["no result within 8 s", "the target was transferring"]);
    assert!((7.9..12.0).contains(&run.seconds), "{}", run.seconds);
}

#[test]
fn a_deadline_of_a_millisecond_is_kept() {
    let run = Run::of(&nixl("1.5.0"), &["--timeout", "1ms"], &[]);
    run.failed("load", &["no result within 1 ms", "--timeout"]);
    assert!(run.seconds < 2.0, "{}", run.seconds);
}

#[test]
fn quiet_does_not_hide_a_failed_transfer() {
    let environment = nixl("1.5.0");
    let target = environment.to_str().unwrap();
    let output = common::run(["smoke", "--quiet", "--timeout", "1ms", target]);
    assert_eq!((common::status(&output), common::stdout(&output)), (1, String::new()));
    let text = common::stderr(&output);
    assert!(text.contains("no result within 1 ms") && text.contains("what to do: "), "{text}");
    let output = common::run(["smoke", "--quiet", "--backend", "UCX", "--size", "1M", target]);
    assert_eq!(
        (common::status(&output), common::stdout(&output), common::stderr(&output)),
        (0, String::new(), String::new())
    );
}

#[test]
fn a_flood_of_output_does_no_harm() {
    let run = Run::of(&nixl("1.5.0"), &["--fault", "flood"], &[]);
    run.passed();
    assert!(run.document.to_string().len() < 10_000);
}

#[test]
fn an_unknown_fault_is_a_usage_error() {
    let output = smoke(Path::new("/"), &["--fault", "explode"], "0").output().unwrap();
    assert_eq!(common::status(&output), 2);
    assert!(common::stderr(&output).contains("corrupt-read"), "{}", common::stderr(&output));
}

#[test]
fn an_empty_plugin_folder_is_reported() {
    let empty = tempfile::tempdir().unwrap();
    let folder = empty.path().to_str().unwrap();
    for version in ["1.0.1", "1.5.0"] {
        let run = Run::of(&nixl(version), &["--plugin-dir", folder], &[]);
        run.failed("backend", &["UCX", folder, "contains no plugin", "--plugin-dir"]);
        Run::of(&nixl(version), &[], &[("NIXL_PLUGIN_DIR", folder)]).failed("backend", &[folder]);
    }
}

#[test]
fn a_backend_that_cannot_load_is_reported_in_the_loaders_words() {
    for version in ["1.0.1", "1.5.0"] {
        let run = Run::of(&nixl(version), &["--backend", "LIBFABRIC"], &[("LD_LIBRARY_PATH", "")]);
        run.failed("backend", &["LIBFABRIC", "the plugin cannot be loaded", "cannot open shared object file"]);
    }
}

/// A copy of an installed NIXL, by hard links, with one library cut to a part of its length.
fn damaged(version: &str, library: &str, keep: impl Fn(usize) -> usize) -> (TempDir, PathBuf) {
    let whole = site_packages(&nixl(version));
    let folder = tempfile::tempdir_in(whole.ancestors().nth(3).unwrap()).unwrap();
    link_tree(&whole, folder.path());
    let path = folder.path().join(library);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{library}: {error}"));
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes[..keep(bytes.len())]).unwrap();
    let site = folder.path().to_path_buf();
    (folder, site)
}

const LIBRARIES: &str = ".nixl_cu13.mesonpy.libs";

#[test]
fn a_truncated_c_api_is_reported() {
    let library = format!("{LIBRARIES}/libnixl_capi.so");
    let (_folder, site) = damaged("1.5.0", &library, |length| length / 2);
    Run::of(&site, &[], &[]).failed("load", &["libnixl_capi.so", "truncated", "reinstall this NIXL"]);
    let (_folder, site) = damaged("1.5.0", &library, |_| 0);
    Run::of(&site, &[], &[]).failed("load", &["libnixl_capi.so", "empty", "reinstall this NIXL"]);
}

#[test]
fn a_truncated_core_library_is_reported() {
    let (_folder, site) = damaged("1.5.0", &format!("{LIBRARIES}/libnixl.so"), |length| length / 2);
    Run::of(&site, &[], &[]).failed("load", &["libnixl.so", "truncated"]);
}

#[test]
fn a_truncated_plugin_is_reported() {
    for version in ["1.0.1", "1.5.0"] {
        let plugin = format!("{LIBRARIES}/plugins/libplugin_UCX.so");
        let (_folder, site) = damaged(version, &plugin, |length| length / 2);
        let run = Run::of(&site, &[], &[]);
        let stage = run.failure("stage").to_string();
        assert!(["agent", "backend"].contains(&stage.as_str()), "{stage}");
        run.failed(&stage, &["libplugin_UCX.so", "truncated"]);
    }
}

#[test]
fn the_fabric_is_the_one_that_ucx_states() {
    let environment = nixl("1.5.0");
    let run = Run::of(&environment, &["--size", "1M"], &[("UCX_TLS", "tcp")]);
    let smoke = run.passed();
    assert_eq!(smoke["fabric"], "tcp", "{smoke:#}");
    let quiet = [("UCX_LOG_LEVEL", "fatal"), ("UCX_LOG_FILE", "/dev/null"), ("UCX_PROTO_INFO", "n")];
    let run = Run::of(&environment, &["--size", "1M"], &quiet);
    let smoke = run.passed();
    assert!(smoke["fabric"].is_string(), "{smoke:#}");
    let changes: Vec<&str> = smoke["environment"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for change in ["UCX_LOG_LEVEL=info", "UCX_LOG_FILE=stderr", "UCX_PROTO_INFO=y"] {
        assert!(changes.contains(&change), "{changes:?}");
    }
}

#[test]
fn a_fabric_that_nobody_states_is_not_named() {
    // UCX's older protocols state only lanes, and those are of two kinds where cma is allowed.
    let variables = [("UCX_PROTO_ENABLE", "n"), ("UCX_TLS", "tcp,cma")];
    let run = Run::of(&nixl("1.0.1"), &["--size", "1M"], &variables);
    let smoke = run.passed();
    if smoke["transports"].to_string().contains("cma") {
        assert_eq!(smoke["fabric"], Value::Null, "{smoke:#}");
        assert_eq!(smoke["warnings"].as_array().unwrap().len(), 1, "{smoke:#}");
    } else {
        assert_eq!(smoke["fabric"], "tcp", "{smoke:#}");
    }
}

#[test]
fn metadata_servers_are_out_of_reach() {
    let variables = [("NIXL_ETCD_ENDPOINTS", "http://127.0.0.1:1"), ("NIXL_ETCD_NAMESPACE", "x")];
    let run = Run::of(&nixl("1.5.0"), &["--size", "1M"], &variables);
    let changes = run.passed()["environment"].to_string();
    assert!(changes.contains("-NIXL_ETCD_ENDPOINTS") && changes.contains("-NIXL_ETCD_NAMESPACE"), "{changes}");

    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".nixl.cfg"), "NIXL_ETCD_ENDPOINTS = \"http://127.0.0.1:1\"\n").unwrap();
    let variables = [("HOME", home.path().to_str().unwrap())];
    let run = Run::of(&nixl("1.5.0"), &["--size", "1M"], &variables);
    let smoke = run.passed();
    assert!(smoke["environment"].to_string().contains("NIXL_CONFIG_FILE=/dev/null"), "{smoke:#}");
    assert!(smoke["warnings"][0].as_str().unwrap().contains(".nixl.cfg"), "{smoke:#}");
}

#[test]
fn workers_end_with_their_supervisor() {
    let environment = nixl("1.5.0");
    for signal in ["-KILL", "-TERM", "-INT"] {
        let mark = new_mark();
        let mut command = common::with_default_signals(&smoke(&environment, &["--fault", "hang"], &mark));
        let mut supervisor = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("two workers", || processes(&mark).len() == 3);
        std::thread::sleep(Duration::from_millis(300));
        let killed = Command::new("kill").args([signal, &supervisor.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert!(supervisor.wait().unwrap().signal().is_some());
        wait_for("the workers' end", || processes(&mark).is_empty());
    }
}

#[test]
fn a_worker_started_by_hand_says_what_it_is() {
    let output = common::program().arg("__smoke-worker").stdin(Stdio::null()).output().unwrap();
    assert_eq!(common::status(&output), 2);
    assert!(common::stderr(&output).contains("nixl-retrofit smoke"), "{}", common::stderr(&output));
}
