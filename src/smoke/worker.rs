//! One side of a transfer, in a process of its own.
//!
//! The order on both sides (the stages of [`Stage`]): load, agent, backend, register, exchange metadata; then the
//! initiator writes a small message, which makes the connection, times more of them, writes the payload, and, once it was
//! delivered, spoils its own copy and reads the payload back, while the target compares what was written. Local completion
//! is not delivery: the target compares after the notifications have come, and times are taken until they have come.
#![forbid(unsafe_code)]

mod initiator;
mod target;

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Resource, Rlimit, Signal};

use super::engine::cuda::Cuda;
use super::engine::region::Region;
use super::engine::schedule::{put_others_behind, run_promptly};
use super::engine::{self, Engine, Operation, plugin};
use super::fault::Fault;
use super::memory::Memory;
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
/// The same where the library has no thread of its own: it does nothing in a pause, and asking is what moves it. After
/// that long, something is wrong or very slow, and no processor need be kept busy with it. (With 20 ms, libfabric's tcp
/// moved 18 Gbit/s in place of 28, measured.)
const LONG_SPIN: Duration = Duration::from_secs(2);
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
    let last = match protocol::receive(&mut link.stream) {
        Ok(Some(ToWorker::Task(task))) => match perform(&mut link, &task) {
            Ok(measurements) => FromWorker::Done(measurements),
            Err(cause) => FromWorker::Failed(Surrender { stage: link.stage, cause }),
        },
        Ok(Some(ToWorker::Try(file))) => FromWorker::Tried(plugin::refusal(&file.path())),
        _ => vanish(),
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
            Ok(Some(ToWorker::Task(_) | ToWorker::Try(_))) => Err(Cause::Protocol("a second task".into())),
            Ok(None) => vanish(),
            Err(error) => Err(Cause::Protocol(error.to_string())),
        }
    }

    fn expect(&mut self, expected: PeerMessage) -> Result<(), Cause> {
        matches(self.hear_peer()?, expected)
    }

    /// Whether hearing would not wait: a message has begun to come in, or none will any more.
    fn has_news(&self) -> bool {
        let mut descriptors = [PollFd::new(&self.stream, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // An error is for the reading that follows.
        rustix::event::poll(&mut descriptors, Some(&at_once)) != Ok(0)
    }
}

fn matches(message: PeerMessage, expected: PeerMessage) -> Result<(), Cause> {
    if message != expected {
        return Err(Cause::Protocol(format!("{message:?} came instead of {expected:?}")));
    }
    Ok(())
}

/// Everything that a transfer needs, once the two sides know each other.
struct Session {
    engine: Box<dyn Engine>,
    /// Address of this side's region.
    local: usize,
    /// Address of the other side's region.
    remote: usize,
    messages: Messages,
    /// Where in both regions the small message lies.
    small_offset: usize,
    seed: u64,
    /// A fault: what moves a byte less than it should.
    short: Option<Operation>,
}

impl Session {
    /// Waits for the peer's word, and lets a library without a thread of its own go on meanwhile: what the other side
    /// waits for may be in its hands.
    fn hear_peer(&self, link: &mut Link) -> Result<PeerMessage, Cause> {
        if !self.engine.works_alone() {
            self.wait_until(|| {
                self.engine.progress()?;
                Ok(link.has_news())
            })?;
        }
        link.hear_peer()
    }

    fn expect(&self, link: &mut Link, expected: PeerMessage) -> Result<(), Cause> {
        matches(self.hear_peer(link)?, expected)
    }

    /// Asks until the answer is yes. The deadline is the supervisor's.
    fn wait_until(&self, mut asked: impl FnMut() -> Result<bool, Cause>) -> Result<(), Cause> {
        let begin = Instant::now();
        let spin = if self.engine.works_alone() { SPIN } else { LONG_SPIN };
        while !asked()? {
            if begin.elapsed() < spin {
                std::thread::yield_now();
            } else {
                std::thread::sleep(NAP);
            }
        }
        Ok(())
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
    let (session, region) = set_up(link, task)?;
    // Only now: the library's own threads are there.
    put_others_behind();
    run_promptly();
    match task.role {
        Role::Initiator => initiator::run(link, task, &session, region),
        Role::Target => target::run(link, task, &session, region),
    }
}

fn set_up(link: &mut Link, task: &Task) -> Result<(Session, Region), Cause> {
    let size = usize::try_from(task.size).map_err(|_| Cause::Memory(task.size))?;
    let messages = Messages::divide(size, task.iterations as usize);
    // The payload is made while the libraries load.
    let (role, seed) = (task.role, task.seed);
    let payload = std::thread::spawn(move || prepare_region(role, seed, size, messages));

    // Before the libraries look for GPUs, and with a current context in this thread: some look no more afterwards.
    let gpu = open_gpu(link, task)?;
    let mut engine = engine::open(task, &mut |stage| link.enter(stage))?;
    if let Some(stated) = engine.stated() {
        link.say(&FromWorker::Stated(stated));
    }
    link.enter(Stage::Register);
    let mut region = payload.join().ok().flatten().ok_or(Cause::Memory(task.size))?;
    // Only now: UCX watches allocations, and may take memory for the host's whose allocation it has not seen.
    if let Some(gpu) = gpu {
        region.move_to(gpu)?;
    }
    engine.register(&region)?;
    link.enter(Stage::Metadata);
    let metadata = Blob(engine.metadata()?);
    link.tell_peer(PeerMessage::Introduction { metadata, address: region.address() as u64 });
    let PeerMessage::Introduction { metadata, address } = link.hear_peer()? else {
        return Err(Cause::Protocol("no introduction".into()));
    };
    engine.introduce(&metadata.0)?;
    link.tell_peer(PeerMessage::Ready);
    link.expect(PeerMessage::Ready)?;
    let remote = usize::try_from(address).map_err(|_| Cause::Protocol("an impossible address".into()))?;
    let (local, small_offset) = (region.address(), region.len() - PAGE);
    let short = match task.fault {
        Some(Fault::ShortWrite) => Some(Operation::Write),
        Some(Fault::ShortRead) => Some(Operation::Read),
        _ => None,
    };
    Ok((Session { engine, local, remote, messages, small_offset, seed, short }, region))
}

fn open_gpu(link: &mut Link, task: &Task) -> Result<Option<&'static Cuda>, Cause> {
    let Memory::Vram(number) = task.memory else { return Ok(None) };
    let gpu = Cuda::open(number)?;
    link.say(&FromWorker::Gpu(gpu.describe()?));
    Ok(Some(gpu))
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
        prepare(Part::Large(index), messages.range(index));
    }
    prepare(Part::Small, payload..payload + SMALL);
    Some(region)
}

fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
