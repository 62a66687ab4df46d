//! The side that writes and reads.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use super::{HELLO, Link, SMALL, Session, microseconds, note, wrong_bytes};
use crate::smoke::engine::region::Region;
use crate::smoke::engine::{Operation, Place, Transfer};
use crate::smoke::fault::Fault;
use crate::smoke::payload::{Part, Stream};
use crate::smoke::plan::Messages;
use crate::smoke::protocol::{Cause, Measurements, PeerMessage, Stage, Task};

/// Large messages under way at a time.
const WINDOW: usize = 64;
/// Small messages: so many, or fewer once that time is over, but enough for a median.
const SMALL_MESSAGES: RangeInclusive<usize> = 11..=201;
const SMALL_TIME: Duration = Duration::from_millis(2);

pub(super) fn run(link: &mut Link, task: &Task, session: &mut Session) -> Result<Measurements, Cause> {
    link.enter(Stage::Connect);
    connect(session)?;
    session.expect(link, PeerMessage::Connected)?;

    link.enter(Stage::Transfer);
    let latency_us = time_small_messages(session)?;
    let begin = Instant::now();
    write_all(session)?;
    link.enter(Stage::Notify);
    session.expect(link, PeerMessage::Delivered)?;
    let write_seconds = begin.elapsed().as_secs_f64();

    link.enter(Stage::Transfer);
    read_all(link, task, session)?;
    link.enter(Stage::Notify);
    session.expect(link, PeerMessage::Finished)?;
    link.tell_peer(PeerMessage::Finished);
    Ok(Measurements { compared: task.size, latency_us, write_seconds: Some(write_seconds) })
}

fn connect(session: &Session) -> Result<(), Cause> {
    let mut request = session.engine.prepare(Operation::Write, small(session), Some(HELLO))?;
    finish(session, request.as_mut())?;
    request.release()
}

fn time_small_messages(session: &Session) -> Result<Option<f64>, Cause> {
    let mut request = session.engine.prepare(Operation::Write, small(session), None)?;
    let mut times = Vec::with_capacity(*SMALL_MESSAGES.end());
    let begin = Instant::now();
    while times.len() < *SMALL_MESSAGES.start() || times.len() < *SMALL_MESSAGES.end() && begin.elapsed() < SMALL_TIME {
        let posted = Instant::now();
        finish(session, request.as_mut())?;
        times.push(microseconds(posted));
    }
    request.release()?;
    times.sort_by(f64::total_cmp);
    Ok(times.get(times.len() / 2).copied())
}

fn small(session: &Session) -> Place {
    let offset = session.small_offset();
    Place { local: session.region.address() + offset, remote: session.remote + offset, length: SMALL }
}

/// Posts and waits for local completion.
fn finish(session: &Session, request: &mut dyn Transfer) -> Result<(), Cause> {
    if request.post()? {
        return Ok(());
    }
    session.wait_until(|| request.is_complete())
}

fn write_all(session: &Session) -> Result<(), Cause> {
    let mut under_way = VecDeque::new();
    for index in 0..session.messages.count() {
        if under_way.len() == WINDOW {
            retire(session, &mut under_way)?;
        }
        under_way.push_back(begin(session, Operation::Write, index)?);
    }
    while !under_way.is_empty() {
        retire(session, &mut under_way)?;
    }
    Ok(())
}

/// Reads all messages, and compares each in a second thread while the next one is read.
fn read_all(link: &mut Link, task: &Task, session: &Session) -> Result<(), Cause> {
    let (arrived, arrivals) = mpsc::channel();
    let (region, messages) = (&session.region, session.messages);
    let compared = std::thread::scope(|scope| {
        let comparison =
            scope.spawn(move || arrivals.iter().try_for_each(|index| compare(task, region, messages, index)));
        read_messages(link, session, &arrived)?;
        drop(arrived);
        Ok(comparison.join())
    })?;
    let compared = compared.unwrap_or_else(|_| Err(Cause::Protocol("the comparison panicked".into())));
    if compared.is_err() {
        link.enter(Stage::Compare);
    }
    compared
}

/// Reads each message as soon as the target has put it there, and passes its number on as soon as it is here.
fn read_messages(link: &mut Link, session: &Session, arrived: &Sender<usize>) -> Result<(), Cause> {
    let mut offered = 0;
    let mut next = 0;
    let mut under_way: VecDeque<Box<dyn Transfer + '_>> = VecDeque::new();
    let count = session.messages.count();
    while next < count {
        let posted = next + under_way.len();
        if posted < count && under_way.len() < WINDOW {
            while offered <= posted {
                offered = hear_offer(link, session)?;
            }
            under_way.push_back(begin(session, Operation::Read, posted)?);
            if !front_is_complete(&mut under_way)? {
                continue;
            }
        }
        retire(session, &mut under_way)?;
        // A comparison that has already failed hears no more.
        let _ = arrived.send(next);
        next += 1;
    }
    Ok(())
}

fn hear_offer(link: &mut Link, session: &Session) -> Result<usize, Cause> {
    match session.hear_peer(link)? {
        PeerMessage::Compared(count) => Ok(count),
        other => Err(Cause::Protocol(format!("{other:?} came instead of an offer"))),
    }
}

/// Posts a large message, with a notification.
fn begin(session: &Session, operation: Operation, index: usize) -> Result<Box<dyn Transfer + '_>, Cause> {
    let range = session.messages.range(index);
    let local = session.region.address() + range.start;
    let place = Place { local, remote: session.remote + range.start, length: range.len() };
    let mut request = session.engine.prepare(operation, place, Some(&note(operation, index)))?;
    request.post()?;
    Ok(request)
}

fn front_is_complete(under_way: &mut VecDeque<Box<dyn Transfer + '_>>) -> Result<bool, Cause> {
    under_way.front_mut().map_or(Ok(false), |request| request.is_complete())
}

/// Waits for the oldest message.
fn retire(session: &Session, under_way: &mut VecDeque<Box<dyn Transfer + '_>>) -> Result<(), Cause> {
    let Some(mut request) = under_way.pop_front() else { return Ok(()) };
    session.wait_until(|| request.is_complete())?;
    request.release()
}

fn compare(task: &Task, region: &Region, messages: Messages, index: usize) -> Result<(), Cause> {
    let range = messages.range(index);
    let mut bytes = Cow::Borrowed(region.bytes(range.clone()));
    if let Some(offset) = corrupted(task, &range) {
        bytes.to_mut()[offset] ^= 1;
    }
    match Stream::new(task.seed, Part::Read(index)).mismatch(&bytes) {
        None => Ok(()),
        Some(mismatch) => Err(wrong_bytes(Operation::Read, index, range.start, range.len(), mismatch)),
    }
}

/// Where in this message a fault shall flip a bit.
fn corrupted(task: &Task, range: &Range<usize>) -> Option<usize> {
    let Some(Fault::CorruptRead(offset)) = task.fault else { return None };
    let offset = usize::try_from(offset % task.size).ok()?;
    range.contains(&offset).then(|| offset - range.start)
}
