//! What a run has left behind, in words.

use super::failure::ended;
use crate::smoke::ending::UncleanEnd;
use crate::smoke::janitor::Leavings;

/// A warning for each worker that did not end well, and for what could not be removed.
pub(crate) fn warnings(unclean: &[UncleanEnd], leavings: &Leavings) -> Vec<String> {
    let ends = unclean.iter().map(|UncleanEnd { role, status }| match status {
        Some(status) => format!(
            "after the transfer, {}\nhelp: expect the same when a workload shuts down",
            ended(*role, *status, "closing its library")
        ),
        None => format!(
            "the {role}'s library did not close within 2 s of the transfer, and the process was killed\nhelp: expect a \
             workload to hang when it shuts down"
        ),
    });
    let files = leavings.files.iter().map(|(file, reason)| {
        format!("`{file}` may stay in shared memory: {reason}\nhelp: remove it once no process uses it")
    });
    let processes = leavings.processes.iter().map(|number| {
        format!("process {number}, which a library has started, does not end\nhelp: see `ps -p {number}`")
    });
    ends.chain(files).chain(processes).collect()
}
