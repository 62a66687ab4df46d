//! Builds Dockerfile.example with a Docker engine, on a Debian with a real Dynamo and NIXL (`tests/lab.sh image`).
//!
//! `tests/run.sh docker` runs this: it needs target/release/nixl-retrofit, and root where no engine is running. It fails
//! where it cannot run.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may")]

mod common;

use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{lab, status, stderr, stdout};
use tempfile::TempDir;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const BINARY: &str = "target/release/nixl-retrofit";
const ENVIRONMENT: &str = "ENV VIRTUAL_ENV=/opt/dynamo/venv \
                           PATH=/opt/dynamo/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const RECORD_AGREES: &str = r#"
import base64, csv, glob, hashlib
(record,) = glob.glob("/opt/dynamo/venv/lib/python3*/site-packages/ai_dynamo_runtime-*.dist-info/RECORD")
site_packages = record.rsplit("/", 2)[0]
name = "dynamo/nixl_connect/__init__.py"
data = open(f"{site_packages}/{name}", "rb").read()
digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
lines = [line for line in csv.reader(open(record, newline="")) if line[0] == name]
assert lines == [[name, "sha256=" + digest, str(len(data))]], (lines, digest, len(data))
assert b"NIXL_BACKEND" in data
"#;

const AGENT_HAS_UCX: &str = r#"
import logging
asked = []
class Keeper(logging.Handler):
    def emit(self, record):
        asked.append(record.getMessage())
logging.basicConfig(level=logging.INFO, handlers=[Keeper()])
import dynamo.nixl_connect as nixl_connect
connection = nixl_connect.Connection(nixl_connect.Connector(), 1)
assert "NIXL Connect: Using backend(s): ['UCX']" in asked, asked
assert list(connection._nixl.backends) == ["UCX"], connection._nixl.backends
"#;

type Check = (&'static str, fn(&Images));

const CHECKS: [Check; 9] = [
    ("check finds the base image unpatched", |images| {
        let volume = format!("{REPOSITORY}/{BINARY}:/usr/local/bin/nixl-retrofit:ro");
        let output = images.run("base", &["-v", &volume], &["nixl-retrofit", "check"], "");
        assert_eq!(status(&output), 1, "{}", all(&output));
    }),
    ("Dockerfile.example builds", |images| assert!(images.example.status.success(), "{}", all(&images.example))),
    ("the UCX transfer ran inside the build", |images| {
        let text = all(&images.example);
        let fabric = text.split("smoke passed: UCX over ").nth(1);
        assert!(fabric.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())), "{text}");
    }),
    ("docker run IMAGE nixl-retrofit check", |images| {
        images.succeeds(&[], &["nixl-retrofit", "check"], "");
    }),
    ("the transfer passes in the image, verified", |images| {
        let text = images.succeeds(&[], &["nixl-retrofit", "smoke", "--output-format", "json"], "");
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let smoke = &document["smoke"];
        let state = (&smoke["status"], &smoke["backend"], &smoke["verified"]);
        assert_eq!(state, (&"passed".into(), &"UCX".into(), &true.into()), "{document:#}");
    }),
    ("RECORD agrees with the patched file", |images| {
        images.succeeds(&[], &["python", "-"], RECORD_AGREES);
    }),
    ("NIXL_BACKEND=ucx makes an agent with UCX", |images| {
        images.succeeds(&["-e", "NIXL_BACKEND=ucx"], &["python", "-"], AGENT_HAS_UCX);
    }),
    ("an image without NIXL plugins stops the build", |images| {
        let text = all(&images.stopped);
        assert!(!images.stopped.status.success(), "{text}");
        let ends = ["returned a non-zero code: 1", "exit code: 1"];
        let stops = |line: &str| {
            line.contains("apply --smoke require") && ends.iter().any(|end| line.trim_end().ends_with(end))
        };
        assert!(text.lines().any(stops), "{text}");
    }),
    // Not every machine can pull a Rust image, so this compiles what .dockerignore sends to the engine.
    ("the sources that Dockerfile.example gets are enough to compile", |_| {
        let context = tempfile::tempdir().unwrap();
        let rules = fs::read_to_string(Path::new(REPOSITORY).join(".dockerignore")).unwrap();
        for name in rules.lines().filter_map(|rule| rule.strip_prefix('!')).filter(|name| *name != BINARY) {
            let (from, to) = (Path::new(REPOSITORY).join(name), context.path().join(name));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            if from.is_dir() {
                common::copy_tree(&from, &to);
            } else {
                fs::copy(from, to).unwrap();
            }
        }
        // Cargo looks for a workspace in the folders above.
        let manifest = context.path().join("Cargo.toml");
        fs::write(&manifest, fs::read_to_string(&manifest).unwrap() + "\n[workspace]\n").unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["check", "--quiet", "--locked", "--manifest-path"]).arg(manifest);
        must(cargo.env("CARGO_TARGET_DIR", Path::new(REPOSITORY).join("target")));
    }),
];

#[test]
#[ignore = "needs Docker and the release build: run tests/run.sh build docker"]
fn dockerfile_example() {
    let binary = Path::new(REPOSITORY).join(BINARY);
    assert!(binary.exists(), "{BINARY} is missing: run `cargo build --release --locked`");
    let images = Images::build(Engine::running_or_own());
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        let begin = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(|| check(&images))).is_ok();
        println!("{} {name} ({:.1} s)", if passed { "ok     " } else { "FAILED " }, begin.elapsed().as_secs_f64());
        failed.extend((!passed).then_some(name));
    }
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), CHECKS.len());
}

fn must(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}:\n{}", all(&output));
    output
}

fn all(output: &Output) -> String {
    stdout(output) + &stderr(output)
}

/// A running Docker engine. One of its own has its socket, images and state in a temporary folder.
struct Engine {
    own: Option<(Child, TempDir)>,
}

impl Engine {
    fn running_or_own() -> Engine {
        let running = Engine { own: None };
        if running.answers() {
            return running;
        }
        let root = rustix::process::geteuid().is_root();
        assert!(root, "`docker info` finds no engine, and only root can start one: run this as root");
        let dockerd = lab(&["dockerd"]);
        let engines = ["overlay2", "vfs"].into_iter().map(|driver| Engine::start(&dockerd, driver));
        engines.into_iter().flatten().next().expect("the Docker engine starts")
    }

    /// Its mounts are in its own mount namespace, which ends with it; it ends with the test.
    fn start(dockerd: &Path, driver: &str) -> Option<Engine> {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().display();
        let log = scratch.path().join("log");
        let file = fs::File::create(&log).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "unshare", "--mount", "--propagation", "private"]).arg(dockerd);
        command.args(["--host", &format!("unix://{folder}/docker.sock"), "--data-root", &format!("{folder}/data")]);
        command.args(["--exec-root", &format!("{folder}/exec"), "--pidfile", &format!("{folder}/pid")]);
        command.args(["--storage-driver", driver, "--iptables=false", "--ip6tables=false", "--bridge=none"]);
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().expect("setpriv starts");
        let mut engine = Engine { own: Some((child, scratch)) };
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until && engine.own.as_mut().unwrap().0.try_wait().unwrap().is_none() {
            if engine.answers() {
                return Some(engine);
            }
            sleep(Duration::from_millis(100));
        }
        println!("dockerd with storage driver {driver}:\n{}", fs::read_to_string(log).unwrap());
        None
    }

    fn answers(&self) -> bool {
        self.docker(&["info"]).output().is_ok_and(|output| output.status.success())
    }

    /// With the older builder, which every engine has.
    fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(arguments).current_dir(REPOSITORY);
        if std::env::var_os("DOCKER_BUILDKIT").is_none() {
            command.env("DOCKER_BUILDKIT", "0");
        }
        if let Some((_, scratch)) = &self.own {
            command.env("DOCKER_HOST", format!("unix://{}/docker.sock", scratch.path().display()));
        }
        command
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.own {
            let process = rustix::process::Pid::from_child(child);
            let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
            let _ = child.wait();
        }
    }
}

/// The images, and what the two builds of Dockerfile.example said.
struct Images {
    engine: Engine,
    example: Output,
    stopped: Output,
}

/// A name that another run of these tests on the same engine does not use.
fn image(name: &str) -> String {
    format!("nixl-retrofit-test/{name}:{}", std::process::id())
}

impl Images {
    fn build(engine: Engine) -> Images {
        let archive = lab(&["image"]).display().to_string();
        must(&mut engine.docker(&["import", "--change", ENVIRONMENT, &archive, &image("base")]));
        let broken = tempfile::tempdir().unwrap();
        let dockerfile = format!("FROM {}\nRUN find /opt/dynamo/venv -name 'libplugin_*.so' -delete\n", image("base"));
        fs::write(broken.path().join("Dockerfile"), dockerfile).unwrap();
        let folder = broken.path().to_str().unwrap();
        must(&mut engine.docker(&["build", "--network=none", "-t", &image("broken"), folder]));
        let example = |base: &str| {
            let [base, rust] = [format!("BASE_IMAGE={}", image(base)), format!("RUST_IMAGE={}", image("base"))];
            let binary = format!("BINARY={BINARY}");
            let mut build = engine.docker(&["build", "--network=host", "-f", "Dockerfile.example"]);
            build.args(["--build-arg", &base, "--build-arg", &rust, "--build-arg", &binary]);
            build.args(["-t", &image("patched"), "."]).output().unwrap()
        };
        let (stopped, example) = (example("broken"), example("base"));
        Images { engine, example, stopped }
    }

    fn run(&self, name: &str, options: &[&str], command: &[&str], input: &str) -> Output {
        let mut run = self.engine.docker(&["run", "--rm", "--network=none", "-i"]);
        run.args(options).arg(image(name)).args(command);
        let mut child = run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Standard output of a command in the patched image.
    #[track_caller]
    fn succeeds(&self, options: &[&str], command: &[&str], input: &str) -> String {
        let output = self.run("patched", options, command, input);
        assert!(output.status.success(), "{}", all(&output));
        stdout(&output)
    }
}

/// An engine of its own ends with its images.
impl Drop for Images {
    fn drop(&mut self) {
        if self.engine.own.is_none() {
            let names = ["patched", "broken", "base"].map(image);
            let _ = self.engine.docker(&["rmi", "--force"]).args(names).output();
        }
    }
}
