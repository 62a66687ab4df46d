//! One worker process, as the supervisor sees it.

use std::io::{self, Read};
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
use crate::smoke::plan::seed;
use crate::smoke::wire::frame;
use crate::smoke::wire::worker::{Keyed, PeerMessage, ToWorker, Work};

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
    /// Whether this side has killed it.
    killed: bool,
    stdout: Capture,
    stderr: Capture,
}

impl Child {
    /// Starts it and sends it its task.
    ///
    /// # Errors
    /// If the process or one of its threads here cannot be started, or there are no random numbers for its key.
    pub(crate) fn start(
        worker: &WorkerCommand,
        role: Role,
        work: Work,
        deadline: Instant,
        sender: EventSender,
    ) -> io::Result<Child> {
        let key = seed::random().map_err(io::Error::other)?;
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = worker.command();
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        drop(command);
        let captures = capture(&mut process);
        let (stdout, stderr) = captures.inspect_err(|_| abandon(&mut process))?;
        let mut child = Child { process, control: ours, deadline, killed: false, stdout, stderr };
        receive(role, key, Watched::new(child.control.try_clone()?, &child.process), sender)?;
        // If the worker has already ended, the receiving thread says so.
        let _ = child.send(&ToWorker::Begin { key, work });
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

    /// Tells it that it is no longer needed: it closes its library and ends.
    pub(crate) fn release(&mut self) {
        // If it has already ended, its status says how.
        let _ = self.send(&ToWorker::End);
    }

    /// Its exit status, if it ends by itself within that time.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait(&mut self.process, limit).filter(|_| !self.killed)
    }

    /// Kills it, unless it has ended.
    pub(crate) fn kill(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.killed = true;
            let _ = self.process.kill();
        }
    }

    /// Reaps the ended process.
    pub(crate) fn reap(&mut self) {
        wait(&mut self.process, EXIT_TIMEOUT);
    }

    /// Waits, up to `limit`, for the rest of its output.
    pub(crate) fn collect_output(&mut self, limit: Duration) {
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

/// A worker's end of the control channel, which ends with the worker's process: a process that a library has forked may keep
/// the channel open for longer.
struct Watched {
    control: UnixStream,
    /// Readable once the process has ended; `None` before Linux 5.3.
    process: Option<OwnedFd>,
}

impl Watched {
    fn new(control: UnixStream, process: &std::process::Child) -> Watched {
        let pid = Pid::from_raw(process.id() as i32);
        Watched { control, process: pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) }
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(process) = &self.process else { return self.control.read(buffer) };
        let mut descriptors = [PollFd::new(&self.control, PollFlags::IN), PollFd::new(process, PollFlags::IN)];
        rustix::event::poll(&mut descriptors, None)?;
        if descriptors[0].revents().is_empty() {
            return Ok(0);
        }
        self.control.read(buffer)
    }
}

/// Turns the worker's messages into events, in a thread that ends with the process or the channel.
fn receive(role: Role, key: u64, mut control: Watched, sender: EventSender) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("smoke-control".into());
    thread.spawn(move || {
        (sender.promptly)();
        let error = loop {
            match frame::receive::<Keyed>(&mut control) {
                Ok(Some(Keyed { key: theirs, message })) if theirs == key => {
                    if sender.events.send(Event::Worker(role, message)).is_err() {
                        return;
                    }
                }
                Ok(Some(_)) => break Some("a message carries another key".into()),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => break Some(error.to_string()),
                // The end of the worker, also inside a message or with unread ones.
                Ok(None) | Err(_) => break None,
            }
        };
        let _ = sender.events.send(Event::Closed(role, error));
    })?;
    Ok(())
}
