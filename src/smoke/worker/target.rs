//! The side whose memory is written and read.

use std::io::Write;
use std::time::Duration;

use super::link::{Link, vanish};
use super::session::{HELLO, SMALL, Session, note, wrong_bytes};
use crate::report::stage::Stage;
use crate::smoke::engine::region::Region;
use crate::smoke::payload::{Part, Stream};
use crate::smoke::plan::fault::Fault;
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::worker::{Measurements, PeerMessage, Task};

/// The target's transfer, from the first notification to the last.
pub(super) fn run(link: &mut Link, task: &Task, session: &Session, mut region: Region) -> Result<Measurements, Cause> {
    let mut mailbox = Mailbox::default();
    link.enter(Stage::Connect);
    mailbox.wait_for(session, &[HELLO.to_vec()])?;
    compare_small(session, &mut region)?;
    link.tell_peer(PeerMessage::Connected);

    link.enter(Stage::Transfer);
    commit(task.fault);
    link.enter(Stage::Notify);
    mailbox.wait_for(session, &notes(session, Operation::Write))?;
    if let Some(Fault::Corrupt(offset)) = task.fault {
        flip(&mut region, offset % task.size)?;
    }
    link.tell_peer(PeerMessage::Delivered);

    // The initiator already reads the same bytes back.
    link.enter(Stage::Compare);
    for index in 0..session.messages.count() {
        compare(session, &mut region, index)?;
        session.engine.progress()?;
    }
    link.tell_peer(PeerMessage::Compared);

    link.enter(Stage::Notify);
    mailbox.wait_for(session, &notes(session, Operation::Read))?;
    link.tell_peer(PeerMessage::Finished);
    // What the initiator has under way may need this side until its end.
    session.expect(link, PeerMessage::Finished)?;
    Ok(Measurements { compared: task.size, ..Measurements::default() })
}

fn compare(session: &Session, region: &mut Region, index: usize) -> Result<(), Cause> {
    let range = session.messages.range(index);
    region.download(range.clone())?;
    match Stream::new(session.seed, Part::Large(index)).mismatch(region.bytes(range.clone())) {
        None => Ok(()),
        Some(mismatch) => Err(wrong_bytes(Operation::Write, index, range.start, range.len(), mismatch)),
    }
}

fn compare_small(session: &Session, region: &mut Region) -> Result<(), Cause> {
    let offset = session.small_offset;
    region.download(offset..offset + SMALL)?;
    let bytes = region.bytes(offset..offset + SMALL);
    match Stream::new(session.seed, Part::Small).mismatch(bytes) {
        None => Ok(()),
        Some(mismatch) => Err(wrong_bytes(Operation::Write, 0, 0, SMALL, mismatch)),
    }
}

fn notes(session: &Session, operation: Operation) -> Vec<Vec<u8>> {
    (0..session.messages.count()).map(|index| note(operation, index)).collect()
}

/// Notifications that have come in and were not yet waited for.
#[derive(Default)]
struct Mailbox {
    notes: std::collections::HashSet<Vec<u8>>,
}

impl Mailbox {
    /// Waits until every one of these has come, in whatever order.
    fn wait_for(&mut self, session: &Session, expected: &[Vec<u8>]) -> Result<(), Cause> {
        let mut missing: std::collections::HashSet<&Vec<u8>> = expected.iter().collect();
        missing.retain(|note| !self.notes.remove(*note));
        session.wait_until(|| {
            for note in session.engine.notifications()? {
                if !missing.remove(&note) && !self.notes.insert(note) {
                    return Err(Cause::Protocol("a notification came twice".into()));
                }
            }
            Ok(missing.is_empty())
        })
    }
}

fn commit(fault: Option<Fault>) {
    match fault {
        Some(Fault::Kill) => vanish(),
        #[expect(clippy::exit, reason = "the fault that is asked for")]
        Some(Fault::Exit) => std::process::exit(1),
        Some(Fault::Abort) => std::process::abort(),
        Some(Fault::Hang) => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
        Some(Fault::Flood) => flood(),
        Some(Fault::Corrupt(_) | Fault::CorruptRead(_) | Fault::ShortWrite | Fault::ShortRead) | None => {}
    }
}

fn flip(region: &mut Region, offset: u64) -> Result<(), Cause> {
    let byte = offset as usize..offset as usize + 1;
    region.download(byte.clone())?;
    region.bytes_mut(byte.clone())[0] ^= 1;
    region.upload(byte)
}

fn flood() {
    let line = [b'f'; 99];
    let mut block = Vec::new();
    for _ in 0..10_000 {
        block.extend_from_slice(&line);
        block.push(b'\n');
    }
    for _ in 0..100 {
        let _ = std::io::stderr().write_all(&block);
    }
}
