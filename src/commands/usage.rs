//! A command line that is not one, or that asks for help or the version.

use std::ffi::OsString;
use std::io::Write;

use anyhow::Result;
use clap::{ColorChoice, ValueEnum};

use super::color;
use super::console::Console;
use super::message;
use crate::cli::{Cli, OutputArgs, OutputFormat};
use crate::environment::variables::Variables;
use crate::exit_status::ExitStatus;
use crate::report::Report;
use crate::shown::Shown;

/// What a command line asks for although it cannot be parsed.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    format: OutputFormat,
    color: ColorChoice,
    command: Option<&'static str>,
}

impl Asked {
    /// Reads the arguments after the program's name. As in clap, the last value of an option counts, and after `--` there
    /// are no options.
    fn of(arguments: &[OsString]) -> Asked {
        let mut asked = Asked { format: OutputFormat::Text, color: ColorChoice::Auto, command: None };
        let words: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
        let mut words = words.iter().map(AsRef::as_ref).take_while(|word| *word != "--");
        let mut is_command_next = true;
        while let Some(word) = words.next() {
            let (option, value) = word.split_once('=').map_or((word, None), |(option, value)| (option, Some(value)));
            match option {
                "--output-format" => {
                    let format = value.or_else(|| words.next()).and_then(|it| OutputFormat::from_str(it, false).ok());
                    asked.format = format.unwrap_or(asked.format);
                }
                "--color" => {
                    let color = value.or_else(|| words.next()).and_then(|it| ColorChoice::from_str(it, false).ok());
                    asked.color = color.unwrap_or(asked.color);
                }
                _ if word.starts_with('-') => {}
                _ => {
                    if std::mem::take(&mut is_command_next) {
                        asked.command = subcommand(word);
                    }
                }
            }
        }
        asked
    }
}

fn subcommand(word: &str) -> Option<&'static str> {
    Cli::COMMANDS.into_iter().find(|name| *name == word)
}

/// Prints what clap has to say, and the document that was asked for.
///
/// # Errors
/// If it cannot be printed.
pub(super) fn conclude(error: &clap::Error, arguments: &[OsString], variables: &Variables) -> Result<ExitStatus> {
    // clap quotes the arguments as they are.
    let shown: Vec<OsString> = arguments.iter().map(|argument| argument.shown().to_string().into()).collect();
    let of_shown = Cli::parsed(&shown).err();
    let error = of_shown.as_ref().unwrap_or(error);
    let asked = Asked::of(arguments.get(1..).unwrap_or_default());
    color::set(asked.color, variables);
    if !error.use_stderr() {
        write!(anstream::stdout(), "{}", error.render().ansi())?;
        return Ok(ExitStatus::Success);
    }
    message::usage(error);
    let mut report = Report::new(asked.command);
    report.error = Some(sentences(&error.render().to_string()));
    report.exit_status = ExitStatus::Error.code();
    if asked.format != OutputFormat::Text {
        let options = OutputArgs { output_format: asked.format, color: asked.color, verbose: 0, quiet: false };
        Console::new(&options, false).show(&report)?;
    }
    Ok(ExitStatus::Error)
}

/// clap's message as the fact and one thing to do.
fn sentences(message: &str) -> String {
    let Some(message) = message.strip_prefix("error: ") else {
        // clap then prints the whole help.
        return "a subcommand is missing\nhelp: see `nixl-retrofit help`".into();
    };
    let above = message.split("\n\nUsage:").next().unwrap_or(message);
    let above = above.split("\n\nFor more information").next().unwrap_or(above).trim_end();
    let (fact, tip) = above.split_once("\n\n  tip: ").unwrap_or((above, "see `nixl-retrofit help`"));
    let fact: Vec<&str> = fact.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("{}\nhelp: {}", fact.join(" "), tip.lines().next().unwrap_or(tip))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn asked(line: &str) -> Asked {
        Asked::of(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_asked_for_is_found_in_any_order() {
        let json = |command| Asked { format: OutputFormat::Json, color: ColorChoice::Auto, command };
        for line in
            ["check --bad --output-format json", "--output-format=json -v check --bad", "--output-format json check"]
        {
            assert_eq!(asked(line), json(Some("check")), "{line}");
        }
        assert_eq!(asked("--output-format json frobnicate check"), json(None));
        assert_eq!(asked("check -- --output-format json").format, OutputFormat::Text);
        assert_eq!(asked("check --output-format json --output-format text").format, OutputFormat::Text);
        assert_eq!(asked("--color never check").color, ColorChoice::Never);
        assert_eq!(asked("check --output-format").format, OutputFormat::Text);
    }

    #[test]
    fn the_commands_are_those_of_the_definition() {
        let defined = Cli::command();
        let names: Vec<&str> =
            defined.get_subcommands().filter(|it| !it.is_hide_set()).map(clap::Command::get_name).collect();
        assert_eq!(names, Cli::COMMANDS);
    }

    #[test]
    fn a_message_becomes_a_fact_and_a_help() {
        let message = "error: unexpected argument '--x' found\n\n  tip: use '-- --x'\n\nUsage: a\n\nFor more information, try '--help'.\n";
        assert_eq!(sentences(message), "unexpected argument '--x' found\nhelp: use '-- --x'");
        assert_eq!(sentences("Make it\n\nUsage: x"), "a subcommand is missing\nhelp: see `nixl-retrofit help`");
    }
}
