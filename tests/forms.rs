//! What machines read: a document whatever happens, annotations, SARIF, the options before and after the subcommand.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::ffi::OsStr;
use std::fs;

use common::*;
use serde_json::Value;

/// Runs the program; its status, and the one document on its standard output.
fn document<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> (i32, Value) {
    let output = run(arguments);
    let document = serde_json::from_slice(&output.stdout);
    (status(&output), document.unwrap_or_else(|error| panic!("{error}: {}{}", stdout(&output), stderr(&output))))
}

const COMMANDS: [&str; 8] = ["apply", "check", "revert", "audit", "doctor", "smoke", "completions", "man"];

#[test]
fn a_usage_error_is_one_document_too() {
    for command in COMMANDS {
        for line in [
            vec![command, "--frobnicate", "--output-format", "json"],
            vec![command, "--output-format=json", "--frobnicate"],
            vec!["--output-format", "json", command, "--frobnicate"],
        ] {
            let (code, found) = document(&line);
            keeps_to_schema(&found);
            assert_eq!((code, &found["exit_status"]), (2, &2.into()), "{line:?}");
            assert_eq!(found["command"], *command);
            let error = found["error"].as_str().unwrap();
            assert!(error.contains("--frobnicate") && error.contains("\nhelp: "), "{error}");
        }
    }
}

#[test]
fn without_a_known_subcommand_the_document_names_none() {
    for line in [
        &["frobnicate", "--output-format", "json"][..],
        &["--output-format", "json"],
        &["--output-format=json", "help", "frobnicate"],
    ] {
        let (code, found) = document(line);
        keeps_to_schema(&found);
        assert_eq!((code, &found["command"]), (2, &Value::Null), "{line:?}");
        let error = found["error"].as_str().unwrap();
        assert!(error.contains("subcommand") && !error.contains("__"), "{error}");
    }
    let words = stderr(&run(["--no-exec"]));
    assert!(words.contains("a subcommand is missing") && !words.contains("__"), "{words}");
}

#[test]
fn wrong_values_and_contradictions_are_documents() {
    for line in [
        &["smoke", "--timeout", "never", "--output-format", "json"][..],
        &["--output-format", "json", "check", "--default-backend", "POSIX"],
        &["check", "--default-backend", "UCX", "--allow", "LIBFABRIC", "--output-format", "json"],
        &["completions", "klingon", "--output-format", "json"],
        &["man", "frobnicate", "--output-format", "json"],
        &["-q", "check", "-v", "--output-format", "json"],
        &["apply", "-", "--output-format", "json"],
        &["revert", "-", "--output-format", "json"],
        &["doctor", "--explain", "nothing", "--output-format", "json"],
    ] {
        let (code, found) = document(line);
        keeps_to_schema(&found);
        assert_eq!((code, &found["exit_status"]), (2, &2.into()), "{line:?}");
        assert!(found["error"].is_string(), "{found:#}");
    }
}

#[test]
fn every_option_of_the_frame_stands_on_either_side() {
    let site = site_packages();
    let path = site.path().as_os_str();
    for option in ["--color=always", "-v", "-q", "--output-format=json", "--no-exec"] {
        let before = run([OsStr::new(option), "check".as_ref(), path]);
        let after = run(["check".as_ref(), path, option.as_ref()]);
        assert_eq!((status(&before), stdout(&before)), (1, stdout(&after)), "{option}");
    }
    let (_, found) =
        document(["--output-format=text".as_ref(), "check".as_ref(), "--output-format=json".as_ref(), path]);
    assert_eq!(found["exit_status"], 1);
}

#[test]
fn help_is_a_subcommand_too() {
    for command in ["check", "smoke", "doctor"] {
        let (one, other) = (run(["help", command]), run([command, "--help"]));
        assert_eq!((status(&one), stdout(&one)), (0, stdout(&other)));
    }
    assert!(stdout(&run(["help"])).contains("Exit status:"));
    let coloured = stdout(&run(["--color=always", "help"]));
    assert!(coloured.contains('\u{1b}') && !stdout(&run(["help"])).contains('\u{1b}'));
}

#[test]
fn github_gets_an_annotation_at_the_line_and_a_summary() {
    let site = site_packages();
    let summary = site.path().join("summary");
    fs::write(&summary, "before\n").unwrap();
    let mut command = program();
    command.args(["check", "--output-format=github"]).arg(site.path()).env("GITHUB_STEP_SUMMARY", &summary);
    let output = command.output().unwrap();
    let path = site.path().join(SOURCE);
    let expected = format!(
        "::error file={},line=23,col=22,title=nixl-retrofit would-patch::`nixl-retrofit apply` would rewrite this call: ",
        path.display()
    );
    assert_eq!(status(&output), 1);
    assert!(stdout(&output).starts_with(&expected), "{}", stdout(&output));
    assert_eq!(stdout(&output).lines().count(), 1);
    let summary = fs::read_to_string(summary).unwrap();
    assert!(summary.starts_with("before\n### nixl-retrofit check: exit status 1\n"), "{summary}");
    assert!(summary.contains("| would-patch |") && summary.contains("\n```diff\n--- a/"), "{summary}");
}

#[test]
fn github_gets_the_line_of_a_syntax_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a,b.py");
    fs::write(&path, "import nixl\n\ndef f(:\n").unwrap();
    let output = run(["check".as_ref(), "--output-format=github".as_ref(), path.as_os_str()]);
    let (name, text) = (path.to_string_lossy().replace(',', "%2C"), stdout(&output));
    assert_eq!(status(&output), 2);
    assert!(text.starts_with(&format!("::error file={name},line=3,col=")), "{text}");
}

#[test]
fn a_summary_that_cannot_be_written_changes_no_status() {
    let site = site_packages();
    let mut command = program();
    command.args(["apply", "--smoke=off", "--output-format=github"]).arg(site.path());
    let output = command.env("GITHUB_STEP_SUMMARY", "/nonexistent/summary").output().unwrap();
    assert_eq!(status(&output), 0);
    assert!(stderr(&output).contains("cannot be written"), "{}", stderr(&output));
    assert!(stdout(&output).contains("::notice file="), "{}", stdout(&output));
}

#[test]
fn sarif_keeps_to_the_official_schema() {
    let path = lab(&["crate", "serde-sarif", "0.8.0"]).join("src/schema.json");
    let mut schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    // A stray bracket makes it no regular expression of ECMAScript's; no language is written.
    schema["definitions"]["run"]["properties"]["language"].as_object_mut().unwrap().remove("pattern");
    schema["definitions"]["toolComponent"]["properties"]["language"].as_object_mut().unwrap().remove("pattern");
    let schema = jsonschema::draft7::new(&schema).unwrap();
    let site = site_packages();
    let path = site.path().as_os_str();
    let sarif = |arguments: &[&OsStr]| {
        let (code, found) = document([&[OsStr::new("--output-format=sarif")], arguments].concat());
        valid(&schema, &found);
        assert_eq!(found["runs"][0]["invocations"][0]["exitCode"], code);
        (code, found["runs"][0].clone())
    };
    let (code, run) = sarif(&["check".as_ref(), path]);
    let result = &run["results"][0];
    assert_eq!((code, &result["ruleId"], &result["level"]), (1, &"would-patch".into(), &"error".into()));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["region"], serde_json::json!({"startLine": 23, "startColumn": 22}));
    assert!(place["artifactLocation"]["uri"].as_str().unwrap().starts_with("file:///"));
    let (code, run) = sarif(&["audit".as_ref(), path]);
    assert_eq!((code, &run["results"][0]["ruleId"]), (1, &"ignores-settings".into()));
    let (code, run) = sarif(&["apply".as_ref(), "--smoke=require".as_ref(), path]);
    let levels =
        |run: &Value| run["results"].as_array().unwrap().iter().map(|it| it["ruleId"].clone()).collect::<Vec<_>>();
    assert_eq!(code, 1);
    assert!(levels(&run).contains(&"smoke-failed".into()), "{run:#}");
    assert_eq!(sarif(&["revert".as_ref(), path]).0, 0);
    for failing in [
        &["check".as_ref(), OsStr::new("/nonexistent")][..],
        &["smoke".as_ref(), path],
        &["doctor".as_ref(), path],
        &["check".as_ref(), "--frobnicate".as_ref()],
        &["frobnicate".as_ref()],
    ] {
        let (code, run) = sarif(failing);
        let notification = &run["invocations"][0]["toolExecutionNotifications"][0];
        assert_eq!((code, &notification["level"]), (2, &"error".into()), "{failing:?}");
    }
}

#[test]
fn the_manual_has_a_page_for_each_subcommand() {
    let page = stdout(&run(["man"]));
    assert!(page.contains(".TH nixl-retrofit 1") && page.contains("Exit status:") && !page.contains("smoke\\-worker"));
    for command in COMMANDS {
        let page = run(["man", command]);
        assert!(status(&page) == 0 && stdout(&page).contains("\\-\\-output\\-format"), "{command}");
    }
}

#[test]
fn check_answers_the_two_questions_of_ci() {
    let site = site_packages();
    let path = site.path().as_os_str();
    let check = |expect: &str| run_json(["check".as_ref(), "--expect".as_ref(), OsStr::new(expect), path]);
    let statuses = || ["patched", "original", "any"].map(|expect| check(expect).0);
    assert_eq!(statuses(), [1, 0, 0], "the base");
    let github = stdout(&run(["check", "--expect=original", "--output-format=github", &site.path().to_string_lossy()]));
    assert!(github.starts_with("::notice file="), "{github}");

    assert_eq!(status(&run(["apply".as_ref(), "--smoke=off".as_ref(), path])), 0);
    assert_eq!(statuses(), [0, 1, 0], "patched");
    let (_, found) = check("original");
    assert_eq!(found["findings"][0]["id"], "not-original");

    let record = site.path().join(RECORD);
    fs::copy(fixture("site-packages").join(RECORD), record).unwrap();
    assert_eq!(statuses(), [1, 1, 1], "a run was stopped before it updated RECORD");
}

#[test]
fn the_patch_does_not_apply_where_nothing_would_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.py");
    fs::write(&path, "x = 1\n").unwrap();
    let (code, found) = run_json(["check".as_ref(), "--expect=original".as_ref(), path.as_os_str()]);
    assert_eq!((code, &found["findings"][0]["message"]), (1, &"no file would be patched".into()));
}

#[test]
fn the_version_says_its_commit_where_there_is_one() {
    let long = stdout(&run(["--version"]));
    let version = env!("CARGO_PKG_VERSION");
    let pattern = regex::Regex::new(&format!("^nixl-retrofit {version}( \\([0-9a-f]{{12}}\\))?\n$")).unwrap();
    assert!(pattern.is_match(&long), "{long}");
    let root = env!("CARGO_MANIFEST_DIR");
    let git = std::process::Command::new("git").args(["-C", root, "rev-parse", "HEAD"]).output();
    let has_commit = std::path::Path::new(root).join(".git").exists() && git.is_ok_and(|git| git.status.success());
    assert_eq!(long.contains('('), has_commit);
    assert_eq!(stdout(&run(["-V"])), format!("nixl-retrofit {version}\n"));
}

#[test]
fn a_diff_is_the_same_in_every_image_and_applies_below_site_packages() {
    let (one, other) = (site_packages(), site_packages());
    let diff = |site: &std::path::Path| {
        let output = program().args(["check"]).arg(site).current_dir("/").output().unwrap();
        let text = stdout(&output);
        text[..text.find("would patch:").unwrap()].to_string()
    };
    let found = diff(one.path());
    assert!(found.starts_with(&format!("--- a/{SOURCE}\n+++ b/{SOURCE}\n@@")), "{found}");
    assert_eq!(found, diff(&one.path().join(SOURCE)), "the file itself");
    assert_eq!(found, diff(other.path()));

    let output = run(["check".as_ref(), one.path().as_os_str(), other.path().as_os_str()]);
    let text = stdout(&output);
    let heading = |site: &std::path::Path| format!("in {}:\n--- a/{SOURCE}\n", site.display());
    assert!(text.starts_with(&heading(one.path())) && text.contains(&heading(other.path())), "{text}");

    assert_eq!(status(&run(["apply".as_ref(), "--smoke=off".as_ref(), one.path().as_os_str()])), 0);
    let mut patch = std::process::Command::new("patch");
    patch
        .arg("-d")
        .arg(other.path())
        .arg("-p1")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null());
    let mut patch = patch.spawn().unwrap();
    std::io::Write::write_all(&mut patch.stdin.take().unwrap(), found.as_bytes()).unwrap();
    assert!(patch.wait().unwrap().success());
    assert_eq!(fs::read(one.path().join(SOURCE)).unwrap(), fs::read(other.path().join(SOURCE)).unwrap());
}

#[test]
fn already_patched_names_the_present_line() {
    let site = site_packages();
    let path = site.path().as_os_str();
    assert_eq!(status(&run(["apply".as_ref(), "--smoke=off".as_ref(), path])), 0);
    let (_, found) = run_json(["check".as_ref(), path]);
    let line = found["files"][0]["sites"][0]["line"].as_u64().unwrap();
    let text = fs::read_to_string(site.path().join(SOURCE)).unwrap();
    let present = text.lines().nth(line as usize - 1).unwrap();
    assert!(line > 23 && present.contains("_nixl_retrofit_backends()"), "{line}: {present}");
}

/// The miniature is written for the tests: no release has it.
#[test]
fn known_only_refuses_a_source_that_no_release_has() {
    let site = site_packages();
    let before = snapshot(site.path());
    let target = site.path().to_str().unwrap();
    for command in [&["check"][..], &["apply", "--smoke", "off"]] {
        let (status, document) = run_json(command.iter().chain(&["--known-only", target]));
        assert_eq!(status, 2, "{document}");
        let error = document["error"].as_str().unwrap();
        assert!(error.contains("not a released source") && error.contains("\nhelp: read the diff"), "{error}");
    }
    assert_eq!(snapshot(site.path()), before);
    let (status, document) = run_json(["check", target]);
    assert_eq!((status, &document["files"][0]["release"]), (1, &serde_json::Value::Null));
    let text = stdout(&run(["check", "-v", target]));
    assert!(text.contains("  not a released source\n"), "{text}");

    let output = program()
        .args(["apply", "-", "--smoke", "off", "--known-only"])
        .stdin(fs::File::open(site.path().join(SOURCE)).unwrap())
        .output()
        .unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()), "{}", stderr(&output));
}
