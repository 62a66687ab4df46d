//! The side whose memory is written and read.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use rustix::process::Signal;

use super::gauge::Gauge;
use super::link::Link;
use super::session::{HELLO, SMALL, Session, notification, wrong_bytes};
use crate::report::stage::Stage;
use crate::smoke::engine::region::Region;
use crate::smoke::payload::{Part, Stream};
use crate::smoke::plan::fault::Fault;
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::worker::{Measurements, PeerMessage, Task};

/// Runs the target's side, from the first notification to the last.
pub(super) fn run(link: &mut Link, task: &Task, session: &Session, mut region: Region) -> Result<Measurements, Cause> {
    let mut mailbox = Mailbox::default();
    link.enter(Stage::Connect);
    mailbox.wait_for(session, &[HELLO.to_vec()])?;
    compare_small(session, &mut region)?;
    link.send_to_peer(PeerMessage::Connected);

    link.enter(Stage::Transfer);
    inject(task.fault);
    link.enter(Stage::Notify);
    mailbox.wait_for(session, &all_notifications(session, Operation::Write))?;
    if let Some(Fault::Corrupt(offset)) = task.fault {
        flip(&mut region, offset % task.size)?;
    }
    link.send_to_peer(PeerMessage::Delivered);

    link.enter(Stage::Compare);
    let mut gauge = Gauge::new(task.size);
    for index in 0..session.messages.count() {
        compare_and_offer(session, &mut region, index, &mut |bytes| gauge.add(bytes, link))?;
        session.engine.progress()?;
    }
    link.send_to_peer(PeerMessage::Compared);

    link.enter(Stage::Notify);
    mailbox.wait_for(session, &all_notifications(session, Operation::Read))?;
    link.send_to_peer(PeerMessage::Finished);
    // The initiator's operations may need this side until they are complete.
    session.expect(link, PeerMessage::Finished)?;
    Ok(Measurements { compared: task.size, ..Measurements::default() })
}

/// Compares a message, and puts other bytes in its place, for the initiator to read.
fn compare_and_offer(
    session: &Session,
    region: &mut Region,
    index: usize,
    compared: &mut dyn FnMut(usize),
) -> Result<(), Cause> {
    let range = session.messages.range(index);
    region.download(range.clone())?;
    match Stream::new(session.seed, Part::Write(index)).offer(region.bytes_mut(range.clone()), compared) {
        None => region.upload(range),
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

fn all_notifications(session: &Session, operation: Operation) -> Vec<Vec<u8>> {
    (0..session.messages.count()).map(|index| notification(operation, index)).collect()
}

/// All notifications that have arrived, whether or not somebody has waited for them yet.
#[derive(Default)]
struct Mailbox {
    notifications: HashSet<Vec<u8>>,
}

impl Mailbox {
    /// Waits until all of these have arrived, in any order.
    fn wait_for(&mut self, session: &Session, expected: &[Vec<u8>]) -> Result<(), Cause> {
        let mut missing: HashSet<&Vec<u8>> = expected.iter().collect();
        missing.retain(|notification| !self.notifications.contains(*notification));
        session.wait_until(|| {
            for notification in session.engine.notifications()? {
                missing.remove(&notification);
                if !self.notifications.insert(notification) {
                    return Err(Cause::Protocol("received the same notification twice".into()));
                }
            }
            Ok(missing.is_empty())
        })
    }
}

/// Commits the faults that end or block this process.
fn inject(fault: Option<Fault>) {
    match fault {
        Some(Fault::Kill) => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
        }
        #[expect(clippy::exit, reason = "the requested fault")]
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
