//! What cannot be processed is reported with exit status 2, and nothing is changed.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::*;

/// Runs `apply` on a target: it fails with all of these words and leaves the folder as it was.
fn refused(folder: &Path, target: &Path, words: &[&str]) {
    let before = snapshot(folder);
    let output = run(["apply".as_ref(), target.as_os_str()]);
    let text = stderr(&output);
    assert_eq!(status(&output), 2, "{text}");
    assert_eq!(stdout(&output), "", "an error is reported once, on standard error");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    assert_eq!(snapshot(folder), before);
    let (status, document) = run_json(["check".as_ref(), target.as_os_str()]);
    assert_eq!((status, &document["exit_status"]), (2, &2.into()));
    assert!(document["error"].as_str().unwrap().contains(words[0]), "{document}");
}

fn refused_source(bytes: &[u8], words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.py");
    fs::write(&file, bytes).unwrap();
    refused(folder.path(), &file, words);
}

#[test]
fn a_path_that_does_not_exist() {
    let folder = tempfile::tempdir().unwrap();
    refused(
        folder.path(),
        &folder.path().join("missing"),
        &["missing", "cannot be accessed", "No such file or directory"],
    );
}

#[test]
fn a_folder_without_dynamo() {
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path(), folder.path(), &[SOURCE, "searched", "\nhelp: install `ai-dynamo-runtime`"]);
}

#[test]
fn a_file_that_record_lists_and_that_does_not_exist() {
    let (environment, site) = virtual_environment();
    fs::remove_file(site.join(SOURCE)).unwrap();
    refused(
        &site,
        environment.path(),
        &[SOURCE, "does not exist", "RECORD", "\nhelp: reinstall `ai-dynamo-runtime` 9.9.9"],
    );
}

#[test]
fn files_that_are_not_python() {
    refused_source(b"\x7fELF\x02\x01\x01\x00\x00", &["not Python source", "m.py", "\nhelp: pass a Python source"]);
    refused_source(b"x = '\xff'\n", &["line 1", "0xff", "UTF-8", "coding"]);
    refused_source(b"# coding: klingon\nx = 1\n", &["klingon", "unknown encoding"]);
}

#[test]
fn a_target_that_python_never_reads_is_no_fault_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in
        [("Dockerfile", &b"FROM debian:13\nRUN true\n"[..]), ("nixl-1.5.1.whl", b"PK\x03\x04\x14\x00")]
    {
        let file = folder.path().join(name);
        fs::write(&file, content).unwrap();
        refused(folder.path(), &file, &[name, "\nhelp: pass a Python source (`*.py`)", "install a wheel"]);
        assert!(!stderr(&run(["apply".as_ref(), file.as_os_str()])).contains("report"), "nothing to report to anybody");
        fs::remove_file(&file).unwrap();
    }
    let script = "import sys, zipfile\nfile = open(sys.argv[1], 'wb')\nfile.write(b'#!/usr/bin/env python3\\n')\n\
        zipfile.ZipFile(file, 'w').writestr('__main__.py', 'print(1)')";
    for name in ["application", "application.pyz", "nixl-1.5.1-py3-none-any.whl"] {
        let file = folder.path().join(name);
        python(&["-c", script, file.to_str().unwrap()]);
        refused(folder.path(), &file, &[": a ZIP archive (a wheel or a zip application)", "install a wheel"]);
        fs::remove_file(&file).unwrap();
    }
}

/// uv's symlink mode. With hard links and copies, the cache keeps its own bytes.
#[test]
fn a_file_in_a_cache_of_all_environments_is_not_patched() {
    let (environment, site) = virtual_environment();
    let cache = tempfile::tempdir().unwrap();
    copy_tree(&site, &cache.path().join("archive-v0/x"));
    fs::write(cache.path().join("CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n").unwrap();
    let cached = cache.path().join("archive-v0/x").join(SOURCE);
    fs::remove_file(site.join(SOURCE)).unwrap();
    std::os::unix::fs::symlink(&cached, site.join(SOURCE)).unwrap();
    let before = snapshot(cache.path());
    refused(
        &site,
        environment.path(),
        &["in a cache that every environment shares", "\nhelp: reinstall with `UV_LINK_MODE=copy"],
    );
    assert_eq!(snapshot(cache.path()), before);
    fs::remove_file(site.join(SOURCE)).unwrap();
    fs::hard_link(&cached, site.join(SOURCE)).unwrap();
    assert_eq!(status(&run(["apply".as_ref(), "--smoke".as_ref(), "off".as_ref(), environment.path().as_os_str()])), 0);
    assert_eq!(snapshot(cache.path()), before);
    assert!(fs::read_to_string(site.join(SOURCE)).unwrap().contains("NIXL_BACKEND"));
}

#[test]
fn a_syntax_error_has_its_place_and_its_line() {
    refused_source(
        b"import nixl._api as api\nx = 1\napi.nixl_agent('a'\ny = = 2\n",
        &["m.py:3:15: `(` is never closed", "api.nixl_agent('a'"],
    );
}

/// Each marker that is tried takes time for the whole file.
#[test]
fn a_file_full_of_markers() {
    let hash = "0".repeat(64);
    let markers: String = (0..20_000)
        .map(|number| format!("# >>> nixl-retrofit 0.1.0 x\n# >>> original sha256={hash} inserted={number}+1\n\n"))
        .collect();
    let started = Instant::now();
    refused_source(markers.as_bytes(), &["more than 16 comments look like markers", "\nhelp: reinstall"]);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_folder_where_the_file_should_be() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join(SOURCE)).unwrap();
    refused(folder.path(), folder.path(), &["is a directory; expected a regular file"]);
}

#[test]
fn an_interpreter_that_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("python3.12");
    fs::write(&file, "#!/nonexistent/interpreter\n").unwrap();
    refused(folder.path(), &file, &["python3.12", "cannot be started"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    refused(folder.path(), &file, &["python3.12", "cannot be started"]);
    fs::write(&file, "#!/bin/sh\necho 'no module named encodings' >&2; exit 1\n").unwrap();
    refused(folder.path(), &file, &["python3.12", "reports no import path", "no module named encodings"]);
}

#[test]
fn an_interpreter_in_which_the_helper_is_wrong() {
    let site = site_packages();
    let python = site.path().join("python3");
    let script = format!(
        "#!/bin/sh\necho {0}/python3; echo 3.12.0; echo {0}; echo; echo UCX; echo UCX; echo LIBFABRIC\n",
        site.path().display()
    );
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    refused(site.path(), &python, &["inserted helper returns", "`NIXL_BACKEND=UCX`", "nothing was changed"]);
}

/// As images are whose base lost its Python, or has one for another machine: the folders tell what it would import.
#[test]
fn a_virtual_environment_whose_interpreter_cannot_run() {
    type Break = fn(&Path);
    let breaks: [(Break, &str); 6] = [
        (|_| {}, "cannot be started: No such file or directory (os error 2)"),
        (
            |python| symlink("/nonexistent/python3", python).unwrap(),
            "cannot be started: No such file or directory (os error 2)",
        ),
        (|python| drop(fs::write(python, "\x7fELF no more")), "cannot be started: Permission denied (os error 13)"),
        (|python| executable(python, b"\x7fELF no more"), "cannot be started: Exec format error (os error 8)"),
        (|python| executable(python, &of_another_machine()), "cannot be started: Exec format error (os error 8)"),
        // It starts, and its own library is gone.
        (|python| drop(fs::copy("/bin/false", python)), "reports no import path (exit status: 1)"),
    ];
    for (broken, fact) in breaks {
        let (environment, site) = virtual_environment();
        for entry in fs::read_dir(environment.path().join("bin")).unwrap().flatten() {
            fs::remove_file(entry.path()).unwrap();
        }
        let python = environment.path().join("bin/python3");
        broken(&python);
        let before = snapshot(&site);
        let note = format!(
            "warning: `{}` {fact}; the module was found by the environment's files, and the inserted helper was not \
             checked in that Python",
            python.display()
        );
        let (exit, document) = run_json(["check".as_ref(), environment.path().as_os_str()]);
        assert_eq!(exit, 1, "{document:#}");
        assert_eq!(document["files"][0]["notes"][0], note, "{document:#}");
        let output = run(["apply".as_ref(), "--smoke=off".as_ref(), environment.path().as_os_str()]);
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        assert!(stdout(&output).contains(&note), "{}", stdout(&output));
        assert!(record_agrees(&site));
        let target = if python.is_symlink() { &python } else { environment.path() };
        assert_eq!(status(&run(["revert".as_ref(), target.as_os_str()])), 0);
        assert_eq!(snapshot(&site), before);
    }
}

fn executable(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A whole program, with the number of a machine in its header that this one is not: IBM's s390.
fn of_another_machine() -> Vec<u8> {
    let mut program = fs::read("/bin/true").unwrap();
    program[18..20].copy_from_slice(&22_u16.to_le_bytes());
    program
}

#[test]
fn a_broken_interpreter_stays_an_error_where_the_folders_do_not_tell() {
    let (environment, site) = virtual_environment();
    let bin = environment.path().join("bin");
    let python = bin.join("python3");
    for entry in fs::read_dir(&bin).unwrap().flatten() {
        fs::remove_file(entry.path()).unwrap();
    }
    let refuse = |facts: &[&str]| {
        let output = run(["check".as_ref(), environment.path().as_os_str()]);
        assert_eq!(status(&output), 2);
        let text = stderr(&output);
        for fact in facts {
            assert!(text.contains(fact), "{fact}: {text}");
        }
        assert!(!text.contains("--no-exec"), "{text}");
    };
    // Nothing says which of two versions.
    let beside = site.parent().unwrap().with_file_name("python3.2").join("site-packages");
    copy_tree(&site, &beside);
    let configuration = environment.path().join("pyvenv.cfg");
    let text = fs::read_to_string(&configuration).unwrap();
    let without: String =
        text.lines().filter(|line| !line.starts_with("version")).map(|line| format!("{line}\n")).collect();
    fs::write(&configuration, &without).unwrap();
    let named =
        ["cannot be started", "leave the import path open", "`python3.2`", "help: pass the site-packages folder"];
    refuse(&named);
    // What a script would start, nobody knows.
    fs::write(&configuration, text).unwrap();
    executable(&python, b"#!/nonexistent/shell\n");
    refuse(&["cannot be started", "is no binary program", "help: pass the site-packages folder"]);
}

#[test]
fn options_that_name_no_backend() {
    let site = site_packages();
    for option in ["--default-backend=BOGUS", "--allow=UCX,BOGUS", "--backend=BOGUS"] {
        let output = run(["apply".as_ref(), option.as_ref(), site.path().as_os_str()]);
        assert_eq!(status(&output), 2);
        let text = stderr(&output);
        assert!(text.contains("BOGUS") && text.contains("LIBFABRIC"), "{text}");
    }
    let output = run(["apply".as_ref(), "--allow=LIBFABRIC".as_ref(), site.path().as_os_str()]);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("--default-backend UCX"), "{}", stderr(&output));
    for option in
        ["--env-var=1X", "--size=0", "--timeout=never", "--iterations=0", "--color=blue", "--output-format=xml"]
    {
        assert_eq!(status(&run(["apply".as_ref(), option.as_ref(), site.path().as_os_str()])), 2, "{option}");
    }
    assert_eq!(fs::read(site.path().join(SOURCE)).unwrap(), fs::read(fixture("site-packages").join(SOURCE)).unwrap());
}

#[test]
fn standard_input_stands_alone() {
    let site = site_packages();
    for command in ["check", "apply", "revert"] {
        let output = run([command.as_ref(), "-".as_ref(), site.path().as_os_str()]);
        assert_eq!(status(&output), 2);
        let text = stderr(&output);
        assert!(text.contains("`-` (standard input) cannot be combined with other targets"), "{text}");
    }
}

#[test]
fn one_bad_target_among_several_stops_all() {
    let site = site_packages();
    let before = snapshot(site.path());
    let output = run(["apply".as_ref(), "--smoke=off".as_ref(), site.path().as_os_str(), "/nonexistent".as_ref()]);
    assert_eq!(status(&output), 2);
    assert_eq!(snapshot(site.path()), before);
}

#[test]
fn a_file_edited_since_is_neither_reverted_nor_patched_again() {
    let site = site_packages();
    let file = site.path().join(SOURCE);
    assert_eq!(status(&run(["apply".as_ref(), "--smoke=off".as_ref(), file.as_os_str()])), 0);
    let mut text = fs::read_to_string(&file).unwrap();
    text.push_str("# edited\n");
    fs::write(&file, &text).unwrap();
    for arguments in [vec!["revert"], vec!["apply", "--smoke=off", "--on-unknown=error"]] {
        let output = program().args(&arguments).arg(&file).output().unwrap();
        assert_eq!(status(&output), 2, "{arguments:?}");
        assert!(stderr(&output).contains("edited since"), "{}", stderr(&output));
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    let (status, document) = run_json(["check".as_ref(), file.as_os_str()]);
    assert_eq!((status, &document["files"][0]["status"]), (0, &"already-patched".into()));
}

#[test]
fn what_was_never_patched_is_not_reverted() {
    let site = site_packages();
    let before = snapshot(site.path());
    let output = run(["revert".as_ref(), site.path().as_os_str()]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("not patched by nixl-retrofit; nothing to revert"), "{}", stdout(&output));
    assert_eq!(snapshot(site.path()), before);
}

/// Runs a script as root in its own mount namespace, which ends with it.
fn in_mount_namespace(script: &str, folder: &Path) -> std::process::Output {
    let program = program();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-euc", script, "sh"])
        .arg(program.get_program())
        .arg(folder)
        .output()
        .expect("unshare (util-linux) is needed for this test");
    let text = stderr(&output);
    assert!(!text.contains("unshare failed"), "this test needs root: {text}");
    output
}

#[test]
fn a_read_only_file_system() {
    let site = site_packages();
    let before = snapshot(site.path());
    let script = "mount --bind \"$2\" \"$2\"; mount -o remount,ro,bind \"$2\"; \"$1\" apply --smoke=off \"$2\"";
    let output = in_mount_namespace(script, site.path());
    assert_eq!(status(&output), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("Read-only file system"), "{}", stderr(&output));
    assert_eq!(snapshot(site.path()), before);
}

#[test]
fn a_full_disk() {
    let site = site_packages();
    let room = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=32k tmpfs \"$2\"; cp -r {}/. \"$2\"; dd if=/dev/zero of=\"$2/rest\" bs=1k 2>/dev/null || true; \
         before=$(cd \"$2\"; find . -type f | sort | xargs sha256sum); status=0; \"$1\" apply --smoke=off \"$2\" || status=$?; \
         [ \"$before\" = \"$(cd \"$2\"; find . -type f | sort | xargs sha256sum)\" ] || echo CHANGED >&2; exit $status",
        site.path().display()
    );
    let output = in_mount_namespace(&script, room.path());
    let text = stderr(&output);
    assert_eq!(status(&output), 2, "{text}");
    assert!(text.contains("No space left on device") && !text.contains("CHANGED"), "{text}");
}

/// Runs `apply` as an ordinary user, from a copy that this user may run.
fn apply_as_nobody(target: &Path) -> std::process::Output {
    let room = tempfile::tempdir().unwrap();
    let copy = room.path().join("nixl-retrofit");
    fs::copy(program().get_program(), &copy).unwrap();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["apply", "--smoke=off"])
        .arg(target)
        .output()
        .expect("setpriv (util-linux) is needed for this test");
    assert!(!stderr(&output).contains("setpriv:"), "this test needs root: {}", stderr(&output));
    output
}

#[test]
fn no_permission() {
    let site = site_packages();
    let before = snapshot(site.path());
    // An ordinary user may read the folder but not write it.
    fs::set_permissions(site.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = apply_as_nobody(site.path());
    let text = stderr(&output);
    assert_eq!(status(&output), 2, "{text}");
    assert!(text.contains("Permission denied"), "{text}");
    assert_eq!(snapshot(site.path()), before);
}

/// A module that cannot be looked at is not passed over.
#[test]
fn no_permission_for_one_of_dynamo_s_modules() {
    let site = site_packages();
    let closed = site.path().join("dynamo/common");
    fs::create_dir_all(closed.join("multimodal")).unwrap();
    let before = snapshot(site.path());
    let owned = Command::new("chown").arg("-R").arg("65534").arg(site.path()).status().unwrap();
    assert!(owned.success(), "this test needs root");
    for (folder, mode) in [(site.path(), 0o755), (closed.as_path(), 0)] {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    }
    let output = apply_as_nobody(site.path());
    let text = stderr(&output);
    assert_eq!(status(&output), 2, "{text}");
    assert!(text.contains("embedding_transfer.py") && text.contains("Permission denied"), "{text}");
    assert_eq!(snapshot(site.path()), before);
}

#[test]
fn a_pair_of_backends_without_agents() {
    let (environment, _site) = virtual_environment();
    let path = environment.path().to_str().unwrap();
    let output = run(["smoke", "--engine", "native", "--backend", "LIBFABRIC", "--peer-backend", "UCX", path]);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("`--peer-backend` needs NIXL's agents"), "{}", stderr(&output));
}
