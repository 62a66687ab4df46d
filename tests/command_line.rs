//! The frame: help, formats, colours, quiet and verbose, completions.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use common::*;

#[test]
fn every_subcommand_has_help_with_examples() {
    for command in ["apply", "check", "revert", "smoke", "completions"] {
        let output = run([command, "--help"]);
        assert_eq!(status(&output), 0);
        assert!(stdout(&output).contains("Example"), "{command}");
    }
    let text = stdout(&run(["--help"]));
    assert!(text.contains("Exit status:") && !text.contains("__smoke-worker"), "{text}");
    assert_eq!(status(&run(["--version"])), 0);
    assert_eq!(status(&run(["frobnicate"])), 2);
    assert_eq!(status(&run::<&str>([])), 2);
}

#[test]
fn completions_name_the_subcommands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(["completions", shell]);
        assert_eq!(status(&output), 0);
        assert!(stdout(&output).contains("revert"), "{shell}");
    }
}

#[test]
fn the_json_document_has_the_promised_keys() {
    let site = site_packages();
    let (code, document) = run_json(["check".as_ref(), site.path().as_os_str()]);
    assert_eq!(code, 1);
    for key in ["schema", "tool", "version", "command", "exit_status", "files", "smoke"] {
        assert!(document.get(key).is_some(), "{key}");
    }
    assert_eq!(
        (&document["schema"], &document["tool"], &document["command"]),
        (&1.into(), &"nixl-retrofit".into(), &"check".into())
    );
    assert_eq!(document["exit_status"], 1);
    assert!(document["smoke"].is_null());
    let file = &document["files"][0];
    for key in ["path", "distribution", "distribution_version", "status", "sites", "diff"] {
        assert!(file.get(key).is_some(), "{key}");
    }
    let site = &file["sites"][0];
    assert_eq!(
        (&site["line"], &site["column"], &site["shape"], &site["action"]),
        (&23.into(), &22.into(), &"bare".into(), &"rewrite".into())
    );
    assert!(file["diff"].as_str().unwrap().contains("@@"));
}

#[test]
fn colour_comes_when_it_is_asked_for_alone() {
    let site = site_packages();
    let escape = |arguments: &[&str], no_color: bool| {
        let mut command = program();
        command.args(["check"]).args(arguments).arg(site.path());
        if no_color {
            command.env("NO_COLOR", "1");
        }
        stdout(&command.output().unwrap()).contains('\u{1b}')
    };
    assert!(!escape(&[], false), "standard output is no terminal");
    assert!(escape(&["--color=always"], false));
    assert!(escape(&["--color=always"], true), "what the command line says comes first");
    assert!(!escape(&["--color=never"], false));
}

#[test]
fn colour_comes_on_a_terminal_unless_no_color_is_set() {
    let site = site_packages();
    let on_terminal = |prefix: &str| {
        let program = program();
        let line =
            format!("{prefix} TERM=xterm {} check {}", program.get_program().to_string_lossy(), site.path().display());
        let output =
            std::process::Command::new("script").args(["-qec", &line, "/dev/null"]).env_remove("NO_COLOR").output();
        stdout(&output.expect("script (util-linux) is needed for this test")).contains('\u{1b}')
    };
    assert!(on_terminal(""));
    assert!(!on_terminal("NO_COLOR=1"));
}

#[test]
fn quiet_says_nothing_and_verbose_says_more() {
    let site = site_packages();
    let quiet = run(["check".as_ref(), "-q".as_ref(), site.path().as_os_str()]);
    assert_eq!((status(&quiet), stdout(&quiet), stderr(&quiet)), (1, String::new(), String::new()));
    let verbose = stdout(&run(["check".as_ref(), "-v".as_ref(), site.path().as_os_str()]));
    assert!(verbose.contains("listed in") && verbose.contains("RECORD"), "{verbose}");
}

#[test]
fn without_nixl_the_transfer_is_skipped_and_says_why_unless_it_is_required() {
    let site = site_packages();
    let (code, document) = run_json(["apply".as_ref(), site.path().as_os_str()]);
    assert_eq!(code, 0);
    assert_eq!((&document["files"][0]["status"], &document["smoke"]["status"]), (&"patched".into(), &"skipped".into()));
    assert!(document["smoke"]["reason"].as_str().unwrap().contains("no NIXL is installed"), "{document}");
    assert_eq!(document["smoke"]["verified"], false);

    let (code, document) = run_json(["apply".as_ref(), "--smoke=require".as_ref(), site.path().as_os_str()]);
    assert_eq!(code, 1);
    assert_eq!(
        (&document["files"][0]["status"], &document["smoke"]["status"]),
        (&"already-patched".into(), &"failed".into())
    );
    assert!(document["smoke"]["failure"]["advice"].as_str().unwrap().contains("install"), "{document}");

    let output = run(["smoke".as_ref(), site.path().as_os_str()]);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("no NIXL is installed"), "{}", stderr(&output));
}

#[test]
fn without_the_c_api_and_any_library_the_transfer_is_skipped_unless_it_is_required() {
    let site = site_packages();
    let libraries = site.path().join(".nixl_cu13.mesonpy.libs/plugins");
    std::fs::create_dir_all(&libraries).unwrap();
    let package = site.path().join("nixl_cu13");
    std::fs::create_dir(&package).unwrap();
    std::fs::write(package.join("_api.py"), "").unwrap();
    std::fs::write(package.join("__init__.py"), "").unwrap();
    let dist_info = site.path().join("nixl_cu13-1.5.0.dist-info");
    std::fs::create_dir(&dist_info).unwrap();
    std::fs::write(dist_info.join("METADATA"), "Name: nixl-cu13\nVersion: 1.5.0\n").unwrap();

    let (code, document) = run_json(["apply".as_ref(), site.path().as_os_str()]);
    assert_eq!((code, &document["smoke"]["status"]), (0, &"skipped".into()), "{document:#}");
    assert!(document["smoke"]["reason"].as_str().unwrap().contains("libnixl_capi.so"), "{document:#}");
    let (code, document) = run_json(["apply".as_ref(), "--smoke=require".as_ref(), site.path().as_os_str()]);
    assert_eq!((code, &document["smoke"]["status"]), (1, &"failed".into()), "{document:#}");
}

#[test]
fn variables_force_colour_unless_another_forbids_it() {
    let site = site_packages();
    let coloured = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = program();
        command.arg("check").args(arguments).arg(site.path()).envs(variables.iter().copied());
        stdout(&command.output().unwrap()).contains('\u{1b}')
    };
    assert!(coloured(&[("FORCE_COLOR", "1")], &[]) && coloured(&[("CLICOLOR_FORCE", "1")], &[]));
    assert!(!coloured(&[("FORCE_COLOR", "0")], &[]) && !coloured(&[("FORCE_COLOR", "")], &[]));
    for variable in ["FORCE_COLOR", "CLICOLOR_FORCE"] {
        assert!(!coloured(&[(variable, "1"), ("NO_COLOR", "1")], &[]), "{variable}");
        assert!(!coloured(&[(variable, "1")], &["--color=never"]), "{variable}");
    }
}

#[test]
fn a_report_that_cannot_be_written_after_a_change_is_no_error_without_one() {
    let site = site_packages();
    let to_full_disk = |command: &str, arguments: &[&str]| {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = program().arg(command).args(arguments).arg(site.path()).stdout(full).output().unwrap();
        let words = stderr(&output);
        assert_eq!(words.matches("error:").count(), 1, "{words}");
        status(&output)
    };
    assert_eq!(to_full_disk("check", &[]), 2, "nothing was changed");
    assert_eq!(to_full_disk("apply", &["--smoke=off"]), 1);
    assert_eq!(to_full_disk("revert", &[]), 1);
    assert_eq!(to_full_disk("apply", &[]), 1, "before the transfer");
    assert_eq!(to_full_disk("revert", &["--output-format=json"]), 1);
}
