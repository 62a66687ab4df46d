//! A program whose answer is waited for: limited in time and in bytes, and killed with everything that it started.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use thiserror::Error;

use super::group::GroupLeader;

/// The read size: a pipe's capacity.
const CHUNK: usize = 64 << 10;
/// How often to look whether the program has ended, where nothing wakes this process when it does.
const LOOK: Duration = Duration::from_millis(5);

/// What a program may take for all that it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From its start to its end.
    pub time: Duration,
    /// For standard output and for standard error, each.
    pub bytes: usize,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum NoAnswer {
    /// It still runs.
    #[error("did not finish within {} s", .0.as_secs_f64())]
    Time(Duration),
    /// It goes on writing.
    #[error("wrote more than {} KiB", .0 >> 10)]
    Bytes(usize),
    /// The operating system refused something.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// A running program. Dropping it kills it, and what it started.
pub(crate) struct Bounded {
    leader: GroupLeader,
    /// Readable once it has ended (pidfd_open(2)); None on kernels before 5.3 and where a seccomp profile forbids it.
    ended: Option<OwnedFd>,
    has_ended: bool,
    deadline: Instant,
    limits: Limits,
    output: Stream,
    errors: Stream,
}

/// One of its pipes, and what came out of it.
struct Stream {
    pipe: Option<File>,
    bytes: Vec<u8>,
}

impl Bounded {
    /// Starts the program, without standard input.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(command: &mut Command, limits: Limits) -> io::Result<Bounded> {
        let deadline = Instant::now() + limits.time;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut leader = GroupLeader::start(command)?;
        let ended = pidfd_open(Pid::from_child(&leader.child), PidfdFlags::empty()).ok();
        let output = Stream::new(leader.child.stdout.take().map(OwnedFd::from));
        let errors = Stream::new(leader.child.stderr.take().map(OwnedFd::from));
        Ok(Bounded { leader, ended, has_ended: false, deadline, limits, output, errors })
    }

    /// What it has written to standard output up to the first `end`, or all of it when it ends before. A later call goes
    /// on after that `end`.
    ///
    /// # Errors
    /// When a limit is reached.
    pub(crate) fn read_past(&mut self, end: &[u8]) -> Result<Vec<u8>, NoAnswer> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.output.bytes, end) {
                let rest = self.output.bytes.split_off(at + end.len());
                return Ok(std::mem::replace(&mut self.output.bytes, rest));
            }
            if self.has_ended {
                return Ok(std::mem::take(&mut self.output.bytes));
            }
            self.read_more()?;
        }
    }

    /// Waits for its end. Returns its exit status, the rest of its standard output, and its standard error.
    ///
    /// # Errors
    /// When a limit is reached.
    pub(crate) fn finish(mut self) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), NoAnswer> {
        while !self.has_ended {
            self.read_more()?;
        }
        let (output, errors) = (std::mem::take(&mut self.output.bytes), std::mem::take(&mut self.errors.bytes));
        Ok((self.leader.end()?, output, errors))
    }

    /// Reads what is there; waits for some of it, or for the end of the program. What a descendant writes after that is
    /// not waited for: it may hold the pipes for as long as it likes.
    fn read_more(&mut self) -> Result<(), NoAnswer> {
        self.has_ended = self.wait()?;
        let limit = self.limits.bytes;
        loop {
            let output = self.output.read(limit)?;
            let errors = self.errors.read(limit)?;
            if !(output || errors) {
                return Ok(());
            }
        }
    }

    /// Waits until there is something to read or the program has ended; whether it has.
    fn wait(&self) -> Result<bool, NoAnswer> {
        let pipes = [&self.output, &self.errors].into_iter().filter_map(Stream::poll);
        let mut ready: Vec<PollFd> =
            pipes.chain(self.ended.as_ref().map(|ended| PollFd::new(ended, PollFlags::IN))).collect();
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let limit = if self.ended.is_some() { left } else { left.min(LOOK) };
            let count = retry_on_intr(|| poll(&mut ready, Some(&timespec(limit)))).map_err(io::Error::from)?;
            let has_ended = has_ended(&self.leader.child)?;
            if has_ended || count > 0 {
                return Ok(has_ended);
            }
            if left.is_zero() {
                return Err(NoAnswer::Time(self.limits.time));
            }
        }
    }
}

impl Stream {
    fn new(pipe: Option<OwnedFd>) -> Stream {
        Stream { pipe: pipe.map(File::from), bytes: Vec::new() }
    }

    fn poll(&self) -> Option<PollFd<'_>> {
        Some(PollFd::new(self.pipe.as_ref()?, PollFlags::IN))
    }

    /// Reads once, without waiting; whether more may be there.
    fn read(&mut self, limit: usize) -> Result<bool, NoAnswer> {
        let Some(pipe) = &mut self.pipe else { return Ok(false) };
        if !is_ready(pipe)? {
            return Ok(false);
        }
        let mut chunk = [0; CHUNK];
        match pipe.read(&mut chunk) {
            Ok(0) => self.pipe = None,
            Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if self.bytes.len() > limit { Err(NoAnswer::Bytes(limit)) } else { Ok(self.pipe.is_some()) }
    }
}

fn is_ready(pipe: &impl AsFd) -> io::Result<bool> {
    let mut ready = [PollFd::new(pipe, PollFlags::IN)];
    Ok(retry_on_intr(|| poll(&mut ready, Some(&Timespec::default())))? > 0)
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() }
}

/// Whether a program has ended. It stays to be waited for, so that its number is no other's.
fn has_ended(child: &Child) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(retry_on_intr(|| waitid(WaitId::Pid(Pid::from_child(child)), options))?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limits: Limits) -> Bounded {
        Bounded::start(Command::new("sh").args(["-c", script]), limits).unwrap()
    }

    /// What a script's end is, which is the same where `pidfd_open` does not work.
    fn outcome(script: &str) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), NoAnswer> {
        let [mut outcome, without] = [true, false].map(|has_descriptor| {
            let started = Instant::now();
            let mut program = shell(script, Limits { time: Duration::from_millis(700), bytes: 200_000 });
            program.ended = program.ended.take().filter(|_| has_descriptor);
            let outcome = program.finish();
            assert!(started.elapsed() < Duration::from_secs(10), "{script}: {:?}", started.elapsed());
            outcome
        });
        match (&mut outcome, without) {
            (Ok((status, output, errors)), Ok((other, more, _))) => {
                assert_eq!((*status, output.len(), errors.len()), (other, more.len(), errors.len()), "{script}");
            }
            (Err(error), Err(other)) => assert_eq!(error.to_string(), other.to_string(), "{script}"),
            (outcome, without) => panic!("{script}: {outcome:?}, {without:?}"),
        }
        outcome
    }

    fn is_alive(process: &[u8]) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", String::from_utf8_lossy(process).trim()));
        status.is_ok_and(|status| !status.contains(") Z "))
    }

    /// Nobody waits for a descendant that was killed.
    fn ends_soon(process: &[u8]) -> bool {
        let until = Instant::now() + Duration::from_secs(5);
        while is_alive(process) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        !is_alive(process)
    }

    #[test]
    fn an_answer_comes_in_parts() {
        let limits = Limits { time: Duration::from_secs(20), bytes: 1000 };
        let mut program = shell("printf 'one;two;three'; echo words >&2; exit 3", limits);
        assert_eq!(program.read_past(b";").unwrap(), b"one;");
        assert_eq!(program.read_past(b";").unwrap(), b"two;");
        let (status, output, errors) = program.finish().unwrap();
        assert_eq!((status.code(), output.as_slice(), errors.as_slice()), (Some(3), &b"three"[..], &b"words\n"[..]));
    }

    #[test]
    fn both_pipes_are_read_together() {
        let (status, output, errors) = outcome("head -c 150000 /dev/zero >&2; head -c 150000 /dev/zero").unwrap();
        assert!(status.success());
        assert_eq!((output.len(), errors.len()), (150_000, 150_000));
    }

    #[test]
    fn time_is_limited_as_a_whole() {
        for script in ["sleep 60", "exec >&- 2>&-; sleep 60", "while :; do echo; sleep 0.05; done", "kill -STOP $$"] {
            assert!(matches!(outcome(script), Err(NoAnswer::Time(_))), "{script}");
        }
    }

    #[test]
    fn bytes_are_limited() {
        for script in ["yes", "yes >&2"] {
            assert!(matches!(outcome(script), Err(NoAnswer::Bytes(200_000))), "{script}");
        }
    }

    #[test]
    fn a_descendant_that_holds_the_pipes_is_not_waited_for_and_does_not_stay() {
        let (status, child, _) = outcome("(sleep 60 & echo $!)").unwrap();
        assert!(status.success());
        assert!(!child.is_empty() && ends_soon(&child), "{}", String::from_utf8_lossy(&child));
    }

    #[test]
    fn what_is_dropped_ends() {
        let mut program = shell("sleep 60 & echo $!; wait", Limits { time: Duration::from_secs(20), bytes: 1000 });
        let child = program.read_past(b"\n").unwrap();
        assert!(is_alive(&child));
        drop(program);
        assert!(ends_soon(&child));
    }
}
