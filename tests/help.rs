//! The help texts, and the command lines in them.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::path::Path;
use std::process::Command;

use clap::{CommandFactory, Parser};
use common::*;
use nixl_retrofit::Cli;

/// The help of a subcommand, or of the program, at the width that it is made for at most.
fn help(arguments: &[&str]) -> String {
    let mut command = program();
    command.args(arguments).arg("--help").env("COLUMNS", "200").stdin(std::process::Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn each_help_is_as_it_was_approved() {
    insta::assert_snapshot!("program", help(&[]));
    insta::assert_snapshot!("apply", help(&["apply"]));
    insta::assert_snapshot!("check", help(&["check"]));
    insta::assert_snapshot!("revert", help(&["revert"]));
    insta::assert_snapshot!("audit", help(&["audit"]));
    insta::assert_snapshot!("doctor", help(&["doctor"]));
    insta::assert_snapshot!("smoke", help(&["smoke"]));
    insta::assert_snapshot!("completions", help(&["completions"]));
    insta::assert_snapshot!("man", help(&["man"]));
    let names: Vec<String> = Cli::command()
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|c| c.get_name().into())
        .collect();
    assert_eq!(
        names,
        ["apply", "check", "revert", "audit", "doctor", "smoke", "completions", "man"],
        "each one has a snapshot here"
    );
}

/// The commands with examples, the program first, and the lines of each one's examples.
fn examples() -> Vec<(String, Vec<String>)> {
    let program = Cli::command();
    let shown = program.get_subcommands().filter(|command| !command.is_hide_set());
    let lines = |command: &clap::Command| {
        let text =
            command.get_after_help().unwrap_or_else(|| panic!("{}: no examples", command.get_name())).to_string();
        let indented = text.lines().filter_map(|line| line.strip_prefix("  "));
        let is_example = |line: &&str| line.starts_with('#') || line.contains("nixl-retrofit");
        (command.get_name().to_string(), indented.filter(is_example).map(String::from).collect())
    };
    std::iter::once(&program).chain(shown).map(lines).collect()
}

#[test]
fn each_example_parses() {
    for (name, lines) in examples() {
        let commands: Vec<&String> = lines.iter().filter(|line| !line.starts_with('#')).collect();
        assert!(!commands.is_empty(), "{name}: no examples");
        for line in commands {
            let commands = command_lines(line);
            assert_eq!(commands.len(), 1, "{line}");
            Cli::try_parse_from(&commands[0]).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}

#[test]
fn each_example_fits_a_terminal_and_says_what_it_is_for() {
    for (name, lines) in examples() {
        let mut is_explained = false;
        for line in lines {
            assert!(line.chars().count() + 2 <= 80, "{name}: {line}");
            assert!(line.starts_with('#') || is_explained, "{name}: nothing says what this is for: {line}");
            is_explained = line.starts_with('#');
        }
    }
}

/// A text of the help at the width of a terminal: no line is broken by the terminal.
#[test]
fn each_help_fits_a_terminal() {
    for (name, _) in examples() {
        let mut command = program();
        let subcommand = (name != "nixl-retrofit").then_some(name.as_str());
        let output = command.args(subcommand).arg("--help").env("COLUMNS", "80").output().unwrap();
        for line in stdout(&output).lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
    }
}

/// The examples with their comments, pasted into a shell in a container that has Dynamo and NIXL: each command is found and
/// takes its arguments. What needs hardware, the peer or other packages fails in its own words.
#[test]
fn the_examples_paste_into_a_shell() {
    let environment = lab(&["env", "1.5.0", "1.6.1"]);
    let folder = tempfile::tempdir().unwrap();
    let tool = program();
    std::os::unix::fs::symlink(tool.get_program(), folder.path().join("nixl-retrofit")).unwrap();
    for (name, lines) in examples() {
        // Each is pasted with an end of its own, so that its status shows.
        let script: String = lines.iter().map(|line| followed(line)).collect();
        let (output, statuses) = pasted(&script, &environment, folder.path());
        assert_eq!(statuses.len(), lines.iter().filter(|line| !line.starts_with('#')).count(), "{name}: {output}");
        for (line, status) in lines.iter().filter(|line| !line.starts_with('#')).zip(statuses) {
            let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
            let expected = match line.as_str() {
                // No such package, folder or file.
                _ if has(&["--also", "lib/llm", "src/vllm"]) => 2,
                _ if waits_for_a_peer(line) => GAVE_UP,
                // Of a pipe, the status is the last one's.
                _ if has(&["|", "--expect original", "--explain", "; patch"]) => 0,
                // No EFA, no GPU, no libfabric.
                _ if has(&["efa", "--expect-node", "vram", "LIBFABRIC"]) => 1,
                // Not patched yet, as its section is the first to be pasted.
                "nixl-retrofit check" | "nixl-retrofit audit" | "nixl-retrofit doctor" => 1,
                _ => 0,
            };
            assert_eq!(status, expected, "{line}\n{output}");
        }
    }
}

/// The status of timeout(1) for a command that it has ended.
const GAVE_UP: i32 = 124;

fn waits_for_a_peer(line: &str) -> bool {
    line.contains("--connect") || line.contains("--listen")
}

/// The line, and what shows its status. Nobody comes to one that waits for a peer.
fn followed(line: &str) -> String {
    if line.starts_with('#') {
        return format!("{line}\n");
    }
    let line =
        if waits_for_a_peer(line) { line.replacen("nixl-retrofit", "timeout 2 nixl-retrofit", 1) } else { line.into() };
    format!("{line}\nsaid $?\n")
}

/// What a shell printed for the script, and the statuses in it.
fn pasted(script: &str, environment: &Path, folder: &Path) -> (String, Vec<i32>) {
    let around = r#"
        set -eu
        mount -t tmpfs none /opt
        mkdir -p /opt/dynamo/venv /tmp/pasted
        mount -t tmpfs none /tmp/pasted
        # By hard links: whatever changes a file of an environment puts another one in its place.
        cp -al "$1" "$3/venv"
        cp -al "$1"/lib/python3*/site-packages "$3/site-packages"
        mount --bind "$3/venv" /opt/dynamo/venv
        # For patch(1), which promises nothing about hard links.
        cd "$3/site-packages/dynamo/nixl_connect"
        cp --remove-destination /opt/dynamo/venv/lib/python3*/site-packages/dynamo/nixl_connect/__init__.py .
        mount -t tmpfs none /etc/bash_completion.d || mkdir -p /etc/bash_completion.d
        mount -t tmpfs none /usr/share/man/man1
        ip link set lo up
        cd /tmp/pasted
        cp /opt/dynamo/venv/lib/python3*/site-packages/dynamo/nixl_connect/__init__.py .
        "$2/nixl-retrofit" apply - < __init__.py > patched.py
        mkdir site-packages
        mount --bind "$3/site-packages" site-packages
        head -c 64 /dev/urandom | od -An -tx1 | tr -d ' \n' > token
        chmod 600 token
        PATH="$2:/usr/sbin:/usr/bin:/sbin:/bin"
        set +e
        exec bash -c 'said() { echo "status $1"; }; eval "$0"' "$4""#;
    // Where hard links to the laboratory's files can be.
    let room = tempfile::tempdir_in(environment.parent().unwrap()).unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--net", "sh", "-c", around, "sh"])
        .args([environment, folder, room.path()])
        .arg(script)
        .env("HOME", folder)
        .env_remove("VIRTUAL_ENV")
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert_unpatched(environment);
    let text = stdout(&output) + &stderr(&output);
    let statuses = stdout(&output).lines().filter_map(|line| line.strip_prefix("status ")?.parse().ok()).collect();
    (text, statuses)
}
