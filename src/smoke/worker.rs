//! One side of a transfer, in a process of its own.
//!
//! The order on both sides (the stages of [`Stage`]): load, agent, backend, register, exchange metadata; then the
//! initiator writes a small message, which makes the connection, times more of them, writes the payload, and, when the
//! target has compared it and has put other bytes in its place, reads those and compares them. Local completion is not
//! delivery: the target compares after the notifications have come, and times are taken until they have come.
#![forbid(unsafe_code)]

mod initiator;
mod target;

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal};

use super::engine::nixl_capi::{self, Agent, NixlLibrary, Operation, Peer};
use super::engine::region::Region;
use super::payload::{Mismatch, Part, Stream};
use super::plan::Messages;
use super::protocol::{
    self, Blob, Cause, FromWorker, Measurements, PeerMessage, Role, Stage, Surrender, Task, ToWorker,
};

/// Length of a small message: one word, the size of a flag or a pointer.
const SMALL: usize = 8;
/// The payload's length is rounded up to this, and the small message lies behind it.
const PAGE: usize = 4096;
/// How long a worker asks without a pause: longer than a small message takes on RDMA. Longer still would, where there are
/// few processors, keep the libraries' own progress threads from theirs.
const SPIN: Duration = Duration::from_micros(100);
/// The pause between questions after that.
const NAP: Duration = Duration::from_micros(20);
/// The notification of the first message.
const HELLO: &[u8] = b"hello";

/// A worker process, from its first line to its last.
///
/// It only returns when there is no supervisor: otherwise the supervisor ends the process, so that no destructor of a
/// vendor library runs.
pub fn worker_main() -> ExitCode {
    let Some(stream) = control_channel() else {
        eprintln!("error: this subcommand is one side of a smoke transfer; only 'nixl-retrofit smoke' can start it");
        return ExitCode::from(2);
    };
    protect();
    let mut link = Link { stream, stage: Stage::Load };
    let Ok(Some(ToWorker::Task(task))) = protocol::receive(&mut link.stream) else { vanish() };
    let last = match perform(&mut link, &task) {
        Ok(measurements) => FromWorker::Done(measurements),
        Err(cause) => FromWorker::Failed(Surrender { stage: link.stage, cause }),
    };
    if protocol::send(&mut link.stream, &last).is_ok() {
        // Whatever comes, and the end of the stream too, means that the supervisor has no more need of this process.
        let _ = protocol::receive::<ToWorker>(&mut link.stream);
    }
    vanish()
}

/// Standard input, when it is one end of a socket pair.
fn control_channel() -> Option<UnixStream> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return None;
    }
    let stat = rustix::fs::fstat(stdin.as_fd()).ok()?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Socket {
        return None;
    }
    Some(UnixStream::from(stdin.as_fd().try_clone_to_owned().ok()?))
}

/// This process shall not outlive its supervisor, and leaves no core file behind. Where that is refused, the end of the
/// control channel still ends it.
fn protect() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Ends this process at once: no exit handler, no destructor.
fn vanish() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    std::process::abort()
}

/// The way to the supervisor, and where this worker is.
struct Link {
    stream: UnixStream,
    stage: Stage,
}

impl Link {
    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.say(&FromWorker::Stage(stage));
    }

    fn tell_peer(&mut self, message: PeerMessage) {
        self.say(&FromWorker::Peer(message));
    }

    fn say(&mut self, message: &FromWorker) {
        if protocol::send(&mut self.stream, message).is_err() {
            vanish();
        }
    }

    fn hear_peer(&mut self) -> Result<PeerMessage, Cause> {
        match protocol::receive(&mut self.stream) {
            Ok(Some(ToWorker::Peer(message))) => Ok(message),
            Ok(Some(ToWorker::Task(_))) => Err(Cause::Protocol("a second task".into())),
            Ok(None) => vanish(),
            Err(error) => Err(Cause::Protocol(error.to_string())),
        }
    }

    fn expect(&mut self, expected: PeerMessage) -> Result<(), Cause> {
        let message = self.hear_peer()?;
        if message != expected {
            return Err(Cause::Protocol(format!("{message:?} came instead of {expected:?}")));
        }
        Ok(())
    }
}

/// Everything that a transfer needs, once the agents know each other.
struct Session {
    agent: Agent,
    peer: Peer,
    region: Region,
    /// Address of the other side's region.
    remote: usize,
    messages: Messages,
    seed: u64,
}

impl Session {
    fn small_offset(&self) -> usize {
        self.region.len() - PAGE
    }

    /// Commits a fault: flips one bit of the region if the offset lies in that message.
    fn flip(&mut self, offset: u64, index: usize) {
        let range = self.messages.range(index);
        let payload = self.messages.range(self.messages.count() - 1).end as u64;
        let offset = (offset % payload) as usize;
        if range.contains(&offset) {
            self.region.bytes_mut(offset..offset + 1)[0] ^= 1;
        }
    }
}

fn wrong_bytes(operation: Operation, index: usize, start: usize, length: usize, mismatch: Mismatch) -> Cause {
    Cause::Mismatch {
        operation: operation.name().into(),
        message: index + 1,
        offset: (start + mismatch.offset) as u64,
        expected: mismatch.expected,
        found: mismatch.found,
        wrong: mismatch.wrong as u64,
        untouched: mismatch.untouched as u64,
        length: length as u64,
    }
}

fn note(operation: Operation, index: usize) -> Vec<u8> {
    format!("{} {index}", operation.name()).into_bytes()
}

fn perform(link: &mut Link, task: &Task) -> Result<Measurements, Cause> {
    let mut session = set_up(link, task)?;
    match task.role {
        Role::Initiator => initiator::run(link, task, &mut session),
        Role::Target => target::run(link, task, &mut session),
    }
}

fn set_up(link: &mut Link, task: &Task) -> Result<Session, Cause> {
    let size = usize::try_from(task.size).map_err(|_| Cause::Memory(task.size))?;
    let messages = Messages::divide(size, task.iterations as usize);
    // The payload is made while the libraries load.
    let (role, seed) = (task.role, task.seed);
    let payload = std::thread::spawn(move || prepare_region(role, seed, size, messages));

    link.enter(Stage::Load);
    let library = NixlLibrary::load(&path(&task.library))?;
    link.enter(Stage::Agent);
    let mut agent = library.create_agent(role.name())?;
    link.enter(Stage::Backend);
    agent.create_backend(&task.backend).map_err(|cause| explain_backend(&agent, task, cause))?;
    link.enter(Stage::Register);
    let region = payload.join().ok().flatten().ok_or(Cause::Memory(task.size))?;
    agent.register(&region)?;
    link.enter(Stage::Metadata);
    let metadata = Blob(agent.metadata()?);
    link.tell_peer(PeerMessage::Introduction { metadata, address: region.address() as u64 });
    let PeerMessage::Introduction { metadata, address } = link.hear_peer()? else {
        return Err(Cause::Protocol("no introduction".into()));
    };
    let peer = agent.introduce(&metadata.0)?;
    link.tell_peer(PeerMessage::Ready);
    link.expect(PeerMessage::Ready)?;
    let remote = usize::try_from(address).map_err(|_| Cause::Protocol("an impossible address".into()))?;
    Ok(Session { agent, peer, region, remote, messages, seed })
}

/// The initiator's region holds what it will write; the target's, the opposite of what it expects, at every byte.
fn prepare_region(role: Role, seed: u64, size: usize, messages: Messages) -> Option<Region> {
    let payload = size.checked_next_multiple_of(PAGE)?;
    let mut region = Region::allocate(payload.checked_add(PAGE)?)?;
    let mut prepare = |part, range| match role {
        Role::Initiator => Stream::new(seed, part).fill(region.bytes_mut(range)),
        Role::Target => Stream::new(seed, part).complement().fill(region.bytes_mut(range)),
    };
    for index in 0..messages.count() {
        prepare(Part::Write(index), messages.range(index));
    }
    prepare(Part::Small, payload..payload + SMALL);
    Some(region)
}

/// NIXL itself says little about a backend that it cannot use: ask it for its plugins, and the loader for its reason.
fn explain_backend(agent: &Agent, task: &Task, cause: Cause) -> Cause {
    let Cause::Call { function, status } = cause else { return cause };
    let plugin = task.plugin.as_ref().map(path).filter(|plugin| plugin.exists());
    Cause::Backend {
        function,
        status,
        offered: agent.plugins().unwrap_or_default(),
        loader: plugin.and_then(|plugin| nixl_capi::try_plugin(&plugin)),
    }
}

fn path(blob: &Blob) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(blob.0.clone()))
}

/// Asks until the answer is yes. The deadline is the supervisor's.
fn wait_until(mut asked: impl FnMut() -> Result<bool, Cause>) -> Result<(), Cause> {
    let begin = Instant::now();
    while !asked()? {
        if begin.elapsed() < SPIN {
            std::thread::yield_now();
        } else {
            std::thread::sleep(NAP);
        }
    }
    Ok(())
}

fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
