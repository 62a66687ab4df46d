//! Nothing is lost: unusual RECORDs, links, owners and ACLs, interrupted runs, several targets. tests/faults stops runs at
//! every system call.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::*;
use tempfile::TempDir;

const MODULE: &str = "import nixl._api as n\ndef f(): return n.nixl_agent('x')\n";

/// A distribution with these modules, whose RECORD has their hashes, as installers write it.
fn distribution(modules: &[&str]) -> TempDir {
    let site = tempfile::tempdir().unwrap();
    for module in modules {
        let path = site.path().join(module);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, MODULE).unwrap();
    }
    fs::create_dir(site.path().join("p-1.dist-info")).unwrap();
    fs::write(record(site.path()), lines(site.path(), modules)).unwrap();
    site
}

fn record(site: &Path) -> PathBuf {
    site.join("p-1.dist-info/RECORD")
}

/// The lines that RECORD should have, computed by Python.
fn lines(site: &Path, modules: &[&str]) -> String {
    let script = "import base64, hashlib, sys\n\
        for name in sys.argv[2:]:\n    \
        data = open(sys.argv[1] + '/' + name, 'rb').read()\n    \
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()\n    \
        print(f'{name},sha256={digest},{len(data)}')";
    let mut arguments = vec!["-c", script, site.to_str().unwrap()];
    arguments.extend(modules);
    python(&arguments)
}

fn run_on(command: &str, targets: &[&Path]) -> Output {
    let options: &[&str] = if command == "apply" { &["--smoke=off"] } else { &[] };
    program().arg(command).args(options).args(targets).output().unwrap()
}

fn succeeds(command: &str, targets: &[&Path]) -> String {
    let output = run_on(command, targets);
    assert_eq!(status(&output), 0, "{command}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// Refused with status 2 and these words; nothing changes.
fn refused(command: &str, target: &Path, tree: &Path, words: &[&str]) {
    let before = snapshot(tree);
    let output = run_on(command, &[target]);
    assert_eq!(status(&output), 2, "{}{}", stdout(&output), stderr(&output));
    for word in words {
        assert!(stderr(&output).contains(word), "`{word}` is not in: {}", stderr(&output));
    }
    assert_eq!(snapshot(tree), before);
}

/// Runs the program under strace with a fault; needs strace.
fn with_fault(fault: &str, command: &str, target: &Path) -> Output {
    let call = fault.split(':').next().unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &format!("inject={fault}")]);
    strace.arg(program().get_program()).arg(command);
    if command == "apply" {
        strace.arg("--smoke=off");
    }
    strace.arg(target).output().expect("strace is needed for this test")
}

#[test]
fn several_targets_of_one_distribution_change_together() {
    let modules = ["p/a.py", "p/b.py"];
    let site = distribution(&modules);
    let targets: Vec<PathBuf> = modules.iter().map(|module| site.path().join(module)).collect();
    let targets: Vec<&Path> = targets.iter().map(PathBuf::as_path).collect();
    succeeds("apply", &targets);
    assert_eq!(fs::read_to_string(record(site.path())).unwrap(), lines(site.path(), &modules));
    fs::write(targets[0], MODULE).unwrap();
    let text = succeeds("revert", &targets);
    assert!(text.contains("not patched by nixl-retrofit; nothing to revert"), "{text}");
    assert_eq!(fs::read_to_string(targets[1]).unwrap(), MODULE, "the other one is reverted");
}

#[test]
fn an_interrupted_change_is_seen_and_finished_either_way() {
    let modules = ["p/a.py"];
    for (command, number) in [("apply", 1), ("apply", 2), ("revert", 1), ("revert", 2)] {
        for next in ["apply", "revert"] {
            let site = distribution(&modules);
            let (module, original) = (site.path().join("p/a.py"), snapshot(site.path()));
            if command == "revert" {
                succeeds("apply", &[&module]);
            }
            let killed = with_fault(&format!("renameat:signal=KILL:when={number}"), command, &module);
            assert!(!killed.status.success());
            let check = run_on("check", &[&module]);
            let agrees = fs::read_to_string(record(site.path())).unwrap() == lines(site.path(), &modules);
            if !agrees {
                assert_eq!(status(&check), 1, "{}", stdout(&check));
                assert!(stdout(&check).starts_with("unfinished: "), "{}", stdout(&check));
                let (_, document) = run_json(["check".as_ref(), module.as_os_str()]);
                assert_eq!(document["files"][0]["status"], "unfinished");
            }
            succeeds(next, &[&module]);
            assert_eq!(
                fs::read_to_string(record(site.path())).unwrap(),
                lines(site.path(), &modules),
                "{command} {number} {next}"
            );
            if next == "revert" {
                assert_eq!(snapshot(site.path()), original, "{command} {number}: no temporary file stays either");
            }
        }
    }
}

#[test]
fn runs_on_one_tree_take_turns() {
    let modules = ["p/a.py"];
    let site = distribution(&modules);
    let module = site.path().join("p/a.py");
    let mut slow = Command::new("strace");
    slow.args(["-f", "-o", "/dev/null", "-e", "trace=renameat", "-e", "inject=renameat:delay_enter=700000:when=2"]);
    let mut slow = slow.arg(program().get_program()).args(["apply", "--smoke=off", "-q"]).arg(&module).spawn().unwrap();
    for _ in 0..200 {
        if fs::read_to_string(&module).unwrap().contains("nixl-retrofit") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    succeeds("revert", &[&module]);
    assert!(slow.wait().unwrap().success());
    assert_eq!(fs::read_to_string(&module).unwrap(), MODULE, "the later run came last");
    assert_eq!(fs::read_to_string(record(site.path())).unwrap(), lines(site.path(), &modules));
}

#[test]
fn a_change_that_fails_in_the_middle_is_undone() {
    for fault in [
        "renameat:error=EIO:when=1",
        "renameat:error=ENOSPC:when=2",
        "fsync:error=EIO:when=3",
        "fsync:error=EIO:when=4",
    ] {
        let site = distribution(&["p/a.py"]);
        let before = snapshot(site.path());
        let output = with_fault(fault, "apply", &site.path().join("p/a.py"));
        assert_eq!(status(&output), 2, "{fault}: {}", stderr(&output));
        assert!(stderr(&output).contains("nothing was changed"), "{fault}: {}", stderr(&output));
        assert_eq!(snapshot(site.path()), before, "{fault}");
    }
    let site = distribution(&["p/a.py"]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", "trace=renameat", "-e", "inject=renameat:error=EIO:when=2"]);
    strace
        .arg(program().get_program())
        .args(["apply", "--smoke=off", "--output-format=json"])
        .arg(site.path().join("p/a.py"));
    let document: serde_json::Value = serde_json::from_slice(&strace.output().unwrap().stdout).unwrap();
    assert_eq!(
        (&document["exit_status"], &document["files"][0]["status"]),
        (&2.into(), &"failed".into()),
        "{document}"
    );
    let site = distribution(&["p/a.py"]);
    let output = with_fault("renameat:error=EROFS:when=2+", "apply", &site.path().join("p/a.py"));
    assert_eq!(status(&output), 1, "{}", stderr(&output));
    let text = stderr(&output);
    assert!(
        text.contains("could not be undone either; changed: ") && text.contains("help: run the same command again"),
        "{text}"
    );
    assert!(stdout(&output).contains("unfinished: "), "{}", stdout(&output));
}

#[test]
fn a_report_that_cannot_be_written_is_no_error_without_a_change() {
    let site = distribution(&["p/a.py"]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output =
        program().args(["apply", "--smoke=off"]).arg(site.path().join("p/a.py")).stdout(full).output().unwrap();
    assert_eq!(status(&output), 1);
    assert!(stderr(&output).contains("the files are changed, but the report cannot be written"), "{}", stderr(&output));
}

#[test]
fn the_exit_status_is_right_even_where_nothing_can_be_written() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let site = distribution(&["p/a.py"]);
    let module = site.path().join("p/a.py");
    let quiet = |command: &str, target: &Path| {
        let options: &[&str] = if command == "apply" { &["--smoke=off"] } else { &[] };
        status(&program().arg(command).args(options).arg(target).stdout(full()).stderr(full()).output().unwrap())
    };
    assert_eq!(quiet("revert", Path::new("/nowhere")), 2);
    let original = fs::read(record(site.path())).unwrap();
    assert_eq!(quiet("apply", &module), 1);
    fs::write(record(site.path()), original).unwrap();
    assert_eq!(quiet("apply", &module), 1, "RECORD was changed");
    assert_eq!(fs::read_to_string(record(site.path())).unwrap(), lines(site.path(), &["p/a.py"]));
    let stuck = with_fault("renameat:error=ENOSPC:when=2+", "revert", &module);
    assert_eq!(status(&stuck), 1, "RECORD is the original's, the module is not: {}", stderr(&stuck));
}

#[test]
fn a_record_is_updated_however_it_is_written() {
    let modules = ["p/a.py"];
    let agreed = |site: &Path| lines(site, &modules).trim().split_once(',').unwrap().1.to_string();
    for (name, write) in [
        (
            "quoted",
            (|rest: &str| {
                format!(
                    "\"p/a.py\",\"{}\",\"{}\"\r\n",
                    rest.split(',').next().unwrap(),
                    rest.split(',').nth(1).unwrap()
                )
            }) as fn(&str) -> String,
        ),
        ("backslashes", |rest| format!("p\\a.py,{rest}\n")),
        ("twice", |rest| format!("p/a.py,{rest}\nx,,\np/a.py,{rest}\n")),
        ("dotted", |rest| format!("./p/../p/a.py,{rest}\n")),
        ("redundant", |rest| format!("p/.//a.py,{rest}\n")),
        ("a mark, no newline", |rest| format!("\u{feff}p/a.py,{rest}")),
    ] {
        let site = distribution(&modules);
        fs::write(record(site.path()), write(&agreed(site.path()))).unwrap();
        let before = snapshot(site.path());
        let module = site.path().join("p/a.py");
        succeeds("apply", &[&module]);
        assert_eq!(fs::read_to_string(record(site.path())).unwrap(), write(&agreed(site.path())), "{name}");
        succeeds("revert", &[&module]);
        assert_eq!(snapshot(site.path()), before, "{name}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_and_never_waited_for() {
    let fifo = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let site = distribution(&["p/a.py"]);
    let module = site.path().join("p/a.py");
    let odd = distribution(&[]);
    for name in ["x.pth", "__editable___x_finder.py", "p-1.dist-info/METADATA"] {
        fifo(&odd.path().join(name));
    }
    assert_eq!(status(&run_on("check", &[odd.path()])), 2, "no Dynamo there");
    fs::remove_file(record(site.path())).unwrap();
    fifo(&record(site.path()));
    let output = run_on("apply", &[&module]);
    assert_eq!(status(&output), 2);
    assert!(
        stderr(&output).contains("RECORD: is a FIFO; expected a regular file; it may list the module"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read_to_string(&module).unwrap(), MODULE);
    fs::remove_file(record(site.path())).unwrap();
    fs::create_dir(record(site.path())).unwrap();
    refused("apply", &module, site.path(), &["RECORD: is a directory"]);
    fs::remove_dir(record(site.path())).unwrap();
    fs::remove_file(&module).unwrap();
    fifo(&module);
    let output = run_on("apply", &[&module]);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("is a FIFO"), "{}", stderr(&output));
}

/// Runs as a user without privileges; needs root and setpriv.
fn as_user(uid: u32, groups: &[u32], command: &str, target: &Path) -> Output {
    let program = tempfile::tempdir().unwrap();
    let copy = program.path().join("nixl-retrofit");
    fs::copy(super_program(), &copy).unwrap();
    fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let group = groups[0].to_string();
    let mut setpriv = Command::new("setpriv");
    setpriv.args([&format!("--reuid={uid}"), &format!("--regid={group}"), "--clear-groups"]).arg(&copy).arg(command);
    if command == "apply" {
        setpriv.arg("--smoke=off");
    }
    setpriv.arg(target).output().expect("setpriv (util-linux) is needed for this test")
}

fn super_program() -> PathBuf {
    PathBuf::from(program().get_program())
}

fn own_all(tree: &Path, uid: u32, gid: u32) {
    chown(tree, Some(uid), Some(gid)).expect("this test needs root");
    for entry in fs::read_dir(tree).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { own_all(&path, uid, gid) } else { chown(path, Some(uid), Some(gid)).unwrap() }
    }
}

#[test]
fn a_user_who_cannot_read_record_is_told_so() {
    let site = distribution(&["p/a.py"]);
    own_all(site.path(), 65534, 65534);
    chown(record(site.path()), Some(0), Some(0)).unwrap();
    fs::set_permissions(record(site.path()), fs::Permissions::from_mode(0o600)).unwrap();
    let before = snapshot(site.path());
    let output = as_user(65534, &[65534], "apply", &site.path().join("p/a.py"));
    assert_eq!(status(&output), 2, "{}", stdout(&output));
    assert!(stderr(&output).contains("RECORD: cannot be read: Permission denied"), "{}", stderr(&output));
    assert_eq!(snapshot(site.path()), before);
}

#[test]
fn an_owner_that_cannot_be_kept_matters_only_where_access_changes() {
    // OpenShift: a random user in group 0, and files that group 0 may write.
    let site = distribution(&["p/a.py"]);
    own_all(site.path(), 0, 0);
    let module = site.path().join("p/a.py");
    for folder in [site.path().to_path_buf(), site.path().join("p"), site.path().join("p-1.dist-info")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o775)).unwrap();
    }
    for file in [&module, &record(site.path())] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o664)).unwrap();
    }
    let output = as_user(1_000_640, &[0], "apply", &module);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&output).matches("now belongs to 1000640:0 instead of 0:0").count(), 2, "{}", stdout(&output));
    let metadata = fs::metadata(&module).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (1_000_640, 0, 0o664));
    // The same with files that only root may write: the user would gain that.
    let site = distribution(&["p/a.py"]);
    own_all(site.path(), 0, 0);
    let module = site.path().join("p/a.py");
    fs::set_permissions(site.path(), fs::Permissions::from_mode(0o775)).unwrap();
    fs::set_permissions(site.path().join("p"), fs::Permissions::from_mode(0o775)).unwrap();
    fs::set_permissions(&module, fs::Permissions::from_mode(0o644)).unwrap();
    let before = snapshot(site.path());
    let output = as_user(1_000_640, &[0], "apply", &module);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("owner") && stderr(&output).contains("`USER root`"), "{}", stderr(&output));
    assert_eq!(snapshot(site.path()), before);
    // A user's own environment with files of another group, which has what all others have.
    let site = distribution(&["p/a.py"]);
    own_all(site.path(), 65534, 65534);
    let module = site.path().join("p/a.py");
    chown(&module, None, Some(4242)).unwrap();
    fs::set_permissions(&module, fs::Permissions::from_mode(0o644)).unwrap();
    let output = as_user(65534, &[65534], "apply", &module);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert_eq!(fs::metadata(&module).unwrap().gid(), 65534);
}

#[test]
fn a_folders_default_acl_adds_nothing() {
    let acl = |arguments: &[&str], path: &Path| {
        let output = Command::new(arguments[0]).args(&arguments[1..]).arg(path).output();
        stdout(&output.unwrap_or_else(|error| panic!("{} (acl) is needed for this test: {error}", arguments[0])))
    };
    let site = distribution(&["p/a.py", "p/b.py"]);
    let (plain, listed) = (site.path().join("p/a.py"), site.path().join("p/b.py"));
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o660)).unwrap();
    acl(&["setfacl", "-m", "u:4242:rw,m::rw"], &listed);
    acl(&["setfacl", "-d", "-m", "u:65534:rwx"], &site.path().join("p"));
    let before = [acl(&["getfacl", "-pc"], &plain), acl(&["getfacl", "-pc"], &listed)];
    succeeds("apply", &[&plain, &listed]);
    assert_eq!([acl(&["getfacl", "-pc"], &plain), acl(&["getfacl", "-pc"], &listed)], before);
}

#[test]
fn a_link_into_another_tree_mends_that_trees_record_too() {
    let modules = ["p/a.py"];
    let (linked, real) = (distribution(&modules), distribution(&modules));
    let link = linked.path().join("p/a.py");
    fs::remove_file(&link).unwrap();
    symlink(real.path().join("p/a.py"), &link).unwrap();
    let before = (snapshot(linked.path()), snapshot(real.path()));
    succeeds("apply", &[&link]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    for site in [linked.path(), real.path()] {
        assert_eq!(fs::read_to_string(record(site)).unwrap(), lines(site, &modules));
    }
    succeeds("revert", &[&link]);
    assert_eq!((snapshot(linked.path()), snapshot(real.path())), before);
    fs::remove_file(record(real.path())).unwrap();
    fs::create_dir(record(real.path())).unwrap();
    refused("apply", &link, linked.path(), &["RECORD: is a directory"]);
}

#[test]
fn bytecode_that_python_would_not_check_goes() {
    let site = distribution(&["p/a.py"]);
    let module = site.path().join("p/a.py");
    let compile = "import py_compile, sys\npy_compile.compile(sys.argv[1], invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)";
    python(&["-c", compile, module.to_str().unwrap()]);
    let cache = site.path().join("p/__pycache__");
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
    succeeds("apply", &[&module]);
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 0);
}

#[test]
fn a_module_beside_its_record_does_not_lock_the_run_out() {
    let modules = ["p-1.dist-info/a.py"];
    let site = tempfile::tempdir().unwrap();
    fs::create_dir(site.path().join("p-1.dist-info")).unwrap();
    fs::write(site.path().join(modules[0]), MODULE).unwrap();
    fs::write(record(site.path()), lines(site.path(), &modules)).unwrap();
    // A file of such a name is no distribution.
    fs::write(site.path().join("x-1.dist-info"), "").unwrap();
    succeeds("apply", &[&site.path().join(modules[0])]);
    assert_eq!(fs::read_to_string(record(site.path())).unwrap(), lines(site.path(), &modules));
}

#[test]
fn a_module_whose_name_is_not_utf8_is_in_record() {
    let site = distribution(&["p/a.py"]);
    let module = site.path().join("p").join(OsStr::from_bytes(b"\xff.py"));
    fs::rename(site.path().join("p/a.py"), &module).unwrap();
    let line = |agreed: &str| [b"p/\xff.py".as_slice(), agreed.trim_start_matches("p/a.py").as_bytes()].concat();
    let old = fs::read_to_string(record(site.path())).unwrap();
    fs::write(record(site.path()), line(&old)).unwrap();
    succeeds("apply", &[&module]);
    fs::copy(&module, site.path().join("p/a.py")).unwrap();
    assert_eq!(fs::read(record(site.path())).unwrap(), line(&lines(site.path(), &["p/a.py"])));
}

#[test]
fn the_record_is_found_wherever_it_is() {
    let deep = "a/b/c/d/e/f/g/m.py";
    let site = distribution(&[deep]);
    succeeds("apply", &[&site.path().join(deep)]);
    assert_eq!(fs::read_to_string(record(site.path())).unwrap(), lines(site.path(), &[deep]), "far above");
    let vendored = "pkg/_vendor/x/m.py";
    let site = distribution(&[vendored]);
    fs::create_dir(site.path().join("pkg/_vendor/x-1.dist-info")).unwrap();
    fs::write(site.path().join("pkg/_vendor/x-1.dist-info/RECORD"), "x/other.py,,\n").unwrap();
    succeeds("apply", &[&site.path().join(vendored)]);
    assert_eq!(fs::read_to_string(record(site.path())).unwrap(), lines(site.path(), &[vendored]), "above another one");
    let prefix = tempfile::tempdir().unwrap();
    let (lib, lib64) =
        (prefix.path().join("lib/python3/site-packages"), prefix.path().join("lib64/python3/site-packages"));
    fs::create_dir_all(lib.join("p-1.dist-info")).unwrap();
    fs::create_dir_all(&lib64).unwrap();
    fs::write(lib64.join("m.py"), MODULE).unwrap();
    let entry = "../../../lib64/python3/site-packages/m.py";
    fs::write(record(&lib), lines(&lib, &[entry])).unwrap();
    succeeds("apply", &[&lib64.join("m.py")]);
    assert_eq!(fs::read_to_string(record(&lib)).unwrap(), lines(&lib, &[entry]), "below lib");
}

#[test]
fn a_user_without_the_right_to_write_is_told_what_to_do() {
    let site = distribution(&["p/a.py"]);
    fs::set_permissions(site.path(), fs::Permissions::from_mode(0o755)).unwrap();
    own_all(site.path(), 0, 0);
    let output = as_user(65534, &[65534], "apply", &site.path().join("p/a.py"));
    assert_eq!(status(&output), 2);
    let text = stderr(&output);
    assert!(text.contains("a.py: cannot be written: Permission denied") && text.contains("`USER root`"), "{text}");
    assert!(!text.contains(".tmp\""), "{text}");
}

#[test]
fn bytecode_that_a_stopped_run_left_is_seen() {
    let site = tempfile::tempdir().unwrap();
    let module = site.path().join("a.py");
    fs::write(&module, MODULE).unwrap();
    let compile = "import py_compile, sys\npy_compile.compile(sys.argv[1], invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)";
    python(&["-c", compile, module.to_str().unwrap()]);
    assert!(!with_fault("renameat:signal=KILL:when=2", "apply", &module).status.success());
    let check = run_on("check", &[&module]);
    assert_eq!(status(&check), 1, "{}", stdout(&check));
    assert!(stdout(&check).starts_with("unfinished: "), "{}", stdout(&check));
    succeeds("apply", &[&module]);
    assert_eq!(fs::read_dir(site.path().join("__pycache__")).unwrap().count(), 0);
    succeeds("check", &[&module]);
}

#[test]
fn a_path_that_is_not_utf8_is_in_the_document() {
    let site = distribution(&[]);
    let module = site.path().join(OsStr::from_bytes(b"m\xff.py"));
    fs::write(&module, MODULE).unwrap();
    let (status, document) = run_json(["apply".as_ref(), "--smoke=off".as_ref(), module.as_os_str()]);
    assert_eq!((status, &document["files"][0]["status"]), (0, &"patched".into()));
    assert!(document["files"][0]["path"].as_str().unwrap().ends_with("m\u{fffd}.py"), "{document}");
}
