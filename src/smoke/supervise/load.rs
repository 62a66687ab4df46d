//! Asking the dynamic loader: each library is loaded in a process of its own, which may crash, hang or talk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::environment::program::bounded::{Bounded, Limits};
use crate::smoke::launch::load_command::{self, Answer};

/// Loading a plugin takes 5 to 100 ms.
const LIMITS: Limits = Limits { time: Duration::from_secs(10), bytes: 1 << 20 };

/// What the loader says to each library, in their order.
pub(crate) fn all(program: &Path, libraries: &[PathBuf]) -> Vec<Answer> {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from).min(libraries.len());
    let work = || {
        let mut answers = Vec::new();
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            let Some(library) = libraries.get(position) else { return answers };
            answers.push((position, one(program, library, LIMITS.time, &|_| {})));
        }
    };
    let mut answers: Vec<(usize, Answer)> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    answers.sort_by_key(|(position, _)| *position);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// What it says to one library within that time; `prepare` may change the environment of its process.
pub(crate) fn one(program: &Path, library: &Path, time: Duration, prepare: &dyn Fn(&mut Command)) -> Answer {
    let (mut command, mark) = load_command::of(program, library);
    prepare(&mut command);
    answer(&mut command, &mark, Limits { time, ..LIMITS }).unwrap_or_else(Answer::Ended)
}

/// The answer after the mark; anything before it is the library's own.
///
/// # Errors
/// How the process ended without one.
fn answer(command: &mut Command, mark: &str, limits: Limits) -> Result<Answer, String> {
    let mut process = Bounded::start(command, limits).map_err(|error| format!("cannot be started: {error}"))?;
    process.read_past(mark.as_bytes()).map_err(|error| error.to_string())?;
    let line = process.read_past(b"\n").map_err(|error| error.to_string())?;
    if let Some(answer) = load_command::parse(&line) {
        return Ok(answer);
    }
    let (status, _, words) = process.finish().map_err(|error| error.to_string())?;
    let words = String::from_utf8_lossy(&words);
    let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let last: String = last.chars().filter(|c| !c.is_control()).take(300).collect();
    Err(if last.is_empty() { format!("{status}") } else { format!("{status}; its last words: {last}") })
}
