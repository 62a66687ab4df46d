//! The processes of a run.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::RUN_VARIABLE;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// The living processes that carry the mark, newest first.
pub(super) fn marked(mark: &str) -> Vec<i32> {
    let mut numbers = numbers();
    // A number wraps around rarely, so the run's processes are mostly the first ones.
    numbers.reverse();
    numbers.retain(|number| is_marked(*number, mark));
    numbers
}

/// Whether a process carries the mark.
pub(super) fn is_marked(number: i32, mark: &str) -> bool {
    let wanted = format!("{RUN_VARIABLE}={mark}");
    let variables = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
    variables.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

/// The numbers of all processes, in order.
pub(super) fn numbers() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut numbers: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// Kills every process of the run, and those that they start meanwhile; returns those that live on.
pub(super) fn end_all(mark: &str, limit: Duration) -> Vec<i32> {
    let until = Instant::now() + limit;
    loop {
        let left = marked(mark);
        if left.is_empty() || Instant::now() > until {
            return left;
        }
        for pid in left.into_iter().filter_map(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(PAUSE);
    }
}
