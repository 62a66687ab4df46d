//! The side that writes and reads.

use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use super::gauge::Gauge;
use super::link::Link;
use super::session::{HELLO, SMALL, Session, microseconds, notification, wrong_bytes};
use crate::report::stage::Stage;
use crate::smoke::engine::interface::{Place, Transfer};
use crate::smoke::engine::region::{Portion, Region};
use crate::smoke::payload::{Part, Stream};
use crate::smoke::plan::fault::Fault;
use crate::smoke::plan::messages::Messages;
use crate::smoke::plan::operation::Operation;
use crate::smoke::wire::cause::Cause;
use crate::smoke::wire::worker::{Measurements, PeerMessage, Task};

/// Maximum number of large messages in flight.
const WINDOW: usize = 64;
/// Number of small messages: the maximum, or, once [`SMALL_TIME`] has passed, at least the minimum.
const SMALL_MESSAGES: RangeInclusive<usize> = 11..=201;
/// How long small messages are timed.
const SMALL_TIME: Duration = Duration::from_millis(2);

/// Runs the initiator's side, from the first message to the comparison.
pub(super) fn run(link: &mut Link, task: &Task, session: &Session, region: Region) -> Result<Measurements, Cause> {
    let portions = region.divide((0..session.messages.count()).map(|index| session.messages.range(index)));
    link.enter(Stage::Connect);
    let chosen = connect(session)?;
    session.expect(link, PeerMessage::Connected)?;

    link.enter(Stage::Transfer);
    let latency_us = time_small_messages(session)?;
    let begin = Instant::now();
    write_all(session)?;
    link.enter(Stage::Notify);
    session.expect(link, PeerMessage::Delivered)?;
    let write_seconds = begin.elapsed().as_secs_f64();

    link.enter(Stage::Transfer);
    read_all(link, task, session, portions)?;
    Ok(Measurements { compared: task.size, chosen, latency_us, write_seconds: Some(write_seconds) })
}

/// Sends the first message; returns the backend that NIXL has chosen for it.
fn connect(session: &Session) -> Result<Option<String>, Cause> {
    let mut request = session.engine.prepare(Operation::Write, small(session), Some(HELLO))?;
    finish(session, request.as_mut())?;
    let chosen = request.backend()?;
    request.release()?;
    Ok(chosen)
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
    let offset = session.small_offset;
    Place { local: session.local + offset, remote: session.remote + offset, length: SMALL }
}

/// Posts a transfer and waits for its local completion.
fn finish(session: &Session, request: &mut dyn Transfer) -> Result<(), Cause> {
    if request.post()? {
        return Ok(());
    }
    session.wait_until(|| request.is_complete())
}

fn write_all(session: &Session) -> Result<(), Cause> {
    let mut in_flight = VecDeque::new();
    for index in 0..session.messages.count() {
        if in_flight.len() == WINDOW
            && let Some(oldest) = in_flight.pop_front()
        {
            retire(session, oldest)?;
        }
        in_flight.push_back(begin(session, Operation::Write, index)?);
    }
    in_flight.into_iter().try_for_each(|request| retire(session, request))
}

/// Reads all messages. A second thread compares each while the next ones are read.
fn read_all(link: &mut Link, task: &Task, session: &Session, portions: Vec<Portion>) -> Result<(), Cause> {
    // From then on the target has the bytes to read. They differ in every byte from those that are here, which were written.
    session.expect(link, PeerMessage::Compared)?;
    let (arrived, arrivals) = mpsc::channel();
    let messages = session.messages;
    let (right, progress) = mpsc::channel();
    let compared = std::thread::scope(|scope| {
        let mut compare = move |(index, mut portion)| compare(task, messages, index, &mut portion, &right);
        let comparison = scope.spawn(move || arrivals.iter().try_for_each(&mut compare));
        read_messages(session, portions, &arrived)?;
        drop(arrived);
        link.enter(Stage::Notify);
        session.expect(link, PeerMessage::Finished)?;
        link.send_to_peer(PeerMessage::Finished);
        link.enter(Stage::Compare);
        let mut gauge = Gauge::new(task.size);
        progress.iter().for_each(|bytes| gauge.add(bytes, link));
        Ok::<_, Cause>(comparison.join())
    })?;
    compared.unwrap_or_else(|_| Err(Cause::Protocol("the comparison panicked".into())))
}

/// Reads each message, and passes it on once it is complete.
fn read_messages(session: &Session, portions: Vec<Portion>, arrived: &Sender<(usize, Portion)>) -> Result<(), Cause> {
    // A library that moves all that are in flight by turns completes them together, and nothing is compared until then.
    let window = WINDOW.min(portions.len().div_ceil(2));
    let mut waiting = portions.into_iter().enumerate();
    let mut in_flight: VecDeque<(usize, Portion, Box<dyn Transfer + '_>)> = VecDeque::new();
    loop {
        if in_flight.len() < window
            && let Some((index, portion)) = waiting.next()
        {
            in_flight.push_back((index, portion, begin(session, Operation::Read, index)?));
            let front_is_complete = in_flight.front_mut().map_or(Ok(false), |(.., request)| request.is_complete())?;
            if !front_is_complete {
                continue;
            }
        }
        let Some((index, portion, request)) = in_flight.pop_front() else { return Ok(()) };
        retire(session, request)?;
        // A comparison that has failed no longer receives.
        let _ = arrived.send((index, portion));
    }
}

/// Posts a large message, with a notification.
fn begin(session: &Session, operation: Operation, index: usize) -> Result<Box<dyn Transfer + '_>, Cause> {
    let range = session.messages.range(index);
    let length = range.len() - usize::from(session.short == Some(operation));
    let place = Place { local: session.local + range.start, remote: session.remote + range.start, length };
    let mut request = session.engine.prepare(operation, place, Some(&notification(operation, index)))?;
    request.post()?;
    Ok(request)
}

/// Waits for a message's local completion.
fn retire(session: &Session, mut request: Box<dyn Transfer + '_>) -> Result<(), Cause> {
    session.wait_until(|| request.is_complete())?;
    request.release()
}

/// Compares a message that was read; `right` gets the number of its bytes, piece by piece.
fn compare(
    task: &Task,
    messages: Messages,
    index: usize,
    portion: &mut Portion,
    right: &Sender<usize>,
) -> Result<(), Cause> {
    let range = messages.range(index);
    if let Some(offset) = corrupted(task, &range) {
        portion.download()?;
        portion.bytes_mut()[offset] ^= 1;
        portion.upload()?;
    }
    portion.download()?;
    // Whoever receives waits for the end of this.
    let mut count = |bytes| right.send(bytes).unwrap_or_default();
    match Stream::new(task.seed, Part::Read(index)).mismatch_counted(portion.bytes(), &mut count) {
        None => Ok(()),
        Some(mismatch) => Err(wrong_bytes(Operation::Read, index, range.start, range.len(), mismatch)),
    }
}

/// Where in this message a fault flips a bit.
fn corrupted(task: &Task, range: &Range<usize>) -> Option<usize> {
    let Some(Fault::CorruptRead(offset)) = task.fault else { return None };
    let offset = usize::try_from(offset % task.size).ok()?;
    range.contains(&offset).then(|| offset - range.start)
}
