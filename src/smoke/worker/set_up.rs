//! From a task to a session: the library, memory, the other side's metadata.

use super::link::Link;
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

/// Passes the stages up to the exchange of metadata.
pub(super) fn set_up(link: &mut Link, task: &Task) -> Result<(Session, Region), Cause> {
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
