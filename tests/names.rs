//! Names from outside stay a part of one line, and cannot pass for words of the program.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::*;
use tempfile::TempDir;

/// It would write a line of its own, colour what follows, and turn the text around.
const EVIL: &str = "x\nerror: fake\n::error::fake\n+++ b/fake\u{1b}[31m\r\u{202e}\"\\y";
/// The same in words for people.
const SHOWN: &str = "x\\nerror: fake\\n::error::fake\\n+++ b/fake\\u{1b}[31m\\r\\u{202e}\"\\y";

/// A site-packages folder with such a name.
fn evil_site() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join(EVIL.replace('/', ":"));
    copy_tree(&fixture("site-packages"), &site);
    (folder, site)
}

#[track_caller]
fn is_honest(text: &str) {
    for line in text.lines() {
        let is_fake = ["error: fake", "::error::fake", "+++ b"].iter().any(|fake| line.starts_with(fake));
        assert!(!is_fake || line.starts_with("+++ b/dynamo/"), "{line:?} in {text}");
    }
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\r']), "{text:?}");
}

#[test]
fn no_command_prints_a_name_as_lines() {
    let (folder, site) = evil_site();
    let shown = SHOWN.replace('/', ":");
    for command in ["check", "apply", "check", "audit", "doctor", "smoke", "revert"] {
        let output = run([command.as_ref(), site.as_os_str()]);
        let text = stdout(&output) + &stderr(&output);
        is_honest(&text);
        assert!(text.contains(&shown), "{command}: {text}");
    }
    for command in ["check", "apply", "revert", "audit", "doctor", "smoke"] {
        let output = run([command.as_ref(), site.join("missing").as_os_str()]);
        assert_eq!(status(&output), 2);
        is_honest(&stderr(&output));
        assert!(stderr(&output).contains(&shown), "{command}: {}", stderr(&output));
    }
    let file = site.join("broken.py");
    fs::write(&file, "def f(:\n").unwrap();
    is_honest(&stderr(&run(["check".as_ref(), file.as_os_str()])));
    drop(folder);
}

#[test]
fn a_usage_error_prints_no_argument_as_lines() {
    for arguments in [
        vec!["check", "--x\nerror: fake\u{1b}"],
        vec!["smoke", "--size", "1\nerror: fake\u{202e}"],
        vec!["\r\nerror: fake"],
    ] {
        let output = run(&arguments);
        assert_eq!(status(&output), 2);
        is_honest(&stderr(&output));
    }
}

#[test]
fn documents_have_the_name_as_it_is() {
    let (_folder, site) = evil_site();
    let (_, document) = run_json(["check".as_ref(), site.as_os_str()]);
    assert_eq!(document["files"][0]["path"], site.join(SOURCE).to_str().unwrap());
    let output = run(["check", "--output-format", "github", site.to_str().unwrap()]);
    let text = stdout(&output);
    assert!(text.lines().count() > 0 && text.lines().all(|line| line.starts_with("::error file=")), "{text}");
    assert!(text.contains("x%0Aerror%3A fake%0A%3A%3Aerror"), "{text}");
    let output = run(["check", "--output-format", "github", site.join("missing").to_str().unwrap()]);
    assert_eq!(stdout(&output).lines().count(), 1, "{}", stdout(&output));
}

/// Runs a program in the folder on this patch.
fn patched_by(program: &[&str], folder: &Path, diff: &[u8]) -> std::process::Output {
    let file = folder.join("the.patch");
    fs::write(&file, diff).unwrap();
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).current_dir(folder).stdin(fs::File::open(file).unwrap()).stdout(Stdio::piped());
    command.output().unwrap()
}

#[test]
fn patch_and_git_find_the_file_that_a_diff_names() {
    let names = [
        "plain.py",
        "two words.py",
        "gr\u{f6}\u{df}e.py",
        "quote\"back\\slash.py",
        "tab\there.py",
        "\u{202e}yp.py",
        "esc\u{1b}[31m.py",
        "new\nline.py",
    ];
    for name in names {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        fs::copy(fixture("site-packages").join(SOURCE), &file).unwrap();
        let before = fs::read(&file).unwrap();
        let mut check = program();
        let output = check.args(["check".as_ref(), file.as_os_str()]).current_dir(folder.path()).output().unwrap();
        let diff = stdout(&output);
        let diff = diff.split("would patch:").next().unwrap().as_bytes();
        for program in [&["git", "apply", "-p1", "-"][..], &["patch", "-p1"]] {
            fs::write(&file, &before).unwrap();
            let output = patched_by(program, folder.path(), diff);
            assert_eq!(status(&output), 0, "{program:?} {name:?}: {}{}", stdout(&output), stderr(&output));
            assert!(fs::read_to_string(&file).unwrap().contains("NIXL_BACKEND"), "{program:?} {name:?}");
        }
    }
}
