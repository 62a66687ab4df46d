//! Processes that a library in a worker starts.
//!
//! While a transfer lasts, this process is the one that orphans of its descendants get as their parent
//! (PR_SET_CHILD_SUBREAPER of prctl(2)): what a worker's libraries start becomes a child of this process once the worker has
//! ended, whatever it does with sessions, groups, descriptors and variables.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, set_child_subreaper, waitpid};

/// Limit for them to end once they are killed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// The children that this process had before the transfer, which are not touched.
pub(crate) struct Family {
    before: BTreeSet<i32>,
}

impl Family {
    /// Becomes the parent of orphans.
    pub(crate) fn begin() -> Family {
        // Before Linux 3.4 they go to the first process.
        let _ = set_child_subreaper(Some(getpid()));
        Family { before: children().into_iter().collect() }
    }

    /// Kills the orphans of ended workers, and theirs. `spared` is the number of a child that stays.
    pub(crate) fn end_orphans(&self, spared: Option<u32>) {
        let is_orphan = |child: &i32| !self.before.contains(child) && spared != u32::try_from(*child).ok();
        let until = Instant::now() + EXIT_TIMEOUT;
        loop {
            let orphans: Vec<i32> = children().into_iter().filter(is_orphan).collect();
            if orphans.is_empty() || Instant::now() > until {
                return;
            }
            for orphan in orphans.into_iter().filter_map(Pid::from_raw) {
                let _ = rustix::process::kill_process(orphan, Signal::KILL);
                let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let _ = set_child_subreaper(None);
    }
}

/// This process's children, of all its threads (`/proc/PID/task/TID/children` of proc(5)).
fn children() -> Vec<i32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|number| number.parse().ok()).collect::<Vec<i32>>())
        .collect()
}
