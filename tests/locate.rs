//! Every kind of TARGET, and what is found there.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::path::Path;

use common::*;

fn found(target: &Path) -> serde_json::Value {
    let (status, document) = run_json(["check".as_ref(), target.as_os_str()]);
    assert_eq!(status, 1, "{document}");
    assert_eq!(document["files"].as_array().unwrap().len(), 1);
    document["files"][0].clone()
}

fn assert_is_the_miniature(file: &serde_json::Value, site: &Path) {
    assert_eq!(file["path"], site.join(SOURCE).to_string_lossy().as_ref());
    assert_eq!(file["distribution"], "ai-dynamo-runtime");
    assert_eq!(file["distribution_version"], "9.9.9");
    assert_eq!(file["status"], "would-patch");
}

#[test]
fn files_and_folders_are_found() {
    let site = site_packages();
    for target in ["", "dynamo", "dynamo/nixl_connect", SOURCE] {
        assert_is_the_miniature(&found(&site.path().join(target)), site.path());
    }
}

#[test]
fn environments_and_interpreters_are_found() {
    let (environment, site) = virtual_environment();
    assert_is_the_miniature(&found(environment.path()), &site);
    assert_is_the_miniature(&found(&environment.path().join("bin/python3")), &site);
    assert_is_the_miniature(&found(&environment.path().join("bin/python")), &site);
    assert_is_the_miniature(&found(&site), &site);
}

#[test]
fn a_bare_interpreter_name_is_the_one_in_the_current_folder() {
    let (environment, site) = virtual_environment();
    let mut command = program();
    command.args(["check", "python3", "--output-format=json"]).current_dir(environment.path().join("bin"));
    let document: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert_is_the_miniature(&document["files"][0], &site);
}

#[test]
fn the_inserted_helper_is_run_by_the_environments_interpreter() {
    let (environment, _) = virtual_environment();
    let output = run(["check".as_ref(), "-v".as_ref(), environment.path().as_os_str()]);
    let text = stdout(&output);
    assert!(text.contains("checked the inserted helper with 14 values") && text.contains("isolated"), "{text}");
}

#[test]
fn with_no_target_the_virtual_environment_comes_first() {
    let (environment, site) = virtual_environment();
    let output = program().args(["check", "-v"]).env("VIRTUAL_ENV", environment.path()).output().unwrap();
    assert_eq!(status(&output), 1, "{}", stderr(&output));
    assert!(stdout(&output).contains(&site.join(SOURCE).display().to_string()));
}

#[test]
fn with_no_target_python3_on_path_comes_second() {
    let (environment, site) = virtual_environment();
    let empty = tempfile::tempdir().unwrap();
    empty_virtual_environment(empty.path());
    let output = program()
        .arg("check")
        .env("VIRTUAL_ENV", empty.path())
        .env("PATH", environment.path().join("bin"))
        .output()
        .unwrap();
    assert_eq!(status(&output), 1, "{}", stderr(&output));
    assert!(stdout(&output).contains(&site.join(SOURCE).display().to_string()));
}

#[test]
fn when_nothing_is_found_what_was_searched_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let site = empty_virtual_environment(empty.path());
    let output = program().arg("check").env("VIRTUAL_ENV", empty.path()).env("PATH", empty.path()).output().unwrap();
    assert_eq!(status(&output), 2);
    let text = stderr(&output);
    let virtual_env =
        format!("\n  `$VIRTUAL_ENV` ({}): no `dynamo.nixl_connect` in {}", empty.path().display(), site.display());
    for part in [&virtual_env, "\n  `python3` on PATH: not found\n", "/opt/dynamo/venv", "\nhelp: pass the environment"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_user_site_is_found_through_the_interpreter() {
    let user = tempfile::tempdir().unwrap();
    let script = "import sys; print('lib/python%d.%d/site-packages' % sys.version_info[:2])";
    let site = user.path().join(python(&["-c", script]).trim());
    copy_tree(&fixture("site-packages"), &site);
    let base = python(&["-c", "import sys; print(sys._base_executable)"]);
    let output = program().args(["check", base.trim()]).env("PYTHONUSERBASE", user.path()).output().unwrap();
    assert_eq!(status(&output), 1, "{}", stderr(&output));
    assert!(stdout(&output).contains(&site.join(SOURCE).display().to_string()), "{}", stdout(&output));
}

#[test]
fn pythonpath_comes_first() {
    let (environment, installed) = virtual_environment();
    let site = site_packages();
    let output =
        program().args(["check", "-v"]).arg(environment.path()).env("PYTHONPATH", site.path()).output().unwrap();
    let text = stdout(&output);
    assert!(text.contains(&format!("would patch: {}", site.path().join(SOURCE).display())), "{text}");
    assert!(text.contains(&format!("shadowed copy, left unchanged: {}", installed.join(SOURCE).display())), "{text}");
}

#[test]
fn editable_installs_are_followed() {
    let environment = tempfile::tempdir().unwrap();
    let site = empty_virtual_environment(environment.path());
    let project = tempfile::tempdir().unwrap();
    fs::create_dir_all(project.path().join("dynamo/nixl_connect")).unwrap();
    fs::copy(fixture("site-packages").join(SOURCE), project.path().join(SOURCE)).unwrap();
    let dist_info = site.join("ai_dynamo_runtime-1.2.3.dist-info");
    fs::create_dir(&dist_info).unwrap();
    fs::write(dist_info.join("RECORD"), "ai_dynamo_runtime.pth,sha256=x,1\n").unwrap();
    fs::write(site.join("ai_dynamo_runtime.pth"), format!("{}\n", project.path().display())).unwrap();
    for target in [environment.path(), &site] {
        let file = found(target);
        assert_eq!(file["path"], project.path().join(SOURCE).to_string_lossy().as_ref());
        assert_eq!(file["distribution"], "ai-dynamo-runtime");
        assert_eq!(file["distribution_version"], "1.2.3");
    }
}

#[test]
fn nothing_of_the_target_is_executed() {
    let (environment, site) = virtual_environment();
    let trace = environment.path().join("executed");
    let code = format!("open({:?}, 'w')", trace.display().to_string());
    fs::write(site.join("hook.pth"), format!("import os; {code}\n")).unwrap();
    fs::write(site.join("sitecustomize.py"), &code).unwrap();
    let source = fs::read_to_string(site.join(SOURCE)).unwrap();
    fs::write(site.join(SOURCE), format!("{source}{code}\n")).unwrap();
    assert_eq!(status(&run(["apply".as_ref(), "--smoke=off".as_ref(), environment.path().as_os_str()])), 0);
    assert!(!trace.exists());
}

#[test]
fn several_targets_are_one_run_and_the_same_file_counts_once() {
    let (one, other) = (site_packages(), site_packages());
    let (status, document) = run_json([
        "check".as_ref(),
        one.path().as_os_str(),
        other.path().as_os_str(),
        one.path().join(SOURCE).as_os_str(),
    ]);
    assert_eq!(status, 1);
    assert_eq!(document["files"].as_array().unwrap().len(), 2);
}

#[test]
fn other_pythons_are_asked_too() {
    for name in ["python3.10", "python3.11", "python3.12", "python3.13"] {
        let Some(python) = interpreter(name) else { continue };
        let folder = tempfile::tempdir().unwrap();
        let made = std::process::Command::new(&python)
            .args(["-m", "venv", "--without-pip"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(made.success());
        let site = folder.path().join("lib").join(name).join("site-packages");
        copy_tree(&fixture("site-packages"), &site);
        assert_is_the_miniature(&found(folder.path()), &site);
    }
}

/// The interpreter's path. A version manager's shim may exist and fail to run.
fn interpreter(name: &str) -> Option<String> {
    let output = std::process::Command::new(name).args(["-c", "import sys; print(sys.executable)"]).output().ok()?;
    output.status.success().then(|| stdout(&output).trim().to_string())
}
