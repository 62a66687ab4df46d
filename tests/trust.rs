//! What is executed and when, and that `--no-exec` executes nothing and finds the same.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Writes a shell script in the place of an interpreter.
fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A script that leaves a trace where it is run.
struct Trap {
    room: TempDir,
}

impl Trap {
    fn new() -> Trap {
        Trap { room: tempfile::tempdir().unwrap() }
    }

    fn set(&self, path: &Path) {
        script(path, &format!("echo \"$0\" >> '{}'", self.trace().display()));
    }

    fn trace(&self) -> PathBuf {
        self.room.path().join("executed")
    }

    fn assert_unsprung(&self) {
        assert!(!self.trace().exists(), "executed: {}", fs::read_to_string(self.trace()).unwrap());
    }
}

/// The path of the machine's Python itself, not of a version manager's shim.
fn real_python() -> String {
    python(&["-c", "import sys; print(sys.executable)"]).trim().to_string()
}

/// Every Python at hand from 3.6 on.
fn pythons() -> Vec<PathBuf> {
    let home = std::env::home_dir().unwrap();
    let versions = fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
    let managed = versions.map(|version| version.path().join("bin/python3"));
    let system = ["/usr/bin/python3", "/bin/python3", &real_python()].map(PathBuf::from);
    system.into_iter().chain(managed).filter(|python| python.exists()).collect()
}

/// What a run with the interpreter and one without it say, which is the same but for the check of the helper.
fn asked_and_not(target: &Path, user_base: &Path) -> Value {
    let [asked, not] = [&[][..], &["--no-exec"]].map(|options: &[&str]| {
        let mut command = program();
        command.args(["check", "--output-format=json"]).args(options).arg(target);
        let output = command.env("PYTHONUSERBASE", user_base).output().unwrap();
        let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
        for file in document["files"].as_array_mut().unwrap() {
            let last = file["details"].as_array_mut().unwrap().pop();
            assert!(last.is_some_and(|line| line.as_str().unwrap().contains("the inserted helper")));
        }
        document
    });
    assert_eq!(asked, not, "{}", target.display());
    not
}

#[test]
fn the_same_folders_are_searched_without_the_interpreter() {
    let empty = tempfile::tempdir().unwrap();
    for python in pythons() {
        for options in [&[][..], &["--system-site-packages"], &["--copies", "--system-site-packages"]] {
            let folder = tempfile::tempdir().unwrap();
            let mut make = std::process::Command::new(&python);
            let made = make.args(["-m", "venv", "--without-pip"]).args(options).arg(folder.path()).output().unwrap();
            assert!(made.status.success(), "{}: {}", python.display(), stderr(&made));
            // The error names every folder of the import path.
            let document = asked_and_not(folder.path(), empty.path());
            let error = document["error"].as_str().unwrap();
            assert!(error.contains("searched:") && error.contains(&*folder.path().to_string_lossy()), "{error}");
            assert_eq!(options.is_empty(), error.matches("-packages\n").count() == 1, "{error}");
        }
        let document = asked_and_not(&python, empty.path());
        assert!(document["error"].as_str().unwrap().contains("-packages\n"), "{document}");
    }
}

#[test]
fn the_same_module_is_found_without_the_interpreter() {
    let empty = tempfile::tempdir().unwrap();
    let (environment, _) = virtual_environment();
    for target in ["", "bin/python3", "bin/python"] {
        assert_eq!(asked_and_not(&environment.path().join(target), empty.path())["exit_status"], 1);
    }
    let user = tempfile::tempdir().unwrap();
    let version = python(&["-c", "import sys; print('python%d.%d' % sys.version_info[:2])"]);
    copy_tree(&fixture("site-packages"), &user.path().join("lib").join(version.trim()).join("site-packages"));
    let document = asked_and_not(Path::new(&real_python()), user.path());
    assert!(document["files"][0]["path"].as_str().unwrap().starts_with(&*user.path().to_string_lossy()), "{document}");
}

/// The folders that an error names as searched.
fn searched(document: &Value) -> Vec<String> {
    let error = document["error"].as_str().unwrap();
    error.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_string).collect()
}

#[test]
fn a_configuration_without_the_key_includes_the_systems_packages() {
    let (environment, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    empty_virtual_environment(environment.path());
    let configuration = environment.path().join("pyvenv.cfg");
    let text = fs::read_to_string(&configuration).unwrap();
    let without_key: Vec<&str> = text.lines().filter(|line| !line.starts_with("include-system")).collect();
    fs::write(&configuration, without_key.join("\n")).unwrap();
    let folders = searched(&asked_and_not(environment.path(), empty.path()));
    let script = "import sys; print(*(path for path in sys.path if path.endswith('-packages')), sep='\\n')";
    let own = std::process::Command::new(environment.path().join("bin/python3"))
        .args(["-c", script])
        .env("PYTHONUSERBASE", empty.path())
        .output()
        .unwrap();
    assert_eq!(folders, stdout(&own).lines().collect::<Vec<_>>());
    assert!(folders.len() > 1);
}

#[test]
fn an_interpreter_behind_a_link_is_followed() {
    let (room, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let link = room.path().join("bin/python3");
    fs::create_dir(room.path().join("bin")).unwrap();
    symlink(fs::canonicalize(real_python()).unwrap(), &link).unwrap();
    for option in ["--symlinks", "--copies"] {
        let folder = room.path().join(option);
        let mut make = std::process::Command::new(&link);
        make.args(["-m", "venv", "--without-pip", "--system-site-packages", option]).arg(&folder);
        assert!(make.status().unwrap().success());
        assert!(fs::read_to_string(folder.join("pyvenv.cfg")).unwrap().contains(&*room.path().to_string_lossy()));
        assert!(searched(&asked_and_not(&folder, empty.path())).len() > 1);
    }
}

#[test]
fn an_interpreter_without_its_library_is_an_error() {
    // Its own answer is compiled in. On Debian, `/lib` is a link into the prefix `/usr`.
    let folder = tempfile::tempdir().unwrap();
    let target = fs::canonicalize("/usr/bin/python3").unwrap_or_else(|_| real_python().into());
    let copy = folder.path().join(target.file_name().unwrap());
    fs::copy(&target, &copy).unwrap();
    let output = run(["check".as_ref(), "--no-exec".as_ref(), copy.as_os_str()]);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("has its standard library"), "{}", stderr(&output));
}

#[test]
fn an_empty_variable_disables_no_user_site() {
    let user = tempfile::tempdir().unwrap();
    let version = python(&["-c", "import sys; print('python%d.%d' % sys.version_info[:2])"]);
    copy_tree(&fixture("site-packages"), &user.path().join("lib").join(version.trim()).join("site-packages"));
    for (value, expected) in [("", 1), ("1", 2)] {
        for options in [&[][..], &["--no-exec"]] {
            let mut command = program();
            command.arg("check").args(options).arg(real_python()).env("PYTHONUSERBASE", user.path());
            let output = command.env("PYTHONNOUSERSITE", value).output().unwrap();
            assert_eq!(status(&output), expected, "{value:?} {options:?}: {}", stderr(&output));
        }
    }
}

#[test]
fn without_the_interpreter_the_helper_is_not_checked() {
    let (environment, site) = virtual_environment();
    let python = environment.path().join("bin/python3");
    let output = run(["--no-exec".as_ref(), "check".as_ref(), "-v".as_ref(), environment.path().as_os_str()]);
    let line = format!("did not check the inserted helper: `--no-exec` forbids {}", python.display());
    assert!(stdout(&output).contains(&line), "{}", stdout(&output));
    // An environment copied from elsewhere, and one whose interpreter is no Python.
    for name in ["python", "python3"] {
        fs::remove_file(environment.path().join("bin").join(name)).unwrap();
    }
    let check = || {
        let output = run(["check".as_ref(), "--no-exec".as_ref(), environment.path().as_os_str()]);
        assert_eq!(status(&output), 1, "{}", stderr(&output));
        assert!(stdout(&output).contains(&site.join(SOURCE).display().to_string()));
    };
    symlink("/nonexistent/python3", &python).unwrap();
    check();
    fs::remove_file(&python).unwrap();
    fs::copy("/bin/true", &python).unwrap();
    check();
}

#[test]
fn no_exec_works_on_either_side_of_every_subcommand() {
    let trap = Trap::new();
    let environment = tempfile::tempdir().unwrap();
    trap.set(&environment.path().join("bin/python3"));
    for command in ["apply", "check", "revert", "smoke"] {
        for arguments in [[command, "--no-exec"], ["--no-exec", command]] {
            let output = program().args(arguments).arg(environment.path()).output().unwrap();
            let text = stderr(&output);
            assert_eq!(status(&output), 2, "{text}");
            assert!(text.contains("not known without starting the interpreter") && text.contains("\nhelp: "), "{text}");
        }
    }
    trap.assert_unsprung();
    assert_eq!(status(&run(["check".as_ref(), environment.path().as_os_str()])), 2);
    assert!(trap.trace().exists(), "the trap works");
}

#[test]
fn several_libraries_are_named_where_nothing_chooses_one() {
    let environment = tempfile::tempdir().unwrap();
    let root = environment.path();
    for name in ["python3.11", "python3.12"] {
        copy_tree(&fixture("site-packages"), &root.join("lib").join(name).join("site-packages"));
    }
    fs::create_dir(root.join("bin")).unwrap();
    fs::copy("/bin/true", root.join("bin/python3")).unwrap();
    let check = |configuration: &str| {
        let alone = "include-system-site-packages = false\nhome = /nonexistent\n";
        fs::write(root.join("pyvenv.cfg"), format!("{alone}{configuration}")).unwrap();
        run(["check".as_ref(), "--no-exec".as_ref(), root.as_os_str()])
    };
    let output = check("");
    let text = stderr(&output);
    assert_eq!(status(&output), 2);
    assert!(text.contains("has `python3.11`, `python3.12`\nhelp: "), "{text}");
    for key in ["version", "version_info"] {
        let output = check(&format!("{key} = 3.12.4.final.0\n"));
        assert!(stdout(&output).contains("python3.12"), "{}{}", stdout(&output), stderr(&output));
    }
    fs::rename(root.join("bin/python3"), root.join("bin/python3.11")).unwrap();
    symlink("python3.11", root.join("bin/python3")).unwrap();
    assert!(stdout(&check("")).contains("python3.11"));
}

#[test]
fn files_and_package_folders_start_no_interpreter() {
    let trap = Trap::new();
    let (environment, site) = virtual_environment();
    for folder in [environment.path(), &site, &site.join("dynamo/nixl_connect")] {
        for name in ["python", "python3"] {
            trap.set(&folder.join("bin").join(name));
        }
    }
    for target in [SOURCE, "dynamo/nixl_connect", "dynamo", ""] {
        for arguments in [&["check"][..], &["apply", "--smoke=auto"], &["revert"]] {
            let output = program()
                .args(arguments)
                .arg(site.join(target))
                .env("VIRTUAL_ENV", environment.path())
                .env("PATH", environment.path().join("bin"))
                .output()
                .unwrap();
            assert!(status(&output) < 2, "{target}: {}", stderr(&output));
        }
    }
    // Packages without Dynamo, by the folder's name and as `pip install --target` makes it.
    let folders = tempfile::tempdir().unwrap();
    let named = folders.path().join("site-packages");
    let target = folders.path().join("target");
    fs::create_dir_all(target.join("nixl-1.5.0.dist-info")).unwrap();
    for folder in [named, target] {
        trap.set(&folder.join("bin/python3"));
        for command in ["check", "revert", "smoke"] {
            assert_eq!(status(&run([command.as_ref(), folder.as_os_str()])), 2);
        }
    }
    trap.assert_unsprung();
}

#[test]
fn only_absolute_entries_of_path_are_searched() {
    let trap = Trap::new();
    let folder = tempfile::tempdir().unwrap();
    trap.set(&folder.path().join("python3"));
    trap.set(&folder.path().join("bin/python3"));
    for path in ["", ":", ".", "bin", "./bin:", "/nonexistent::bin"] {
        let output = program().arg("check").env("PATH", path).current_dir(folder.path()).output().unwrap();
        let text = stderr(&output);
        assert_eq!(status(&output), 2);
        assert!(
            text.contains("`python3` on PATH: not found; its empty and relative entries are not searched"),
            "{text}"
        );
    }
    trap.assert_unsprung();
    let output = program().arg("check").env("PATH", "/nonexistent").output().unwrap();
    assert!(stderr(&output).contains("`python3` on PATH: not found\n"), "{}", stderr(&output));
}

/// An environment with the miniature, and a script before its interpreter, which the script runs as `$python`.
fn wrapped(text: &str) -> (TempDir, PathBuf) {
    let (environment, site) = virtual_environment();
    let name = fs::read_dir(environment.path().join("bin")).unwrap().flatten().map(|entry| entry.path());
    let versioned = name.into_iter().find(|path| path.to_string_lossy().contains("python3.")).unwrap();
    let target = fs::canonicalize(&versioned).unwrap();
    fs::remove_file(&versioned).unwrap();
    symlink(target, &versioned).unwrap();
    script(&environment.path().join("bin/python3"), &format!("python='{}'\n{text}", versioned.display()));
    (environment, site)
}

#[test]
fn an_interpreter_that_floods_is_stopped() {
    for text in ["yes", "yes >&2", "\"$python\" \"$@\"; yes"] {
        let (environment, site) = wrapped(text);
        let before = snapshot(&site);
        let mark = new_mark();
        let output =
            program().args(["apply", "--smoke=off"]).arg(environment.path()).env(MARK, &mark).output().unwrap();
        assert_eq!(status(&output), 2);
        assert!(stderr(&output).contains("wrote more than 1024 KiB"), "{text}: {}", stderr(&output));
        assert_eq!(snapshot(&site), before);
        wait_for("the end of the flood", || processes(&mark).is_empty());
    }
}

#[test]
fn what_an_interpreter_leaves_behind_is_not_waited_for_and_does_not_stay() {
    // The last one ends its parent first, so that it has no family but the group.
    for text in [
        "sleep 300 & exec \"$python\" \"$@\"",
        "head -c 300000 /dev/zero >&2; exec \"$python\" \"$@\"",
        "(sleep 300 & sleep 300 &) & exec \"$python\" \"$@\"",
    ] {
        let (environment, _) = wrapped(text);
        let (mark, started) = (new_mark(), Instant::now());
        let output = program().arg("check").arg(environment.path()).env(MARK, &mark).output().unwrap();
        assert_eq!(status(&output), 1, "{text}: {}", stderr(&output));
        assert!(started.elapsed() < Duration::from_secs(20), "{text}: {:?}", started.elapsed());
        wait_for("the end of the descendants", || processes(&mark).is_empty());
    }
}

/// A signal that ends the program ends the interpreter that it waits for; one that it was told to ignore ends neither.
#[test]
fn an_interpreter_that_hangs_ends_with_the_program() {
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        let (environment, _) = wrapped("sleep 300 & sleep 300");
        let mark = new_mark();
        let mut check = with_default_signals(program().arg("check").arg(environment.path()).env(MARK, &mark));
        let child = check.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for("the interpreter", || processes(&mark).len() == 4);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.signal(), Some(signal.as_raw()));
        let heard = "nixl-retrofit: interrupted; stopping the processes that it started\n";
        assert_eq!(stderr(&output), if signal == Signal::INT { heard } else { "" });
        wait_for("the end of the interpreter", || processes(&mark).is_empty());
    }
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let (environment, _) = wrapped("trap '' HUP; kill -HUP $PPID; exec \"$python\" \"$@\"");
    let command = "trap '' HUP; exec \"$@\"";
    let program = env!("CARGO_BIN_EXE_nixl-retrofit");
    let output =
        Command::new("sh").args(["-c", command, "sh", program, "check"]).arg(environment.path()).output().unwrap();
    assert_eq!(status(&output), 1, "{}", stderr(&output));
}
