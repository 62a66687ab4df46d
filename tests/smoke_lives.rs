//! Workers whose libraries misbehave: a stand-in for NIXL's C API that forks, scribbles, lies and leaves things behind
//! (`fixtures/nixl_shim`). Nothing that it does passes for a result, and nothing of a run stays.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use common::{MARK, fixture, link_tree, new_mark, nixl, processes, wait_for, with_default_signals};

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

fn compile(sources: &[PathBuf], to: &Path, more: &[&str]) {
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-shared", "-fPIC", "-o"]).arg(to).args(sources).args(more).args(["-ldl", "-lpthread"]);
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
    compile(&[empty], &stub, &["-Wl,-soname,libnixl_capi_real.so"]);
    let needed =
        ["-Wl,--no-as-needed", stub.to_str().unwrap(), "-Wl,-rpath,$ORIGIN", "-Wl,-soname,libnixl_capi_shim.so"];
    let shim = fixture("nixl_shim");
    compile(&[shim.join("shim.c"), shim.join("lies.c")], &library, &needed);
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

/// Runs a transfer with each of these lies of one kind, such as `read-short`; none passes, and each is caught in one of
/// these stages.
#[track_caller]
fn none_passes(kind: &str, lies: &[&str], stages: &[&str], side: Option<&str>) {
    let site = shimmed();
    for lie in lies {
        let mode = format!("{kind}-{lie}");
        let variables = [("SHIM", Some(mode.as_str())), ("SHIM_SIDE", side)];
        let variables: Vec<_> = variables.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect();
        let run = Run::of(site.path(), "6s", &variables);
        run.failed(&[]);
        let smoke = &run.document["smoke"];
        assert_eq!(smoke["verified"], false, "{mode}: {smoke:#}");
        let stage = smoke["failure"]["stage"].as_str().unwrap();
        assert!(stages.contains(&stage), "{mode} was caught at {stage}: {smoke:#}");
    }
}

const OTHER_BYTES: [&str; 8] =
    ["flip-first", "flip-last", "zero-page", "complement-page", "shift", "repeat-page", "swap-pages", "swap-words"];
const OTHER_PLACES: [&str; 6] = ["short", "half", "word", "late-start", "shifted", "reversed"];
const OTHER_STATUSES: [&str; 5] = ["silent", "invalid", "unknown-error", "unknown-status", "endless"];

#[test]
fn a_write_of_other_bytes_does_not_pass() {
    none_passes("write", &OTHER_BYTES, &["compare"], None);
}

#[test]
fn a_read_of_other_bytes_does_not_pass() {
    none_passes("read", &OTHER_BYTES, &["compare"], None);
    none_passes("read", &["guess", "nothing", "nothing-last", "late"], &["compare"], None);
}

#[test]
fn bytes_from_or_to_another_place_do_not_pass() {
    let stages = ["compare", "transfer", "notify"];
    none_passes("write", &OTHER_PLACES, &stages, None);
    none_passes("write", &["one-place", "one-message", "nothing", "nothing-last", "late"], &stages, None);
    none_passes("read", &OTHER_PLACES, &stages, None);
    none_passes("read", &["one-place", "one-message"], &stages, None);
}

#[test]
fn a_status_that_is_not_true_does_not_pass() {
    none_passes("write", &OTHER_STATUSES, &["transfer", "notify"], None);
    none_passes("read", &OTHER_STATUSES, &["transfer", "notify"], None);
    // The early one may come before the bytes. (Of a read's two, the second may come when nobody listens any more: the bytes
    // that it is about were compared then.)
    none_passes("write", &["note-twice"], &["transfer", "notify", "compare"], None);
}

#[test]
fn notifications_that_are_not_those_of_the_transfer_do_not_pass() {
    let lies = ["wrong", "nul", "same", "other", "empty", "long", "swallowed"];
    none_passes("note", &lies, &["transfer", "notify"], None);
}

#[test]
fn metadata_that_is_not_the_agents_does_not_pass() {
    let stages = ["metadata", "connect"];
    for side in ["initiator", "target"] {
        none_passes("metadata", &["garbage", "half", "empty", "huge", "own"], &stages, Some(side));
    }
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
fn a_segment_of_ucx_whose_process_died_unseen_is_removed() {
    let site = shimmed();
    Run::of(site.path(), "20s", &[("SHIM", "drop-crash")]).failed(&["SIGABRT"]);
}

#[test]
fn a_file_that_may_be_anybodys_stays_and_is_told() {
    let site = shimmed();
    let mark = new_mark();
    // While a process has it open, a file is that process's. This one appears without being opened.
    let before = format!("/dev/shm/before_{mark}");
    fs::write(&before, "").unwrap();
    let run = smoke(site.path(), &mark, "20s", &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("both workers", || processes(&mark).len() >= 3);
    fs::rename(&before, format!("/dev/shm/other_nixl_retrofit_shim_{mark}_")).unwrap();
    let output = run.wait_with_output().unwrap();
    let left = shared_memory(&mark);
    left.iter().for_each(|name| fs::remove_file(Path::new("/dev/shm").join(name)).unwrap());
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((left.len(), common::status(&output)), (1, 0), "{document:#}");
    assert!(document["smoke"]["warnings"].to_string().contains(&left[0]), "{document:#}");
}

#[test]
fn a_segment_of_another_pid_namespace_stays() {
    let site = shimmed();
    let mark = new_mark();
    let mut inside = Command::new("unshare");
    inside.args(["--pid", "--fork", "--mount-proc"]).arg(common::program().get_program());
    let own = smoke(site.path(), &mark, "3s", &[]);
    inside.args(own.get_args()).args(["--fault", "hang"]).env(MARK, &mark);
    inside.stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = inside.spawn().expect("unshare starts");
    wait_for("both workers", || processes(&mark).len() >= 4);
    let name = format!("/dev/shm/ucx_shm_posix_nixl_retrofit_shim_{mark}_");
    let segment = fs::File::create_new(&name).unwrap();
    let output = run.wait_with_output().unwrap();
    let is_there = Path::new(&name).exists();
    drop(segment);
    let _ = fs::remove_file(&name);
    assert_eq!(output.status.code(), Some(1), "{}", common::stderr(&output));
    assert!(is_there, "a file that another container uses was removed");
}

#[test]
fn an_interrupted_transfer_says_so_and_leaves_nothing() {
    let mark = new_mark();
    let mut command = smoke(&site_packages("1.5.0"), &mark, "20s", &[]);
    command.arg("--fault").arg("hang");
    let child = with_default_signals(&command).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the workers", || processes(&mark).len() > 2);
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(2), "{output:?}");
    let heard = "nixl-retrofit: interrupted; stopping the processes that it started\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), heard);
    wait_for("the end of everything", || processes(&mark).is_empty());
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
    compile(&[fixture("nixl_shim").join("shim.c")], &plugin, &[]);
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
