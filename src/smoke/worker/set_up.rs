//! From a task to a session: library, memory, exchange of metadata.

use std::sync::mpsc::{self, Sender};

use super::gauge::Gauge;
use super::link::{Link, unexpected};
use super::session::{PAGE, SMALL, Session};
use crate::report::stage::Stage;
use crate::smoke::engine;
use crate::smoke::engine::cuda::Cuda;
use crate::smoke::engine::region::Region;
use crate::smoke::payload::{Part, Stream};
use crate::smoke::plan::fault::Fault;
use crate::smoke::plan::memory::Memory;
use crate::smoke::plan::messages::Messages;
use crate::smoke::plan::operation::Operation;
use crate::smoke::plan::role::Role;
use crate::smoke::wire::blob::Blob;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::worker::{FromWorker, PeerMessage, Task};

/// Passes the stages up to the exchange of metadata; `is_set` tells whether an environment variable of this process
/// is set.
pub(super) fn set_up(link: &mut Link, task: &Task, is_set: &dyn Fn(&str) -> bool) -> Result<(Session, Region), Cause> {
    let size = usize::try_from(task.size).map_err(|_| Cause::Memory(task.size))?;
    let messages = Messages::divide(size, task.iterations as usize);
    // Generates the payload while the libraries load.
    let (role, seed) = (task.role, task.seed);
    let (written, progress) = mpsc::channel();
    let payload = std::thread::spawn(move || prepare_region(role, seed, size, messages, &written));

    // Before the libraries load: some look for GPUs only once, and need a current context in this thread.
    let gpu = open_gpu(link, task)?;
    let mut engine = engine::open(task, is_set, &mut |stage| link.enter(stage))?;
    if let Some(stated) = engine.stated() {
        link.send(&FromWorker::Stated(stated));
    }
    link.enter(Stage::Register);
    let mut gauge = Gauge::new(task.size);
    progress.iter().for_each(|bytes| gauge.add(bytes, link));
    let mut region = payload.join().ok().flatten().ok_or(Cause::Memory(task.size))?;
    // UCX hooks allocations once it is loaded, and may misdetect memory allocated earlier as host memory.
    if let Some(gpu) = gpu {
        region.move_to(gpu)?;
    }
    engine.register(&region)?;
    link.enter(Stage::Metadata);
    let metadata = Blob(engine.metadata()?);
    link.send_to_peer(PeerMessage::Introduction { metadata, address: region.address() as u64 });
    let (metadata, address) = match link.receive_from_peer()? {
        PeerMessage::Introduction { metadata, address } => (metadata, address),
        other => return Err(unexpected(&other, "introduction")),
    };
    engine.load_peer(&metadata.0)?;
    link.send_to_peer(PeerMessage::Ready);
    link.expect(PeerMessage::Ready)?;
    let remote =
        usize::try_from(address).map_err(|_| Cause::Protocol("the peer's address has too many bits".into()))?;
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
    link.send(&FromWorker::Gpu(gpu.describe()?));
    Ok(Some(gpu))
}

/// Fills the initiator's region with what it writes, and the target's with bytes that are all wrong; `written` gets their
/// number, piece by piece.
fn prepare_region(role: Role, seed: u64, size: usize, messages: Messages, written: &Sender<usize>) -> Option<Region> {
    let payload = size.checked_next_multiple_of(PAGE)?;
    let mut region = Region::allocate(payload.checked_add(PAGE)?)?;
    // Where nobody receives, the worker has failed.
    let mut count = |bytes| written.send(bytes).unwrap_or_default();
    let mut prepare = |part, range| {
        let stream = match role {
            Role::Initiator => Stream::new(seed, part),
            Role::Target => Stream::new(seed, part).before(),
        };
        stream.fill_counted(region.bytes_mut(range), &mut count);
    };
    for index in 0..messages.count() {
        prepare(Part::Write(index), messages.range(index));
    }
    prepare(Part::Small, payload..payload + SMALL);
    Some(region)
}
