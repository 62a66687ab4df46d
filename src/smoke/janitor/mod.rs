//! What a run leaves behind, removed by a process that outlives the supervisor.
//!
//! Vendor libraries create files in `/dev/shm` and may start processes. A supervisor that is killed removes neither, so a
//! second process of this program does: the janitor, which loads nothing, has no variables, and is in a process group of its
//! own, so that the terminal's signals do not reach it. It notes which files the run's processes create while they live, and
//! begins once the supervisor asks, or is gone. The run's processes are known by [`RUN_VARIABLE`] in their environment, which
//! whatever they start inherits.
#![forbid(unsafe_code)]

pub(crate) mod process;
mod processes;
mod shared_memory;

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::smoke::wire::frame;

/// The hidden subcommand that the janitor is started with.
pub(crate) const JANITOR_COMMAND: &str = "__smoke-janitor";
/// The variable that marks the processes of one run.
pub(crate) const RUN_VARIABLE: &str = "NIXL_RETROFIT_RUN";
/// Limit for the janitor to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// From the supervisor.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ToJanitor {
    /// The first message: the value of [`RUN_VARIABLE`].
    Begin(String),
    /// The last message: the workers have ended.
    Finish,
}

/// From the janitor, once it watches: what appears from now on is noticed.
#[derive(Serialize, Deserialize)]
struct Watching;

/// What could not be removed.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leavings {
    /// Paths of shared memory, each with the reason.
    pub files: Vec<(String, String)>,
    /// Numbers of processes.
    pub processes: Vec<i32>,
}

/// The janitor's process, as the supervisor sees it.
pub(crate) struct Janitor {
    process: std::process::Child,
    channel: UnixStream,
    /// The value of [`RUN_VARIABLE`] for this run's workers.
    pub mark: String,
}

impl Janitor {
    /// Starts it from this program's file, and waits until it watches. `None` if it cannot be started: a run does not depend
    /// on it.
    pub(crate) fn start(program: &Path) -> Option<Janitor> {
        let mark = format!("{:016x}", getrandom::u64().ok()?);
        let (channel, theirs) = UnixStream::pair().ok()?;
        let mut command = Command::new(program);
        command.arg0(env!("CARGO_PKG_NAME")).arg(JANITOR_COMMAND).env_clear().process_group(0).current_dir("/");
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().ok()?;
        drop(command);
        let mut janitor = Janitor { process, channel, mark };
        janitor.begin().ok().flatten().map(|Watching| janitor)
    }

    fn begin(&mut self) -> io::Result<Option<Watching>> {
        self.channel.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        frame::send(&mut self.channel, &ToJanitor::Begin(self.mark.clone()))?;
        frame::receive(&mut self.channel)
    }

    /// Its process's number.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Has it remove what is left, and returns what it could not.
    pub(crate) fn finish(mut self) -> Leavings {
        let asked = frame::send(&mut self.channel, &ToJanitor::Finish);
        let answer = asked.and_then(|()| frame::receive(&mut self.channel));
        answer
            .unwrap_or_else(|_| {
                let _ = self.process.kill();
                None
            })
            .unwrap_or_default()
    }
}

impl Drop for Janitor {
    /// Without a supervisor it cleans up and ends.
    fn drop(&mut self) {
        let _ = self.channel.shutdown(Shutdown::Both);
        let _ = self.process.wait();
    }
}
