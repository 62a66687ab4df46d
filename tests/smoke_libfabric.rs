//! The smoke transfer over LIBFABRIC, through real NIXL wheels and a real libfabric, in a network of the test's own.
//!
//! Each run has a network namespace to itself: with a pair of interfaces libfabric's tcp provider can be used, with the
//! loopback alone it cannot. That needs root; without it these tests fail and say so.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use common::{MARK, has_driver, lab, new_mark, nixl, processes, wait_for};

/// Shell commands: a second interface beside the loopback.
const NETWORK_UP: &str = "ip link set lo up; ip link add v0 type veth peer name v1; ip addr add 10.9.0.1/24 dev v0; \
                          ip link set v0 up; ip link set v1 up;";
/// Shell commands: for this process alone, no libfabric in the system's folder, where it would be found before those of
/// wheels.
const HIDE_LIBFABRIC: &str = "for folder in /usr/lib/*-linux-gnu; do [ -e \"$folder/libfabric.so.1\" ] || continue; \
                              mount -t tmpfs hidden /mnt; mkdir /mnt/upper /mnt/work; \
                              mount -t overlay -o \"lowerdir=$folder,upperdir=/mnt/upper,workdir=/mnt/work\" hidden \
                              \"$folder\"; rm \"$folder\"/libfabric.so.1*; done;";

/// A network that libfabric's tcp provider can use.
fn network() -> String {
    format!("{NETWORK_UP} exec \"$@\"")
}

/// One that it cannot.
fn loopback() -> String {
    "ip link set lo up; exec \"$@\"".into()
}

fn site_packages(version: &str) -> PathBuf {
    let python = fs::read_dir(nixl(version).join("lib")).unwrap().flatten().next().expect("lib/pythonX.Y");
    python.path().join("site-packages")
}

/// The stand-in as build.rs has made it, in the part of a driver or of the CUDA toolkit's stub.
fn driver() -> PathBuf {
    let program = common::program();
    let builds = Path::new(program.get_program()).parent().unwrap().join("build");
    let mut found: Vec<PathBuf> = fs::read_dir(builds).unwrap().flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.join("out/libcuda.so.1").is_file());
    found.pop().expect("build.rs has run").join("out/libcuda.so.1")
}

fn libfabric() -> String {
    lab(&["libfabric"]).display().to_string()
}

/// The command, in a network namespace of its own.
fn inside(network: &str, program: &Command) -> Command {
    assert!(rustix::process::geteuid().is_root(), "a network namespace of its own needs root: run these tests as root");
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "--propagation", "private", "bash", "-ec", network, "bash"])
        .arg(program.get_program())
        .args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

fn smoke(network: &str, version: &str, arguments: &[&str], mark: &str) -> Command {
    let mut program = common::program();
    program.args(["smoke", "--size", "4M"]).args(arguments).arg(nixl(version));
    if !arguments.contains(&"--backend") {
        program.args(["--backend", "LIBFABRIC"]);
    }
    program.env(MARK, mark).env_remove("LD_LIBRARY_PATH").env_remove("LD_PRELOAD");
    inside(network, &program)
}

/// One run, and what it has left behind: nothing.
struct Run {
    status: i32,
    smoke: Value,
    /// The whole report's.
    findings: Value,
    words: String,
}

impl Run {
    fn of(network: &str, version: &str, arguments: &[&str]) -> Run {
        let mark = new_mark();
        let mut command = smoke(network, version, arguments, &mark);
        let before = leavings();
        let output = command.args(["--output-format", "json"]).output().expect("unshare starts");
        assert_eq!(processes(&mark), Vec::<u32>::new(), "processes were left behind");
        assert_eq!(leavings(), before, "files were left behind");
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", common::stdout(&output), common::stderr(&output)));
        let smoke = document["smoke"].clone();
        let words = format!("{} {}", smoke["failure"]["message"], smoke["failure"]["advice"]);
        Run { status: common::status(&output), smoke, findings: document["findings"].clone(), words }
    }

    #[track_caller]
    fn passed(&self) {
        let state = (self.status, self.smoke["status"].as_str(), self.smoke["verified"].as_bool());
        assert_eq!(state, (0, Some("passed"), Some(true)), "{:#}", self.smoke);
    }

    #[track_caller]
    fn failed(&self, stage: &str, words: &[&str]) {
        assert_eq!((self.status, self.smoke["status"].as_str()), (1, Some("failed")), "{:#}", self.smoke);
        assert_eq!(self.smoke["failure"]["stage"], stage, "{:#}", self.smoke);
        for word in words {
            assert!(self.words.contains(word), "'{word}' is missing in: {}", self.words);
        }
    }

    fn environment(&self) -> String {
        self.smoke["environment"].to_string()
    }
}

/// What could be left: shared memory of libfabric's providers, and a stand-in in a file.
fn leavings() -> Vec<PathBuf> {
    let mut paths = entries(Path::new("/dev/shm"), &["fi_", "efa", "nixl"]);
    paths.extend(entries(&std::env::temp_dir(), &["libcuda"]));
    paths.sort();
    paths
}

fn entries(folder: &Path, marks: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| marks.iter().any(|mark| entry.file_name().to_string_lossy().contains(mark)));
    ours.map(|entry| entry.path()).collect()
}

fn passes_over_tcp(version: &str) {
    let folder = libfabric();
    let run = Run::of(&network(), version, &["--library-path", &folder]);
    run.passed();
    assert_eq!(run.smoke["fabric"], "tcp", "{:#}", run.smoke);
    assert_eq!(run.smoke["transports"][0], "tcp/10.9.0.0/24");
    assert_eq!(run.smoke["bytes"], 8 << 20);
    assert!(run.environment().contains(&format!("LD_LIBRARY_PATH={folder}")), "{}", run.environment());
    let stand_ins = run.smoke["stand_ins"].as_array().unwrap();
    assert_eq!(stand_ins.len(), usize::from(!has_driver()), "{stand_ins:?}");
    assert!(stand_ins.iter().all(|name| name.as_str().unwrap().starts_with("libcuda.so.1")), "{stand_ins:?}");
    let warning = run.smoke["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("not RDMA: LIBFABRIC ran over tcp (tcp/10.9.0.0/24)")
            && warning.contains("--require-fabric"),
        "{warning}"
    );
}

#[test]
fn nixl_1_0_1_passes_over_tcp_and_says_so() {
    passes_over_tcp("1.0.1");
}

#[test]
fn nixl_1_5_0_passes_over_tcp_and_says_so() {
    passes_over_tcp("1.5.0");
}

#[test]
fn people_cannot_overlook_it() {
    let output =
        smoke(&network(), "1.5.0", &["--library-path", &libfabric(), "--color", "always"], &new_mark()).output();
    let text = common::stdout(&output.unwrap());
    assert!(text.contains("LIBFABRIC over tcp"), "{text}");
    assert!(text.contains("\n\u{1b}[1m\u{1b}[33mwarning:\u{1b}[0m not RDMA: LIBFABRIC ran over tcp"), "{text:?}");
    if !has_driver() {
        assert!(text.contains("`libcuda.so.1` was replaced by a stand-in; GPU memory cannot be tested"), "{text}");
    }
}

#[test]
fn a_corrupted_byte_is_caught_over_libfabric_too() {
    for fault in ["corrupt:4194303", "corrupt-read:17"] {
        let run = Run::of(&network(), "1.5.0", &["--library-path", &libfabric(), "--fault", fault]);
        run.failed("compare", &["1 of the message's"]);
    }
}

#[test]
fn another_fabric_than_the_required_one_is_a_failure() {
    for required in ["efa", "rdma"] {
        let run = Run::of(&network(), "1.5.0", &["--library-path", &libfabric(), "--require-fabric", required]);
        run.failed("fabric", &[required, "tcp", "0x1d0f", "/sys/class/infiniband", "/dev/infiniband/uverbs"]);
        assert_eq!((&run.smoke["verified"], &run.smoke["fabric"]), (&Value::Bool(true), &Value::from("tcp")));
        assert_eq!(run.smoke["bytes"], 8 << 20);
    }
}

/// Intel MPI's libfabric: no node makes it use EFA.
#[test]
fn a_libfabric_without_efa_is_told_where_efa_is_asked_for() {
    let found = |run: &Run| {
        let findings = run.findings.as_array().unwrap().clone();
        findings.into_iter().find(|finding| finding["id"] == "libfabric-built-without-efa")
    };
    let directory = libfabric();
    let required = Run::of(&network(), "1.5.0", &["--library-path", &directory, "--require-fabric", "efa"]);
    required.failed("fabric", &["built without the efa provider", "on any node"]);
    assert_eq!(found(&required).expect("the finding")["severity"], "error");
    assert!(!required.words.contains("leave `--require-fabric`"), "{}", required.words);
    let named = Run::of(&format!("export FI_PROVIDER=efa; {}", network()), "1.5.0", &["--library-path", &directory]);
    named.failed("backend", &["built without the efa provider"]);
    assert_eq!(found(&named).expect("the finding")["severity"], "warning");
    let beside =
        Run::of(&format!("export FI_PROVIDER=efa,tcp; {}", network()), "1.5.0", &["--library-path", &directory]);
    beside.passed();
    assert_eq!(found(&beside).expect("the finding")["severity"], "warning");
    let plain = Run::of(&network(), "1.5.0", &["--library-path", &directory]);
    plain.passed();
    assert_eq!(found(&plain), None);
}

#[test]
fn ucx_is_held_to_the_required_fabric_too() {
    let run = Run::of(&network(), "1.5.0", &["--backend", "UCX", "--require-fabric", "rdma"]);
    run.failed("fabric", &["`--require-fabric rdma`"]);
}

#[test]
fn the_loopback_alone_is_not_enough() {
    for version in ["1.0.1", "1.5.0"] {
        let run = Run::of(&loopback(), version, &["--library-path", &libfabric()]);
        run.failed("backend", &["fi_enable failed", "Bad file descriptor", "loopback"]);
        assert_eq!(run.smoke["fabric"], Value::Null, "{:#}", run.smoke);
    }
}

#[test]
fn nixl_1_5_1_wants_a_libfabric_that_does_not_exist() {
    let folder = libfabric();
    let run = Run::of(&network(), "1.5.1", &["--library-path", &folder]);
    let offers = format!("`{folder}/libfabric.so.1` has up to `FABRIC_1.8`");
    run.failed("backend", &["of NIXL 1.5.1 needs `libfabric.so.1` with `FABRIC_1.10`", &offers, "use NIXL 1.5.0"]);
}

#[test]
fn a_library_that_is_not_found_is_named() {
    let run = Run::of(&network(), "1.5.0", &[]);
    run.failed("backend", &["NIXL 1.5.0 needs `libcudart.so.13`, which was not found", "searched:", "ldconfig"]);
}

#[test]
fn wheels_of_the_environment_are_searched() {
    let site = site_packages("1.5.0");
    // A second site-packages folder whose wheels hold what is missing, seen through a .pth file as in a real environment.
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("lib/python3.11/site-packages");
    let nvidia = prefix.join("nvidia/cu13/lib");
    fs::create_dir_all(&nvidia).unwrap();
    fs::write(prefix.join("nixl.pth"), format!("{}\n", site.display())).unwrap();
    for file in fs::read_dir(libfabric()).unwrap().flatten() {
        let name = file.file_name();
        let is_cuda = name.to_string_lossy().starts_with("libcudart");
        let target = if is_cuda { nvidia.join(&name) } else { folder.path().join("lib").join(&name) };
        std::os::unix::fs::symlink(file.path(), target).unwrap();
    }
    let mut program = common::program();
    program.args(["smoke", "--backend", "LIBFABRIC", "--size", "1M", "--output-format", "json"]).arg(&prefix);
    program.env_remove("LD_LIBRARY_PATH");
    let network = format!("{HIDE_LIBFABRIC} {}", network());
    let output = inside(&network, &program).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", common::stdout(&output), common::stderr(&output)));
    let smoke = &document["smoke"];
    assert_eq!((common::status(&output), &smoke["status"]), (0, &Value::from("passed")), "{document:#}");
    let environment = smoke["environment"].to_string();
    let own = format!("{}/lib", folder.path().display());
    assert!(environment.contains("nvidia/cu13/lib") && environment.contains(&own), "{environment}");
    assert!(smoke["warnings"].to_string().contains("make it known to `ldconfig`"), "{smoke:#}");
}

#[test]
fn a_driver_needs_no_stand_in() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(driver(), folder.path().join("libcuda.so.1")).unwrap();
    let arguments = ["--library-path", &libfabric(), "--library-path", folder.path().to_str().unwrap()];
    let run = Run::of(&network(), "1.5.0", &arguments);
    run.passed();
    assert_eq!(run.smoke["stand_ins"], serde_json::json!([]));
    assert!(!run.environment().contains("LD_PRELOAD"), "{}", run.environment());
}

#[test]
fn the_cuda_toolkits_stub_comes_before_the_stand_in() {
    let stub = "/usr/local/cuda/lib64/stubs/libcuda.so";
    // For this process alone there is a toolkit.
    let network = format!(
        "cp {driver} /tmp/stub.$$; mount -t tmpfs own /usr/local; mkdir -p {folder}; mv /tmp/stub.$$ {stub}; {rest}",
        driver = driver().display(),
        folder = Path::new(stub).parent().unwrap().display(),
        rest = network(),
    );
    let mut program = common::program();
    program.args(["smoke", "--backend", "LIBFABRIC", "--size", "1M", "--output-format", "json"]);
    program.args(["--library-path", &libfabric()]).arg(site_packages("1.5.0"));
    program.env_remove("LD_LIBRARY_PATH").env_remove("LD_PRELOAD");
    let output = inside(&network, &program).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", common::stdout(&output), common::stderr(&output)));
    let smoke = &document["smoke"];
    assert_eq!((common::status(&output), &smoke["status"]), (0, &Value::from("passed")), "{document:#}");
    if has_driver() {
        assert_eq!(smoke["stand_ins"], serde_json::json!([]), "{smoke:#}");
    } else {
        assert!(smoke["stand_ins"][0].as_str().unwrap().ends_with(&format!("stub {stub})")), "{smoke:#}");
        assert!(smoke["environment"].to_string().contains(&format!("LD_PRELOAD={stub}")), "{smoke:#}");
    }
}

#[test]
fn a_plugin_that_ends_its_process_is_quoted() {
    let (root, site, libraries) = (lab(&["debian13"]), site_packages("1.5.0"), libfabric());
    let program = common::program();
    let folder = Path::new(program.get_program()).parent().unwrap();
    let libcudart = Path::new(&libraries).join("libcudart.so.13");
    // Debian's libfabric, NIXL's wheel, and of the laboratory's libraries libcudart alone.
    let network = format!(
        "root={root}; mount --bind {site} $root/lab; mount --bind {folder} $root/program; mount -t tmpfs own $root/mnt; \
         cp {libcudart} $root/mnt; mount -t proc proc $root/proc; mount -t sysfs sys $root/sys; {NETWORK_UP} \
         exec chroot $root \"$@\"",
        root = root.display(),
        site = site.display(),
        folder = folder.display(),
        libcudart = libcudart.display(),
    );
    let mut inner = Command::new("/program/nixl-retrofit");
    inner.args(["smoke", "--backend", "LIBFABRIC", "--output-format", "json", "--library-path", "/mnt", "/lab"]);
    inner.env_remove("LD_LIBRARY_PATH");
    let output = inside(&network, &inner).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", common::stdout(&output), common::stderr(&output)));
    let failure = &document["smoke"]["failure"];
    assert_eq!((common::status(&output), failure["stage"].as_str()), (1, Some("backend")), "{document:#}");
    let message = failure["message"].as_str().unwrap();
    for words in ["exit status 1", "last output:", "request to allocate mask for invalid number"] {
        assert!(message.contains(words), "{message}");
    }
    assert!(failure["advice"].as_str().unwrap().contains("libnuma"), "{failure:#}");
    assert_eq!(document["smoke"]["stand_ins"][0], "libcuda.so.1", "{document:#}");
}

#[test]
fn a_library_path_that_is_not_there_is_a_usage_error() {
    let output = common::run(["smoke", "--library-path", "/nonexistent", "/"]);
    assert_eq!(common::status(&output), 2);
    assert!(common::stderr(&output).contains("--library-path /nonexistent"), "{}", common::stderr(&output));
}

#[test]
fn a_signal_leaves_nothing_behind() {
    let folder = libfabric();
    for signal in ["-INT", "-TERM", "-KILL"] {
        let (mark, before) = (new_mark(), leavings());
        let command = smoke(&network(), "1.5.0", &["--library-path", &folder, "--fault", "hang"], &mark);
        let mut command = common::with_default_signals(&command);
        let mut supervisor = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("two workers", || processes(&mark).len() == 3);
        std::thread::sleep(Duration::from_millis(1500));
        let killed = Command::new("kill").args([signal, &supervisor.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert!(supervisor.wait().unwrap().signal().is_some());
        wait_for("the workers' end", || processes(&mark).is_empty());
        assert_eq!(leavings(), before);
    }
}

/// All transfers of a run with several backends.
fn several(version: &str, arguments: &[&str]) -> (i32, Vec<Value>) {
    let folder = libfabric();
    let mut command = smoke(&network(), version, &[&["--library-path", &folder], arguments].concat(), &new_mark());
    let output = command.args(["--output-format", "json"]).output().expect("unshare starts");
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", common::stdout(&output), common::stderr(&output)));
    let smokes = document["smokes"].as_array().expect("smokes").clone();
    let ran = smokes.iter().rfind(|smoke| smoke["status"] != "skipped").expect("one ran");
    assert_eq!(&document["smoke"], ran, "the last one that ran");
    (common::status(&output), smokes)
}

/// Backends, the target's where it has others, what NIXL chose, and what carried the bytes.
fn told(smoke: &Value) -> (&str, Option<&str>, &str, &str) {
    assert_eq!((&smoke["status"], &smoke["verified"]), (&"passed".into(), &true.into()), "{smoke:#}");
    let text = |key: &str| smoke[key].as_str().unwrap_or_else(|| panic!("no {key}: {smoke:#}"));
    (text("backend"), smoke["peer_backend"].as_str(), text("chosen_backend"), text("fabric"))
}

#[test]
fn several_backends_are_tried_alone_together_and_against_ucx_alone() {
    for version in ["1.0.1", "1.5.0"] {
        let (status, smokes) = several(version, &["--backend", "LIBFABRIC,UCX"]);
        assert_eq!((status, smokes.len()), (0, 4));
        assert_eq!(told(&smokes[0]), ("LIBFABRIC", None, "LIBFABRIC", "tcp"));
        assert_eq!(told(&smokes[1]), ("UCX", None, "UCX", "shm"));
        // NIXL ignores the order: whichever it chose, it carried the bytes, and the other one is warned of.
        let (backend, peer, chosen, fabric) = told(&smokes[2]);
        assert_eq!((backend, peer, fabric), ("LIBFABRIC,UCX", None, if chosen == "UCX" { "shm" } else { "tcp" }));
        let warned = smokes[2]["warnings"].to_string().contains("although LIBFABRIC comes first");
        assert_eq!(warned, chosen == "UCX", "{:#}", smokes[2]);
        assert_eq!(told(&smokes[3]), ("LIBFABRIC,UCX", Some("UCX"), "UCX", "shm"));
    }
}

#[test]
fn libfabric_alone_against_ucx_alone_is_the_failure_that_it_is() {
    for version in ["1.0.1", "1.5.0"] {
        let folder = libfabric();
        let arguments = ["--backend", "LIBFABRIC", "--peer-backend", "UCX", "--library-path", &folder];
        let run = Run::of(&network(), version, &arguments);
        let words = ["no backend in common", "no common backend found", "NIXL_BACKEND=LIBFABRIC,UCX", "media loader"];
        run.failed("metadata", &words);
    }
}

#[test]
fn a_required_fabric_is_demanded_of_what_the_patched_code_would_do() {
    let (status, smokes) = several("1.5.0", &["--backend", "UCX,LIBFABRIC", "--require-fabric", "rdma"]);
    let states: Vec<&str> = smokes.iter().map(|smoke| smoke["status"].as_str().unwrap()).collect();
    assert_eq!((status, states), (1, vec!["failed", "passed", "skipped", "skipped"]), "{smokes:#?}");
    assert_eq!(smokes[0]["failure"]["stage"], "fabric");
}

#[test]
fn without_agents_each_backend_is_tried_alone() {
    let (status, smokes) = several("1.5.0", &["--backend", "UCX,LIBFABRIC", "--engine", "native"]);
    let states: Vec<&str> = smokes.iter().map(|smoke| smoke["status"].as_str().unwrap()).collect();
    assert_eq!((status, states), (0, vec!["passed", "passed", "skipped", "skipped"]), "{smokes:#?}");
    assert!(smokes[2]["reason"].as_str().unwrap().contains("native engine"), "{smokes:#?}");
}
