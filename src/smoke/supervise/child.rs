//! One worker process, as the supervisor sees it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::ear::Ear;
use super::event::Event;
use crate::smoke::launch::worker_command::WorkerCommand;
use crate::smoke::observe::output::{self, Capture};
use crate::smoke::plan::role::Role;
use crate::smoke::wire::frame;
use crate::smoke::wire::worker::{FromWorker, PeerMessage, ToWorker};

/// Lines of a worker's output that are quoted.
const QUOTED: usize = 6;
/// How long a killed process may take to end: one that waits for a device's driver may do so for ever.
const DYING: Duration = Duration::from_secs(2);
/// How often to ask whether a process has ended.
const POLL: Duration = Duration::from_millis(1);

/// A worker process; dropping it ends it.
pub(crate) struct Child {
    process: std::process::Child,
    control: UnixStream,
    deadline: Instant,
    stdout: Capture,
    stderr: Capture,
}

impl Child {
    /// Starts it and gives it its task.
    pub(crate) fn start(
        worker: &WorkerCommand,
        role: Role,
        task: &ToWorker,
        deadline: Instant,
        ear: Ear,
    ) -> io::Result<Child> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = worker.command();
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        drop(command);
        let captures = capture(&mut process);
        let (stdout, stderr) = captures.inspect_err(|_| abandon(&mut process))?;
        let mut child = Child { process, control: ours, deadline, stdout, stderr };
        listen(role, child.control.try_clone()?, ear)?;
        // A worker that has already ended says so through its channel.
        let _ = child.say(task);
        Ok(child)
    }

    /// Passes on what the other worker has said.
    pub(crate) fn tell(&mut self, message: PeerMessage) -> io::Result<()> {
        self.say(&ToWorker::Peer(message))
    }

    /// A worker that does not read must not hold the supervisor up beyond the deadline.
    fn say(&mut self, message: &ToWorker) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now()).max(POLL);
        self.control.set_write_timeout(Some(left))?;
        frame::send(&mut self.control, message)
    }

    /// How it ended, if it does so within that time.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait(&mut self.process, limit)
    }

    /// Ends it.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
    }

    /// Collects the ended process, and what it has printed.
    pub(crate) fn reap(&mut self, limit: Duration) {
        self.wait(DYING);
        self.stdout.wait(limit);
        self.stderr.wait(limit);
    }

    /// What it has stated about transports.
    pub(crate) fn statements(&self) -> String {
        self.stdout.statements() + &self.stderr.statements()
    }

    /// What it has said last.
    pub(crate) fn last_words(&self) -> Vec<String> {
        let mut words = output::last_words(&self.stdout.text(), QUOTED / 2);
        words.extend(output::last_words(&self.stderr.text(), QUOTED));
        words
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        abandon(&mut self.process);
    }
}

fn abandon(process: &mut std::process::Child) {
    let _ = process.kill();
    wait(process, DYING);
}

/// How the process ended, if it does so within that time.
fn wait(process: &mut std::process::Child, limit: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + limit;
    // The kernel tells at once (pidfd_open(2), Linux 5.3); where it cannot, asking has to do.
    let pid = Pid::from_raw(process.id() as i32)?;
    if let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) {
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        let _ = rustix::event::poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&limit));
    }
    loop {
        match process.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => std::thread::sleep(POLL),
            _ => return None,
        }
    }
}

fn capture(process: &mut std::process::Child) -> io::Result<(Capture, Capture)> {
    let stdout = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let stderr = process.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((Capture::start(stdout)?, Capture::start(stderr)?))
}

/// Turns what comes through the channel into events, in a thread of its own that ends with the channel.
fn listen(role: Role, mut control: UnixStream, ear: Ear) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("smoke-control".into());
    thread.spawn(move || {
        (ear.promptly)();
        let error = loop {
            match frame::receive::<FromWorker>(&mut control) {
                Ok(Some(message)) => {
                    if ear.events.send(Event::Said(role, message)).is_err() {
                        return;
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        let _ = ear.events.send(Event::Closed(role, error));
    })?;
    Ok(())
}
