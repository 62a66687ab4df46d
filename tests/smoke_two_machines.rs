//! The smoke transfer between two machines: two network namespaces, each with a name of its own, joined by a veth pair.
//! What happens before a transfer is tested over the loopback, where no namespace is needed.
//!
//! UCX is given `UCX_TLS=tcp` there: both namespaces have one kernel, so UCX takes them for one host. Without it, it was
//! seen to move the bytes by cma, past the network that is under test.
//!
//! Namespaces need root; without it these tests fail and say so.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tempfile::NamedTempFile;

use common::{MARK, lab, processes, wait_for};

/// Without the loopback's own speed.
const TCP: (&str, &str) = ("UCX_TLS", "tcp");
/// A pair of options that makes a run short.
const SMALL: [&str; 2] = ["--size", "1M"];

fn nixl() -> PathBuf {
    lab(&["env", "1.5.0", "none"])
}

fn libfabric() -> String {
    lab(&["libfabric"]).display().to_string()
}

fn token(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// Two machines. Their namespaces end with the two processes that hold them, and those with this one.
struct Network {
    nodes: [Child; 2],
}

const A: usize = 0;
const B: usize = 1;

impl Network {
    fn new() -> Network {
        assert!(rustix::process::geteuid().is_root(), "network namespaces need root: run these tests as root");
        let network = Network { nodes: [holder("node-a"), holder("node-b")] };
        let [a, b] = [A, B].map(|node| network.nodes[node].id().to_string());
        let link = ["link", "add", "ve0", "netns", &a, "type", "veth", "peer", "name", "ve0", "netns", &b];
        must(Command::new("ip").args(link));
        for (node, address) in [(A, "10.77.0.1/24"), (B, "10.77.0.2/24")] {
            must(network.enter(node, "ip").args(["addr", "add", address, "dev", "ve0"]));
            must(network.enter(node, "ip").args(["link", "set", "ve0", "up"]));
        }
        for node in [A, B] {
            // A moment passes until the kernel says so, and libraries take no interface before.
            wait_for("the link", || {
                let state = network.enter(node, "cat").arg("/sys/class/net/ve0/operstate").output().unwrap();
                common::stdout(&state).trim() == "up"
            });
        }
        network
    }

    /// A program on one of them.
    fn enter(&self, node: usize, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let process = self.nodes[node].id().to_string();
        command.args(["--target", &process, "--net", "--uts", "--mount", "--", program]);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

/// A process with a network and a name of its own; UCX looks for interfaces under /sys.
fn holder(name: &str) -> Child {
    let script = format!("hostname {name}; mount -t sysfs sysfs /sys; ip link set lo up; echo ready; exec cat");
    let mut child = Command::new("unshare")
        .args(["--net", "--uts", "--mount", "--propagation", "private", "bash", "-ec", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

fn must(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", common::stderr(&output));
}

/// One end, running.
struct End {
    child: Child,
    mark: String,
    log: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
    begin: Instant,
}

/// One end, ended.
struct Ended {
    status: i32,
    document: Value,
    log: String,
    seconds: f64,
}

impl End {
    fn start(place: Option<(&Network, usize)>, arguments: &[&str], variables: &[(&str, &str)]) -> End {
        End::start_with(&nixl(), place, arguments, variables)
    }

    fn start_with(
        target: &Path,
        place: Option<(&Network, usize)>,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> End {
        let program = common::program();
        let own = program.get_program().to_str().unwrap();
        let mut command = match place {
            Some((network, node)) => network.enter(node, own),
            None => Command::new(own),
        };
        for (name, _) in program.get_envs() {
            command.env_remove(name);
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        command.arg("smoke").args(arguments).args(["--output-format", "json"]).arg(target);
        command.env(MARK, &mark).env_remove("LD_LIBRARY_PATH").env_remove("NIXL_RETROFIT_TOKEN");
        command.envs(variables.iter().copied());
        let begin = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let log: Arc<Mutex<String>> = Arc::default();
        let (ours, stderr) = (log.clone(), child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                ours.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        End { child, mark, log, reader, begin }
    }

    /// A listening end at a free port, and where that is.
    fn listen(place: Option<&Network>, address: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (End, String) {
        let arguments = [&["--listen", address], arguments].concat();
        let end = End::start(place.map(|network| (network, A)), &arguments, variables);
        let at = end.wait_for_log("listening on ");
        (end, at.lines().next().unwrap().to_string())
    }

    fn connect(place: Option<&Network>, address: &str, arguments: &[&str], variables: &[(&str, &str)]) -> End {
        let arguments = [&["--connect", address], arguments].concat();
        End::start(place.map(|network| (network, B)), &arguments, variables)
    }

    /// What stands behind these words in the log.
    fn wait_for_log(&self, words: &str) -> String {
        let after =
            || Some(self.log.lock().unwrap().split_once(words)?.1.to_string()).filter(|rest| rest.contains('\n'));
        wait_for(words, || after().is_some());
        after().unwrap()
    }

    /// The process itself (not nsenter, which becomes it) and its workers.
    fn processes(&self) -> Vec<u32> {
        processes(&self.mark)
    }

    /// Once the connection is made and the target hangs.
    fn wait_until_half_way(&self) {
        self.wait_for_log("smoke UCX: transferring");
        // That is the initiator's stage; the target begins its own a moment later.
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(self.processes().len(), 2, "a supervisor and a worker");
    }

    fn signal(&self, signal: &str) {
        must(Command::new("kill").args([signal, &self.child.id().to_string()]));
    }

    fn end(mut self) -> Ended {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let status = self.child.wait().unwrap().code().expect("an exit status");
        let seconds = self.begin.elapsed().as_secs_f64();
        assert_eq!(self.processes(), Vec::<u32>::new(), "processes were left behind");
        self.reader.join().unwrap();
        let log = self.log.lock().unwrap().clone();
        let document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{log}"));
        Ended { status, document, log, seconds }
    }

    /// Ends it by force, and waits for its worker's end too.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        wait_for("the worker's end", || self.processes().is_empty());
    }
}

impl Ended {
    fn smoke(&self) -> &Value {
        &self.document["smoke"]
    }

    #[track_caller]
    fn passed(&self) -> &Value {
        let smoke = self.smoke();
        let state = (self.status, smoke["status"].as_str(), smoke["verified"].as_bool());
        assert_eq!(state, (0, Some("passed"), Some(true)), "{:#}\n{}", self.document, self.log);
        smoke
    }

    #[track_caller]
    fn failed(&self, stages: &[&str], words: &[&str]) -> &Value {
        let smoke = self.smoke();
        assert_eq!((self.status, smoke["status"].as_str()), (1, Some("failed")), "{:#}\n{}", self.document, self.log);
        let stage = smoke["failure"]["stage"].as_str().unwrap();
        assert!(stages.contains(&stage), "{stage}: {smoke:#}");
        let text = format!("{} {}", smoke["failure"]["message"], smoke["failure"]["advice"]);
        for word in words {
            assert!(text.contains(word), "'{word}' is missing in: {text}");
        }
        smoke
    }

    #[track_caller]
    fn refused(&self, words: &[&str]) {
        assert_eq!(self.status, 2, "{:#}\n{}", self.document, self.log);
        assert!(self.smoke().is_null());
        for word in words {
            assert!(self.log.contains(word), "'{word}' is missing in: {}", self.log);
        }
    }
}

/// Both ends say the same of everything that is not one machine's own.
#[track_caller]
fn agree(one: &Value, other: &Value) {
    let shared = [
        "status",
        "reason",
        "engine",
        "backend",
        "fabric",
        "transports",
        "memory",
        "bytes",
        "verified",
        "latency_us",
        "bandwidth_gbit_s",
        "duration_ms",
        "setup_ms",
        "failure",
    ];
    for key in shared {
        assert_eq!(in_one_line(&one[key]), in_one_line(&other[key]), "{key}");
    }
}

/// What a peer reports arrives in one line.
fn in_one_line(value: &Value) -> String {
    value.to_string().replace("\\n  ", "; ")
}

/// A transfer between two machines that passes.
fn passes(backend: &str, engine: &str, fabric: &str) {
    let (network, token) = (Network::new(), token("secret\n"));
    let folder = libfabric();
    let both = ["--token-file", path(&token), "--library-path", &folder, "--timeout", "40s"];
    let (listening, address) = End::listen(Some(&network), "10.77.0.1:0", &both, &[TCP]);
    let chosen = ["--backend", backend, "--engine", engine, "--size", "4M"];
    let connected = End::connect(Some(&network), &address, &[&both[..], &chosen].concat(), &[TCP]).end();
    let listened = listening.end();
    let (initiator, target) = (connected.passed(), listened.passed());
    for log in [&connected.log, &listened.log] {
        assert!(log.contains("warning: the token has only 6 bytes"), "{log}");
    }
    // Two network namespaces of one kernel are no two machines.
    for report in [initiator, target] {
        assert!(report["warnings"].to_string().contains("both ends are one machine"), "{report:#}");
    }
    agree(initiator, target);
    assert_eq!((&initiator["fabric"], &initiator["backend"]), (&fabric.into(), &backend.into()));
    assert_eq!((&initiator["engine"], &initiator["bytes"]), (&engine.into(), &(8 << 20).into()));
    let transports = initiator["transports"].to_string();
    assert!(transports.contains("ve0") || transports.contains("10.77.0.0/24"), "{transports}");
    assert!(!transports.contains("/lo"), "{transports}");
    assert_eq!((&initiator["role"], &target["role"]), (&"initiator".into(), &"target".into()));
    assert_eq!((&initiator["peer"]["host"], &target["peer"]["host"]), (&"node-a".into(), &"node-b".into()));
    assert_eq!(initiator["peer"]["address"], address.as_str());
    assert!(target["peer"]["address"].as_str().unwrap().starts_with("10.77.0.2:"));
    assert_eq!(
        (&target["peer"]["nixl_version"], &initiator["peer"]["nixl_version"]),
        (&"1.5.0".into(), &"1.5.0".into())
    );
}

/// A Dynamo that creates no agent under `REFUSED`.
fn dynamo_that_refuses() -> tempfile::TempDir {
    let site = common::site_packages();
    let nixl = nixl();
    let lib = fs::read_dir(nixl.join("lib")).unwrap().flatten().map(|entry| entry.path().join("site-packages"));
    let packages = lib.into_iter().find(|path| path.is_dir()).expect("a site-packages folder");
    fs::write(site.path().join("nixl.pth"), packages.to_str().unwrap()).unwrap();
    let patched = common::run(["apply", "--quiet", "--on-unknown", "error", site.path().to_str().unwrap()]);
    assert_eq!(common::status(&patched), 0, "{}", common::stderr(&patched));
    site
}

const REFUSED: (&str, &str) = ("NIXL_BACKEND", "BOGUS");

/// The end that fails says so at once, and its peer need not wait for its deadline.
#[test]
fn an_end_whose_dynamo_creates_no_agent_tells_its_peer() {
    let site = dynamo_that_refuses();
    let patient = ["--timeout", "60s"];
    let reason = "names unknown backend(s) BOGUS";
    let at_loopback = [&["--listen", "127.0.0.1:0"], &patient[..]].concat();

    let listening = End::start_with(site.path(), None, &at_loopback, &[REFUSED]);
    let address = listening.wait_for_log("listening on ").lines().next().unwrap().to_string();
    assert!(listening.log.lock().unwrap().contains(reason), "said before a peer is there");
    let connected = End::connect(None, &address, &patient, &[]).end();
    connected.failed(&["handshake"], &["the listening side refuses the offer", reason, "on that machine:"]);
    listening.end().failed(&["import"], &[reason]);

    let (listening, address) = End::listen(None, "127.0.0.1:0", &patient, &[]);
    let connecting = [&["--connect", &address], &patient[..]].concat();
    let connected = End::start_with(site.path(), None, &connecting, &[REFUSED]).end();
    connected.failed(&["import"], &[reason]);
    let listened = listening.end();
    listened.failed(&["handshake"], &["the connecting side offers nothing", reason]);
    assert!(connected.seconds < 20.0 && listened.seconds < 20.0, "{} {}", connected.seconds, listened.seconds);
}

#[test]
fn ucx_passes_over_the_network() {
    passes("UCX", "nixl", "tcp");
}

#[test]
fn libfabric_passes_over_the_network() {
    passes("LIBFABRIC", "nixl", "tcp");
}

#[test]
fn ucx_itself_passes_over_the_network() {
    passes("UCX", "native", "tcp");
}

#[test]
fn libfabric_itself_passes_over_the_network() {
    passes("LIBFABRIC", "native", "tcp");
}

#[test]
fn several_backends_are_tested_over_one_connection() {
    let network = Network::new();
    let folder = libfabric();
    let secret = ("NIXL_RETROFIT_TOKEN", "secret");
    let both = ["--library-path", &folder, "--timeout", "40s"];
    let (listening, address) = End::listen(Some(&network), "0.0.0.0:0", &both, &[TCP, secret]);
    let address = address.replace("0.0.0.0", "10.77.0.1");
    let chosen = ["--backend", "LIBFABRIC,UCX", "--size", "1M"];
    let connected = End::connect(Some(&network), &address, &[&both[..], &chosen].concat(), &[TCP, secret]).end();
    let listened = listening.end();
    for ended in [&connected, &listened] {
        let smoke = ended.passed();
        assert!(smoke["environment"].to_string().contains("-NIXL_RETROFIT_TOKEN"), "{smoke:#}");
        assert!(!ended.document.to_string().contains("secret"));
    }
    let [connected, listened] = [connected, listened].map(|ended| ended.document["smokes"].as_array().unwrap().clone());
    for (one, other) in connected.iter().zip(&listened) {
        assert_eq!(one["status"], "passed", "{one:#}");
        agree(one, other);
    }
    let pair = |smoke: &Value| (smoke["backend"].clone(), smoke["peer_backend"].clone());
    let pairs: Vec<_> = listened.iter().map(pair).collect();
    let expected = [
        ("LIBFABRIC".into(), Value::Null),
        ("UCX".into(), Value::Null),
        ("LIBFABRIC,UCX".into(), Value::Null),
        ("LIBFABRIC,UCX".into(), "UCX".into()),
    ];
    assert_eq!((pairs, connected.len()), (expected.to_vec(), 4));
    assert_eq!(listened[3]["chosen_backend"], "UCX");
}

#[test]
fn the_demand_of_either_end_counts() {
    let network = Network::new();
    let both = [&SMALL[..], &["--backend", "UCX"]].concat();
    let secret = [TCP, ("NIXL_RETROFIT_TOKEN", "secret")];
    let strict = [&both[..], &["--require-fabric", "efa"]].concat();
    for (one, other) in [(&strict, &both), (&both, &strict)] {
        let (listening, address) = End::listen(Some(&network), "10.77.0.1:0", one, &secret);
        let connected = End::connect(Some(&network), &address, other, &secret).end();
        let listened = listening.end();
        for ended in [&connected, &listened] {
            let smoke = ended.failed(&["fabric"], &["`--require-fabric efa`", "tcp (tcp/ve0)"]);
            assert_eq!(smoke["verified"], true);
        }
        agree(connected.smoke(), listened.smoke());
    }
}

/// The listening end with a fault, or without its supervisor; what the two ends say.
fn half_way(timeout: &str, fault: &str) -> (End, End) {
    let both = ["--backend", "UCX", "--timeout", timeout, "-v"];
    let (listening, address) = End::listen(None, "127.0.0.1:0", &[&both[..], &["--fault", fault]].concat(), &[]);
    let connecting = End::connect(None, &address, &both, &[]);
    (listening, connecting)
}

#[test]
fn a_worker_that_hangs_ends_both_at_the_deadline() {
    let (listening, connecting) = half_way("8s", "hang");
    let (connected, listened) = (connecting.end(), listening.end());
    for ended in [&connected, &listened] {
        ended.failed(&["transfer"], &["no result within 8 s", "the target was transferring", "its last message came"]);
        assert!((7.9..12.0).contains(&ended.seconds), "{}", ended.seconds);
    }
    agree(connected.smoke(), listened.smoke());
}

#[test]
fn a_worker_that_is_killed_is_reported_on_both_machines() {
    let (listening, connecting) = half_way("30s", "kill");
    let (connected, listened) = (connecting.end(), listening.end());
    for ended in [&connected, &listened] {
        ended.failed(
            &["transfer"],
            &["(listening side): the target was killed by signal 9 (SIGKILL) while transferring"],
        );
        assert!(ended.seconds < 15.0, "{}", ended.seconds);
    }
    agree(connected.smoke(), listened.smoke());
}

#[test]
fn wrong_bytes_are_reported_on_both_machines() {
    for (listening, connecting) in [(Some("corrupt:17"), None), (None, Some("corrupt-read:17"))] {
        let arguments = |fault: Option<&'static str>| {
            [&SMALL[..], &["--backend", "UCX"], &fault.map_or(vec![], |fault| vec!["--fault", fault])].concat()
        };
        let (listening, address) = End::listen(None, "127.0.0.1:0", &arguments(listening), &[]);
        let connected = End::connect(None, &address, &arguments(connecting), &[]).end();
        let listened = listening.end();
        for ended in [&connected, &listened] {
            assert_eq!(ended.failed(&["compare"], &["first at byte 17 of"])["verified"], false);
        }
        agree(connected.smoke(), listened.smoke());
    }
}

#[test]
fn a_machine_that_is_gone_is_reported_at_once() {
    let (listening, connecting) = half_way("60s", "hang");
    listening.wait_until_half_way();
    listening.kill();
    let gone = "closed the control connection without a reason while its";
    let connected = connecting.end();
    connected.failed(&["transfer", "notify"], &["127.0.0.1:", gone, "target"]);
    assert!(connected.seconds < 30.0, "{}", connected.seconds);

    let (listening, connecting) = half_way("60s", "hang");
    connecting.wait_until_half_way();
    connecting.kill();
    let listened = listening.end();
    listened.failed(&["transfer", "notify"], &["127.0.0.1:", gone, "initiator"]);
    assert!(listened.seconds < 30.0, "{}", listened.seconds);
}

#[test]
fn a_machine_that_stalls_is_reported_at_the_deadline() {
    for stalls in ["listening", "connecting"] {
        let (listening, connecting) = half_way("8s", "hang");
        let (stalled, other) = if stalls == "listening" { (listening, connecting) } else { (connecting, listening) };
        stalled.wait_until_half_way();
        stalled.signal("-STOP");
        let ended = other.end();
        ended.failed(&["transfer", "notify"], &["no result within 8 s", "its last message came"]);
        assert!((7.5..13.0).contains(&ended.seconds), "{stalls}: {}", ended.seconds);
        stalled.kill();
    }
}

#[test]
fn a_wrong_token_is_refused_and_the_right_one_still_gets_in() {
    let network = Network::new();
    let (right, wrong) = (token("secret"), token("secreT"));
    let arguments = |file| [&SMALL[..], &["--backend", "UCX", "--token-file", path(file)]].concat();
    let (listening, address) = End::listen(Some(&network), "10.77.0.1:0", &arguments(&right), &[TCP]);
    let refused = End::connect(Some(&network), &address, &arguments(&wrong), &[TCP]).end();
    refused.failed(&["handshake"], &["wrong token", "--token-file", "NIXL_RETROFIT_TOKEN"]);
    assert!(refused.seconds < 5.0, "{}", refused.seconds);
    listening.wait_for_log("refused 10.77.0.2:");
    End::connect(Some(&network), &address, &arguments(&right), &[TCP]).end().passed();
    let listened = listening.end();
    listened.passed();
    assert!(listened.log.contains("wrong token"), "{}", listened.log);
}

#[test]
fn nobody_with_the_right_token_is_a_failure_at_the_deadline() {
    let right = [("NIXL_RETROFIT_TOKEN", "secret")];
    let (listening, address) = End::listen(None, "127.0.0.1:0", &["--timeout", "3s"], &right);
    End::connect(None, &address, &["--timeout", "3s"], &[("NIXL_RETROFIT_TOKEN", "other")]).end();
    let without = End::connect(None, &address, &["--timeout", "3s"], &[]).end();
    without.failed(&["handshake"], &["it has a token, this side has none"]);
    let listened = listening.end();
    let words =
        ["within 3 s", "no authenticated peer", "2 peers were refused", "wrong token", "it has no token", "127.0.0.1:"];
    listened.failed(&["handshake"], &words);
    assert!((2.9..5.0).contains(&listened.seconds), "{}", listened.seconds);
    assert_eq!(listened.smoke()["backend"], Value::Null);

    let alone = End::connect(None, &address, &["--timeout", "1s"], &right).end();
    alone.failed(&["handshake"], &["no connection to 127.0.0.1:", "within 1 s", "--listen"]);
}

#[test]
fn strangers_do_not_keep_the_right_peer_out() {
    let secret = [("NIXL_RETROFIT_TOKEN", "secret")];
    let arguments = [&SMALL[..], &["--backend", "UCX"]].concat();
    let (listening, address) = End::listen(None, "127.0.0.1:0", &arguments, &secret);
    let silent: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let say = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(&address).unwrap();
        // It may hang up before it has read that all.
        let _ = stream.write_all(bytes);
        // Whatever it answers, it is no more than its greeting.
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() <= 64, "{answer:?}");
    };
    say(b"GET / HTTP/1.1\r\nHost: node-a\r\n\r\n");
    say(&[0xff; 100_000]);
    let mut newer = b"nixl-retrofit\n\x07\x00\x019.9.9".to_vec();
    newer.resize(64, 0);
    say(&newer);
    End::connect(None, &address, &arguments, &secret).end().passed();
    drop(silent);
    let listened = listening.end();
    listened.passed();
    for words in [
        r"not nixl-retrofit: its first bytes are `GET / HTTP/1.1\r\n`",
        r"\xff",
        "nixl-retrofit 9.9.9 with control protocol 7",
    ] {
        assert!(listened.log.contains(words), "'{words}' is missing in: {}", listened.log);
    }
}

/// A connecting end that proves to have the token, by the words of the protocol, and what it then says; what the listening
/// end makes of it.
fn proved(timeout: &str, then: impl FnOnce(TcpStream)) -> Ended {
    let secret = [("NIXL_RETROFIT_TOKEN", "secret")];
    let (listening, address) = End::listen(None, "127.0.0.1:0", &["--timeout", timeout], &secret);
    let mut stream = TcpStream::connect(address).unwrap();
    let (mut ours, mut theirs, mut answer) = ([7; 64], [0; 64], [0; 33]);
    ours[..22].copy_from_slice(b"nixl-retrofit\n\x03\x00\x010.2.7");
    ours[22..32].fill(0);
    stream.write_all(&ours).unwrap();
    stream.read_exact(&mut theirs).unwrap();
    let proof = |label: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").unwrap();
        [label, &ours, &theirs].iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes()
    };
    stream.write_all(&proof(b"connecting")).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((answer[0], &answer[1..]), (1, &proof(b"listening")[..]));
    then(stream);
    listening.end()
}

fn offer(stream: &mut TcpStream) {
    let offer = r#"{"offer":{"host":"node\u001b[2J-x","nixl_version":null,"memory":"dram","seed":1,
        "transfers":[{"initiator":["UCX"],"target":["UCX"],"principal":true,"engine":"nixl"}],
        "size":1024,"iterations":1,"timeout_ms":60000,"require_fabric":"any"}}"#;
    stream.write_all(&(offer.len() as u32).to_le_bytes()).unwrap();
    stream.write_all(offer.as_bytes()).unwrap();
    let mut answer = [0; 16];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer.windows(6).any(|part| part == b"answer"), "{answer:?}");
}

#[test]
fn a_peer_with_the_token_that_talks_nonsense_is_reported() {
    for (nonsense, words) in [
        (&[0xff; 64][..], "a message of 4294967295 bytes exceeds the limit of"),
        (&[2, 0, 0, 0, b'{', b'}'], "expected map"),
        (b"", "close"),
    ] {
        let ended = proved("20s", |mut stream| stream.write_all(nonsense).unwrap());
        ended.failed(&["handshake"], &["authenticated, but negotiation failed", words]);
        assert!(ended.seconds < 5.0, "{}", ended.seconds);

        let ended = proved("20s", |mut stream| {
            offer(&mut stream);
            let _ = stream.write_all(nonsense);
        });
        assert_eq!(ended.smoke()["peer"]["host"], "node[2J-x");
        let stages = ["load", "agent", "backend", "register", "metadata"];
        ended.failed(&stages, &["node[2J-x (127.0.0.1:", "while its initiator was", words]);
        assert!(ended.seconds < 10.0, "{}", ended.seconds);
    }
}

fn say(stream: &mut TcpStream, message: &Value) {
    let frame = message.to_string();
    stream.write_all(&(frame.len() as u32).to_le_bytes()).unwrap();
    stream.write_all(frame.as_bytes()).unwrap();
}

/// A verdict with every key of this protocol version.
fn verdict(status: &str) -> Value {
    let mut verdict = serde_json::json!({
        "version": 1, "status": status, "transports": [], "bytes": 2048, "verified": true, "duration-ms": 1.0,
        "warnings": ["\u{1b}[2J"],
    });
    for key in ["reason", "engine", "backend", "peer-backend", "chosen-backend", "fabric", "memory", "gpu", "failure"] {
        verdict[key] = Value::Null;
    }
    for key in ["latency-us", "bandwidth-gbit-s", "setup-ms"] {
        verdict[key] = Value::Null;
    }
    serde_json::json!({ "verdict": verdict })
}

#[test]
fn a_verdict_without_a_key_names_both_versions() {
    let ended = proved("20s", |mut stream| {
        offer(&mut stream);
        let mut verdict = verdict("passed");
        verdict["verdict"].as_object_mut().unwrap().remove("fabric");
        say(&mut stream, &verdict);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let stages = ["load", "agent", "backend", "register", "metadata"];
    let own = format!("nixl-retrofit {} on this side cannot read", env!("CARGO_PKG_VERSION"));
    ended.failed(&stages, &["runs nixl-retrofit 0.2.7", &own, "missing field `fabric`", "the same nixl-retrofit"]);
}

#[test]
fn a_peer_that_claims_more_than_was_seen_is_not_believed() {
    for status in ["passed", "skipped"] {
        let ended = proved("20s", |mut stream| {
            offer(&mut stream);
            say(&mut stream, &verdict(status));
            let _ = stream.read_to_end(&mut Vec::new());
        });
        ended.failed(&["compare"], &["reports that the transfer", status, "do not trust this result"]);
        assert!(!ended.document.to_string().contains("u001b"), "{:#}", ended.document);
    }
}

#[test]
fn a_backend_that_neither_end_has_does_not_keep_the_next_one_from_its_test() {
    // Neither machine has a libfabric that would be found without --library-path.
    let both = ["--timeout", "40s"];
    for _ in 0..3 {
        let (listening, address) = End::listen(None, "127.0.0.1:0", &both, &[]);
        let chosen = ["--backend", "LIBFABRIC,UCX", "--size", "1M"];
        let connected = End::connect(None, &address, &[&both[..], &chosen].concat(), &[]).end();
        for ended in [connected, listening.end()] {
            let smokes = ended.document["smokes"].as_array().unwrap();
            let states: Vec<&str> = smokes.iter().map(|smoke| smoke["status"].as_str().unwrap()).collect();
            assert_eq!(states, ["failed", "passed", "skipped", "skipped"], "{:#}", ended.document);
            assert_eq!(smokes[0]["failure"]["stage"], "backend", "{:#}", ended.document);
        }
    }
}

#[test]
fn an_end_whose_nixl_has_no_plugin_does_not_pass() {
    let empty = tempfile::tempdir().unwrap();
    let both = ["--backend", "UCX", "--engine", "native", "--size", "1M"];
    let bare = [&both[..], &["--plugin-dir", empty.path().to_str().unwrap()]].concat();
    for (one, other) in [(&bare[..], &both[..]), (&both[..], &bare[..])] {
        let (listening, address) = End::listen(None, "127.0.0.1:0", one, &[]);
        let connected = End::connect(None, &address, other, &[]).end();
        let listened = listening.end();
        let (poor, rich) = if one.len() > other.len() { (&listened, &connected) } else { (&connected, &listened) };
        poor.failed(&["backend"], &["has no plugin `libplugin_UCX.so`"]);
        // The initiator's end decides for both; the other one only for itself.
        let expected = if one.len() > other.len() { "passed" } else { "failed" };
        assert_eq!(rich.smoke()["status"], expected, "{:#}", rich.document);
    }
}

#[test]
fn a_peer_with_the_token_that_falls_silent_is_reported_at_the_deadline() {
    let mut kept = Vec::new();
    let silent = proved("4s", |stream| kept.push(stream));
    silent.failed(&["handshake"], &["authenticated, but negotiation failed"]);
    let half_a_frame = proved("4s", |mut stream| {
        offer(&mut stream);
        stream.write_all(&[100, 0]).unwrap();
        kept.push(stream);
    });
    let words = ["no result within 4 s", "the initiator is on node[2J-x", "its last message came"];
    half_a_frame.failed(&["load"], &words);
    for ended in [silent, half_a_frame] {
        assert!((3.9..8.0).contains(&ended.seconds), "{}", ended.seconds);
    }
}

/// A connecting end, and what it says to a listening one that answers like that.
fn answered(timeout: &str, answer: impl FnOnce(TcpStream) + Send + 'static) -> Ended {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || answer(listener.accept().unwrap().0));
    let ended = End::connect(None, &address, &["--timeout", timeout], &[("NIXL_RETROFIT_TOKEN", "secret")]).end();
    thread.join().unwrap();
    ended
}

#[test]
fn a_listener_that_is_none_is_reported() {
    let garbage = answered("20s", |mut stream| stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap());
    garbage.failed(&["handshake"], &["not nixl-retrofit: its first bytes are `SSH-2.0-OpenSSH_", "another program"]);

    let other = answered("20s", |mut stream| {
        let mut greeting = [0; 64];
        stream.read_exact(&mut greeting).unwrap();
        greeting[14] = 7;
        stream.write_all(&greeting).unwrap();
    });
    other.failed(&["handshake"], &["with control protocol 7", "with control protocol 3", "the same nixl-retrofit"]);

    let forged = answered("20s", |mut stream| {
        let mut greeting = [0; 64];
        stream.read_exact(&mut greeting).unwrap();
        stream.write_all(&greeting).unwrap();
        let mut proof = [0; 32];
        stream.read_exact(&mut proof).unwrap();
        stream.write_all(&[1]).unwrap();
        stream.write_all(&proof).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "nothing is said to one without the token");
    });
    forged.failed(&["handshake"], &["wrong token"]);

    let silent = answered("3s", |mut stream| drop(stream.read_to_end(&mut Vec::new())));
    silent.failed(&["handshake"], &["did not complete the handshake in time"]);
    assert!((2.9..5.0).contains(&silent.seconds), "{}", silent.seconds);
}

/// The greeting of nixl-retrofit 0.1.0, whose control protocol is version 1.
fn greeting_of_0_1_0() -> [u8; 64] {
    let mut greeting = [0; 64];
    greeting[..22].copy_from_slice(b"nixl-retrofit\n\x01\x00\x010.1.0");
    greeting[32..].fill(7);
    greeting
}

#[test]
fn the_release_before_is_refused_and_both_versions_are_named() {
    let own = format!("this side is nixl-retrofit {} with control protocol 3", env!("CARGO_PKG_VERSION"));
    let words = ["it is nixl-retrofit 0.1.0 with control protocol 1", &own, "use the same nixl-retrofit on both sides"];

    let listener = answered("20s", |mut stream| {
        stream.read_exact(&mut [0; 64]).unwrap();
        stream.write_all(&greeting_of_0_1_0()).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "no proof is sent to another version");
    });
    listener.failed(&["handshake"], &words);

    let secret = [("NIXL_RETROFIT_TOKEN", "secret")];
    let (listening, address) = End::listen(None, "127.0.0.1:0", &["--timeout", "2s"], &secret);
    let mut stream = TcpStream::connect(address).unwrap();
    let mut greeting = [0; 64];
    stream.write_all(&greeting_of_0_1_0()).unwrap();
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting[..16], b"nixl-retrofit\n\x03\x00", "enough for it to name this version");
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "nothing more is sent to another version");
    listening.end().failed(&["handshake"], &words);
}

#[test]
fn ends_that_want_different_things_do_not_begin() {
    let (listening, address) = End::listen(None, "127.0.0.1:0", &["--size", "1M"], &[]);
    let connected = End::connect(None, &address, &["--size", "2M"], &[]).end();
    let words = ["`--size` is 1048576 on the listening side and 2097152 on the connecting side"];
    connected.failed(&["handshake"], &words);
    listening.end().failed(&["handshake"], &words);

    let (listening, address) = End::listen(None, "127.0.0.1:0", &["--engine", "native"], &[]);
    End::connect(None, &address, &[], &[])
        .end()
        .failed(&["handshake"], &["use `--engine native`, or `--engine nixl`, on both sides"]);
    listening.end().failed(&["handshake"], &["UCX itself"]);
}

#[test]
fn who_connects_first_waits() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let arguments = [&SMALL[..], &["--backend", "UCX"]].concat();
    let connecting = End::connect(None, &free.replace("127.0.0.1", "localhost"), &arguments, &[]);
    connecting.wait_for_log("waiting for localhost:");
    let (listening, _) = End::listen(None, &free, &arguments, &[]);
    connecting.end().passed();
    listening.end().passed();
}

#[test]
fn other_machines_need_a_token() {
    for open in ["0.0.0.0:0", "[::]:0"] {
        End::start(None, &["--listen", open], &[]).end().refused(&["there is no token", "--token-file", "127.0.0.1"]);
    }
    End::start(None, &["--connect", "192.0.2.1:7000"], &[]).end().refused(&["there is no token", "--token-file"]);
}

#[test]
fn what_cannot_be_tried_changes_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    End::start(None, &["--listen", &address], &[]).end().refused(&[&address, "Address already in use"]);
    End::start(None, &["--connect", "127.0.0.1:0"], &[]).end().refused(&["name the port"]);
    let (empty, huge) = (token("\n"), token(&"x".repeat(5000)));
    for (file, words) in [("/no/such/file", "No such file"), (path(&empty), "is empty"), (path(&huge), "4096 bytes")] {
        End::start(None, &["--listen", "127.0.0.1:0", "--token-file", file], &[]).end().refused(&[file, words]);
    }
    let blank = [("NIXL_RETROFIT_TOKEN", "")];
    End::start(None, &["--connect", "127.0.0.1:7", "--timeout", "1s"], &blank)
        .end()
        .refused(&["NIXL_RETROFIT_TOKEN", "empty"]);
    for arguments in [
        &["smoke", "--listen", "127.0.0.1:1", "--connect", "127.0.0.1:1"][..],
        &["smoke", "--token-file", "/dev/null"],
        &["smoke", "--listen", "7000"],
        &["smoke", "--connect", "::1:7000"],
        &["apply", "--listen", "127.0.0.1:1"],
    ] {
        assert_eq!(common::status(&common::run(arguments)), 2, "{arguments:?}");
    }
}

#[test]
fn a_token_that_everybody_reads_is_warned_about() {
    let open = token("secret");
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let arguments = ["--token-file", path(&open), "--timeout", "100ms"];
    let (listening, _) = End::listen(None, "127.0.0.1:0", &arguments, &[]);
    let listened = listening.end();
    listened.failed(&["handshake"], &["no peer connected", "within 100 ms"]);
    assert!(listened.log.contains("warning: `--token-file") && listened.log.contains("chmod"), "{}", listened.log);
}
