//! One worker process, as the supervisor sees it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::event::{Event, EventSender};
use crate::smoke::launch::worker_command::WorkerCommand;
use crate::smoke::observe::complaint::Complaint;
use crate::smoke::observe::origin::Origin;
use crate::smoke::observe::output::{self, Capture};
use crate::smoke::plan::role::Role;
use crate::smoke::wire::frame;
use crate::smoke::wire::worker::{FromWorker, PeerMessage, ToWorker};

/// Maximum number of a worker's output lines that are quoted.
const MAX_QUOTED: usize = 6;
/// Limit for a killed process to end: one that waits for a device's driver may never do so.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often to check whether a process has ended.
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
    /// Starts it and sends it its task.
    ///
    /// # Errors
    /// If the process or one of its threads here cannot be started.
    pub(crate) fn start(
        worker: &WorkerCommand,
        role: Role,
        task: &ToWorker,
        deadline: Instant,
        sender: EventSender,
    ) -> io::Result<Child> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = worker.command();
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        drop(command);
        let captures = capture(&mut process);
        let (stdout, stderr) = captures.inspect_err(|_| abandon(&mut process))?;
        let mut child = Child { process, control: ours, deadline, stdout, stderr };
        receive(role, child.control.try_clone()?, sender)?;
        // If the worker has already ended, its channel says so.
        let _ = child.send(task);
        Ok(child)
    }

    /// Forwards a message of the other worker.
    ///
    /// # Errors
    /// If the worker has ended, or does not read until the deadline.
    pub(crate) fn forward(&mut self, message: PeerMessage) -> io::Result<()> {
        self.send(&ToWorker::Peer(message))
    }

    /// Has a timeout, so that a worker that does not read cannot block the supervisor beyond the deadline.
    fn send(&mut self, message: &ToWorker) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now()).max(POLL);
        self.control.set_write_timeout(Some(left))?;
        frame::send(&mut self.control, message)
    }

    /// Its exit status, if it ends within that time.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait(&mut self.process, limit)
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
    }

    /// Reaps the ended process and waits, up to `limit`, for the rest of its output.
    pub(crate) fn reap(&mut self, limit: Duration) {
        self.wait(EXIT_TIMEOUT);
        self.stdout.wait(limit);
        self.stderr.wait(limit);
    }

    /// The lines it printed about transports.
    pub(crate) fn statements(&self) -> String {
        self.stdout.statements() + &self.stderr.statements()
    }

    /// What UCX was asked for there and does not have.
    pub(crate) fn complaints(&self) -> Vec<Complaint> {
        let mut complaints = self.stdout.complaints();
        complaints.extend(self.stderr.complaints());
        complaints
    }

    /// The last lines it printed that are worth quoting.
    pub(crate) fn last_words(&self) -> Vec<String> {
        let mut words = output::last_words(&self.stdout.text(), MAX_QUOTED / 2);
        words.extend(output::last_words(&self.stderr.text(), MAX_QUOTED));
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
    wait(process, EXIT_TIMEOUT);
}

/// The process's exit status, if it ends within that time.
fn wait(process: &mut std::process::Child, limit: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + limit;
    // Returns as soon as the process ends (pidfd_open(2), Linux 5.3); the loop is for kernels without it.
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
    let origin = Origin::of(process.id());
    let stdout = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let stderr = process.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((Capture::start(stdout, origin.clone())?, Capture::start(stderr, origin)?))
}

/// Turns the worker's messages into events, in a thread that ends with the channel.
fn receive(role: Role, mut control: UnixStream, sender: EventSender) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("smoke-control".into());
    thread.spawn(move || {
        (sender.promptly)();
        let error = loop {
            match frame::receive::<FromWorker>(&mut control) {
                Ok(Some(message)) => {
                    if sender.events.send(Event::Worker(role, message)).is_err() {
                        return;
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        let _ = sender.events.send(Event::Closed(role, error));
    })?;
    Ok(())
}
