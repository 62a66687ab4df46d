//! How this program starts itself to load one library, and what that process answers.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The hidden subcommand.
pub(crate) const LOAD_COMMAND: &str = "__load-library";

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// It is loaded.
    Loaded {
        /// UCX's version, from libucp itself.
        version: Option<String>,
        /// The providers that a libfabric was built with.
        providers: Option<Vec<String>>,
    },
    /// The words of dlerror(3).
    Refused(String),
    /// The process ended, or had to be ended, without an answer: how.
    Ended(String),
}

/// The command, and the mark that its answer follows: a library may write what it likes to standard output.
pub(crate) fn of(program: &Path, library: &Path) -> (Command, String) {
    let mut bytes = [0; 16];
    // A library that guesses the mark is no accident; without random numbers the process's number does.
    if getrandom::fill(&mut bytes).is_err() {
        bytes[..4].copy_from_slice(&std::process::id().to_ne_bytes());
    }
    let mark: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut command = Command::new(program);
    command.arg0(env!("CARGO_PKG_NAME")).args([LOAD_COMMAND, &mark]).arg(library);
    (command, mark)
}

/// An answer as one line.
pub(crate) fn line(mark: &str, answer: &Answer) -> String {
    // Strings alone, which JSON always has a form for.
    format!("\n{mark}{}\n", serde_json::to_string(answer).unwrap_or_default())
}

/// The answer in what follows the mark.
pub(crate) fn parse(line: &[u8]) -> Option<Answer> {
    serde_json::from_slice(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back() {
        let (_, mark) = of(Path::new("program"), Path::new("libx.so"));
        let loaded = Answer::Loaded { version: Some("1.20.0".into()), providers: Some(vec!["tcp".into()]) };
        for answer in [loaded, Answer::Refused("no\nsuch \"file\"".into())] {
            let line = line(&mark, &answer);
            let after = line.trim_start().strip_prefix(mark.as_str()).unwrap();
            assert_eq!(parse(after.as_bytes()), Some(answer));
        }
        assert_eq!(parse(b""), None);
    }
}
