//! Workers whose libraries misbehave: a stand-in for NIXL's C API that forks, scribbles, lies and leaves things behind
//! (`fixtures/nixl_shim`). Nothing that it does passes for a result, and nothing of a run stays.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use common::{MARK, fixture, link_tree, new_mark, nixl, processes, wait_for};

fn site_packages(version: &str) -> PathBuf {
    let lib =
        fs::read_dir(nixl(version).join("lib")).unwrap().flatten().map(|entry| entry.path().join("site-packages"));
    lib.into_iter().find(|path| path.is_dir()).expect("a site-packages folder")
}

/// A copy of an installed NIXL, by hard links.
fn copy(version: &str) -> TempDir {
    let whole = site_packages(version);
    let folder = tempfile::tempdir_in(whole.ancestors().nth(3).unwrap()).unwrap();
    link_tree(&whole, folder.path());
    folder
}

fn compile(source: &Path, to: &Path, more: &[&str]) {
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-shared", "-fPIC", "-o"]).arg(to).arg(source).args(more).args(["-ldl"]);
    assert!(cc.status().expect("a C compiler, cc").success());
}

/// NIXL 1.5.0 with the shim before its C API.
fn shimmed() -> TempDir {
    let folder = copy("1.5.0");
    let libraries = folder.path().join(".nixl_cu13.mesonpy.libs");
    let library = libraries.join("libnixl_capi.so");
    fs::rename(&library, libraries.join("libnixl_capi_real.so")).unwrap();
    // The shim needs the real library by the name of its file, which is not the name in it: link with an empty one that has it.
    let named = tempfile::tempdir().unwrap();
    let (empty, stub) = (named.path().join("empty.c"), named.path().join("stub.so"));
    fs::write(&empty, "").unwrap();
    compile(&empty, &stub, &["-Wl,-soname,libnixl_capi_real.so"]);
    let needed =
        ["-Wl,--no-as-needed", stub.to_str().unwrap(), "-Wl,-rpath,$ORIGIN", "-Wl,-soname,libnixl_capi_shim.so"];
    compile(&fixture("nixl_shim").join("shim.c"), &library, &needed);
    folder
}

/// One run of the program.
struct Run {
    status: i32,
    document: Value,
    seconds: f64,
}

fn smoke(target: &Path, mark: &str, timeout: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = common::program();
    command.args(["smoke", "--backend", "UCX", "--size", "1M", "--timeout", timeout, "--output-format", "json"]);
    command.arg(target).env(MARK, mark).env("SHIM_NAME", mark).envs(variables.iter().copied());
    command
}

impl Run {
    fn of(target: &Path, timeout: &str, variables: &[(&str, &str)]) -> Run {
        let mark = new_mark();
        let begin = Instant::now();
        let output = smoke(target, &mark, timeout, variables).output().unwrap();
        let seconds = begin.elapsed().as_secs_f64();
        assert_eq!(processes(&mark), Vec::<u32>::new(), "{variables:?}: processes were left behind");
        assert_eq!(shared_memory(&mark), Vec::<String>::new(), "{variables:?}");
        let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", common::stderr(&output)));
        Run { status: common::status(&output), document, seconds }
    }

    fn text(&self) -> String {
        self.document["smoke"].to_string()
    }

    #[track_caller]
    fn passed(&self) {
        assert_eq!((self.status, &self.document["smoke"]["status"]), (0, &"passed".into()), "{:#}", self.document);
    }

    #[track_caller]
    fn failed(&self, words: &[&str]) {
        assert_eq!((self.status, &self.document["smoke"]["status"]), (1, &"failed".into()), "{:#}", self.document);
        for word in words {
            assert!(self.text().contains(word), "'{word}' is missing in {:#}", self.document);
        }
    }
}

/// The shim's files of that run.
fn shared_memory(mark: &str) -> Vec<String> {
    let names =
        fs::read_dir("/dev/shm").unwrap().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(&format!("nixl_retrofit_shim_{mark}_"))).collect()
}

#[test]
fn what_a_library_forks_ends_with_the_run() {
    let site = shimmed();
    for mode in ["orphan", "orphan-exec"] {
        let run = Run::of(site.path(), "20s", &[("SHIM", mode)]);
        run.passed();
    }
    let clean = Command::new("pgrep").args(["-fx", "sleep 60"]).output().unwrap();
    assert_eq!(common::stdout(&clean), "", "a process with another environment was left behind");
}

#[test]
fn a_crash_is_noticed_although_a_forked_process_holds_the_channel() {
    let site = shimmed();
    let run = Run::of(site.path(), "60s", &[("SHIM", "orphan-crash"), ("SHIM_SIDE", "target")]);
    run.failed(&["target", "SIGABRT"]);
    assert!(run.seconds < 20.0, "{}", run.seconds);
}

#[test]
fn what_a_library_writes_on_any_descriptor_is_not_believed() {
    let site = shimmed();
    for side in ["initiator", "target"] {
        Run::of(site.path(), "20s", &[("SHIM", "scribble"), ("SHIM_SIDE", side)]).failed(&["control protocol", side]);
    }
}

#[test]
fn a_closed_channel_is_no_kill() {
    let site = shimmed();
    let run = Run::of(site.path(), "20s", &[("SHIM", "close"), ("SHIM_SIDE", "target")]);
    run.failed(&["target"]);
    // UCX may miss its own descriptors first, and abort.
    let text = run.text();
    assert!(text.contains("control channel") || text.contains("signal 6"), "{text}");
    assert!(!text.contains("SIGKILL"), "{text}");
}

#[test]
fn a_read_that_moves_nothing_does_not_pass() {
    let site = shimmed();
    Run::of(site.path(), "20s", &[("SHIM", "remember"), ("SHIM_SIDE", "initiator")]).failed(&["read from the target"]);
}

#[test]
fn a_notification_that_comes_twice_does_not_pass() {
    let site = shimmed();
    Run::of(site.path(), "20s", &[("SHIM", "twice"), ("SHIM_SIDE", "initiator")]).failed(&["same notification twice"]);
}

#[test]
fn a_library_that_does_not_close_is_told() {
    let site = shimmed();
    let run = Run::of(site.path(), "30s", &[("SHIM", "hang-at-the-end"), ("SHIM_SIDE", "target")]);
    run.passed();
    assert!(run.text().contains("the target's library did not close within 2 s"), "{}", run.text());
    let run = Run::of(site.path(), "30s", &[("SHIM", "crash-at-the-end"), ("SHIM_SIDE", "initiator")]);
    run.passed();
    assert!(run.text().contains("after the transfer, the initiator was killed by signal 6"), "{}", run.text());
}

#[test]
fn shared_memory_is_removed_however_the_worker_ends() {
    let site = shimmed();
    Run::of(site.path(), "20s", &[("SHIM", "share")]).passed();
    Run::of(site.path(), "20s", &[("SHIM", "share-crash")]).failed(&["SIGABRT"]);
    Run::of(site.path(), "5s", &[("SHIM", "share-hang")]).failed(&["no result within 5 s"]);
}

#[test]
fn nothing_stays_when_the_supervisor_is_killed() {
    let site = shimmed();
    for mode in ["share-hang", "orphan"] {
        let mark = new_mark();
        let variables = [("SHIM", mode), ("SHIM_SIDE", "target")];
        let mut command = smoke(site.path(), &mark, "20s", &variables);
        command.arg("--fault").arg("hang").stdout(Stdio::null()).stderr(Stdio::null());
        let mut supervisor = command.spawn().unwrap();
        wait_for("the library's leavings", || {
            if mode == "orphan" { processes(&mark).len() > 3 } else { !shared_memory(&mark).is_empty() }
        });
        std::thread::sleep(Duration::from_millis(300));
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        wait_for("the end of everything", || processes(&mark).is_empty() && shared_memory(&mark).is_empty());
    }
}

#[test]
fn an_old_plugin_that_misbehaves_is_told_within_its_share_of_the_deadline() {
    let folder = copy("0.8.0");
    let plugin = folder.path().join(".nixl_cu13.mesonpy.libs/plugins/libplugin_UCX.so");
    fs::remove_file(&plugin).unwrap();
    compile(&fixture("nixl_shim").join("shim.c"), &plugin, &[]);
    for (mode, words) in [
        ("hang", "does not end within 5 s"),
        ("crash", "ends the process with signal 6"),
        ("scribble", "breaks the control protocol"),
    ] {
        let run = Run::of(folder.path(), "60s", &[("SHIM_PLUGIN", mode)]);
        run.passed();
        assert!(run.document["smoke"]["warnings"].to_string().contains(words), "{:#}", run.document);
        let duration = run.document["smoke"]["duration_ms"].as_f64().unwrap();
        assert!(mode != "hang" || duration > 5000.0, "{duration}");
    }
    Run::of(folder.path(), "60s", &[("SHIM_PLUGIN", "fork")]).passed();
}
