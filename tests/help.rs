//! The help texts, and the command lines in them.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

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

#[test]
fn each_example_parses() {
    let program = Cli::command();
    for command in std::iter::once(&program).chain(program.get_subcommands().filter(|command| !command.is_hide_set())) {
        let text =
            command.get_after_help().unwrap_or_else(|| panic!("{}: no examples", command.get_name())).to_string();
        let indented = text.lines().filter_map(|line| line.strip_prefix("  "));
        let examples: Vec<&str> = indented.filter(|line| line.contains("nixl-retrofit")).collect();
        assert!(!examples.is_empty(), "{}: no examples", command.get_name());
        for example in examples {
            // Two blanks separate a command line from what is said about it.
            let line = example.split("  ").next().unwrap();
            let commands = command_lines(line);
            assert_eq!(commands.len(), 1, "{line}");
            Cli::try_parse_from(&commands[0]).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}
