//! A worker's output, bounded: the beginning, the end, and its own lines about transports, of which the last are kept.

use std::collections::{HashSet, VecDeque};
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::complaint::{self, Complaint};
use super::origin::Origin;
use super::{libfabric, printable, ucx};

/// Bytes kept of the beginning, and as many of the end.
const KEPT: usize = 64 << 10;
/// Bytes kept of the lines about transports.
const STATEMENTS: usize = 512 << 10;
/// Bytes of a line that are searched for such a statement.
const LINE: usize = 4096;
/// Distinct complaints that are kept.
const COMPLAINTS: usize = 16;

/// One output of a process, read to its end by a thread.
#[derive(Clone)]
pub(crate) struct Capture {
    shared: Arc<(Mutex<Kept>, Condvar)>,
}

struct Kept {
    origin: Origin,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    statements: VecDeque<Vec<u8>>,
    /// Bytes in `statements`.
    stated: usize,
    complaints: Vec<Complaint>,
    line: Vec<u8>,
    ended: bool,
}

impl Capture {
    /// Starts to read; of the lines about transports, only those of `origin` count.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn start(mut stream: impl Read + Send + 'static, origin: Origin) -> std::io::Result<Capture> {
        let capture = Capture { shared: Arc::new((Mutex::new(Kept::new(origin)), Condvar::new())) };
        let ours = capture.clone();
        std::thread::Builder::new().name("smoke-output".into()).spawn(move || {
            let mut buffer = [0; 16 << 10];
            loop {
                match stream.read(&mut buffer) {
                    Ok(count) if count > 0 => ours.kept().add(&buffer[..count]),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    _ => break,
                }
            }
            ours.kept().ended = true;
            ours.shared.1.notify_all();
        })?;
        Ok(capture)
    }

    /// Waits for the end of the output, at most this long: a process left behind may keep it open.
    pub(crate) fn wait(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut kept = self.kept();
        while !kept.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            kept = self.shared.1.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What was kept, as text.
    pub(crate) fn text(&self) -> String {
        let kept = self.kept();
        let mut bytes = kept.head.clone();
        bytes.extend(&kept.tail);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines that state something about transports.
    pub(crate) fn statements(&self) -> String {
        self.kept().statements.iter().map(|line| String::from_utf8_lossy(line)).collect()
    }

    /// What UCX was asked for and does not have.
    pub(crate) fn complaints(&self) -> Vec<Complaint> {
        self.kept().complaints.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn new(origin: Origin) -> Kept {
        Kept {
            origin,
            head: Vec::new(),
            tail: VecDeque::new(),
            statements: VecDeque::new(),
            stated: 0,
            complaints: Vec::new(),
            line: Vec::new(),
            ended: false,
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.look_for_statements(bytes);
        let (front, rest) = bytes.split_at(bytes.len().min(KEPT - self.head.len()));
        self.head.extend_from_slice(front);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..excess);
    }

    fn look_for_statements(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.last() != Some(&b'\n') {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.keep_statement(line);
        }
    }

    fn keep_statement(&mut self, line: Vec<u8>) {
        let complaint = complaint::read(&line);
        let is_statement = ucx::is_statement(&line) || libfabric::is_statement(&line);
        if !is_statement && complaint.is_none() || !self.origin.wrote(&line) {
            return;
        }
        let known = |complaint: &Complaint| self.complaints.contains(complaint);
        if self.complaints.len() < COMPLAINTS
            && let Some(new) = complaint.filter(|complaint| !known(complaint))
        {
            self.complaints.push(new);
        }
        if is_statement {
            self.stated += line.len();
            self.statements.push_back(line);
        }
        while self.stated > STATEMENTS {
            self.stated -= self.statements.pop_front().map_or(self.stated, |oldest| oldest.len());
        }
    }
}

/// The last lines worth quoting, at most `most`: errors and warnings if there are any, else all but informational ones. A
/// library that tries again and again says the same each time; the last time is kept.
pub(crate) fn last_words(text: &str, most: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| is_quotable(line)).collect();
    let errors: Vec<&str> = lines.iter().copied().filter(|line| is_error(line)).collect();
    let chosen = if errors.is_empty() { lines } else { errors };
    let mut said: HashSet<&str> = HashSet::new();
    let last = chosen.iter().rev().filter(|line| said.insert(without_origin(line))).take(most);
    let mut words: Vec<String> = last.map(|line| printable(line, 500)).collect();
    words.reverse();
    words
}

/// A log line of UCX or NIXL without its time, process and place.
fn without_origin(line: &str) -> &str {
    let of_ucx = line.split_once(" UCX  ");
    of_ucx.or_else(|| line.split_once("] ")).map_or(line, |(_, said)| said)
}

/// Whether a line is neither part of a table nor informational.
fn is_quotable(line: &str) -> bool {
    let table = ucx::is_statement(line.as_bytes()) || line.ends_with("-+");
    let information = line.contains(" UCX  INFO ") || has_level(line, 'I');
    !line.trim().is_empty() && !table && (!information || is_error(line))
}

/// NIXL's log lines begin with the level's letter and the date: `I1123 00:44:05.651833`.
fn has_level(line: &str, level: char) -> bool {
    line.strip_prefix(level).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn is_error(line: &str) -> bool {
    ['E', 'W', 'F'].into_iter().any(|level| has_level(line, level))
        || [" UCX  ERROR ", " UCX  WARN ", " UCX  FATAL "].iter().any(|mark| line.contains(mark))
        || ["ailed", "rror", "annot ", "denied", "nvalid", "ssertion", "terminate called"]
            .iter()
            .any(|mark| line.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::super::origin::tests::origin;
    use super::*;

    #[test]
    fn a_flood_is_bounded_and_its_ends_are_kept() {
        let mut flood = b"the first line\n".to_vec();
        for number in 0..200_000 {
            flood.extend(format!("line {number} of many\n").into_bytes());
            if number == 100_000 {
                flood.extend(b"[1.5] [vm:1:0] ucp_worker.c:1 UCX INFO a intra-node cfg#1 rma(tcp/lo)\n");
                flood.extend(b"[1.5] [vm:2:0] ucp_worker.c:1 UCX INFO a intra-node cfg#2 rma(srd/rdmap0s6:1)\n");
            }
        }
        flood.extend(b"the last line\n");
        let capture = Capture::start(std::io::Cursor::new(flood), origin(1)).unwrap();
        capture.wait(Duration::from_secs(10));
        let text = capture.text();
        assert!(text.len() <= 2 * KEPT);
        assert!(text.starts_with("the first line\n") && text.ends_with("the last line\n"));
        let statements = capture.statements();
        assert!(statements.contains("cfg#1") && !statements.contains("cfg#2"), "{statements}");
    }

    #[test]
    fn the_last_statements_are_kept() {
        let line =
            |number: u32| format!("[1.5] [vm:1:0] ucp_worker.c:1 UCX INFO a intra-node cfg#{number} rma(tcp/lo)\n");
        let output: String = (0..20_000).map(line).collect();
        let capture = Capture::start(std::io::Cursor::new(output.into_bytes()), origin(1)).unwrap();
        capture.wait(Duration::from_secs(10));
        let statements = capture.statements();
        assert!(statements.len() <= STATEMENTS && statements.ends_with(&line(19_999)), "{}", statements.len());
        assert!(!statements.contains(&line(0)));
    }

    #[test]
    fn complaints_of_the_own_process_are_kept_once() {
        let complaint = |process: u32, name: &str| {
            format!("[1.5] [vm:{process} :0] ucp_context.c:1508 UCX  WARN  transport '{name}' is not available\n")
        };
        let output = complaint(1, "rc") + &complaint(2, "ud") + &complaint(1, "rc");
        let capture = Capture::start(std::io::Cursor::new(output.into_bytes()), origin(1)).unwrap();
        capture.wait(Duration::from_secs(10));
        let [one] = capture.complaints().try_into().unwrap();
        assert!(matches!(one, Complaint::Unavailable { names, .. } if names == ["rc"]));
    }

    #[test]
    fn errors_are_quoted_before_information() {
        let text = "I1123 00:44:05.888519 4906 a.cpp:1] Discovered backend plugin: UCX\n\
                    E1123 00:44:05.888519 4906 a.cpp:2] createBackend: backend 'UCX' encountered error\n\
                    I1123 00:44:05.888519 4906 a.cpp:3] Loading static plugin: NOP\n";
        assert_eq!(last_words(text, 3).len(), 1);
        let again = "[1.0] [vm:7:0]  ib_md.c:3  UCX  ERROR no memory\n[2.0] [vm:7:0]  mpool.c:2  UCX  ERROR no pool\n";
        let later = "[8.0] [vm:7:0]  ib_md.c:3  UCX  ERROR no memory\n[9.0] [vm:7:0]  mpool.c:2  UCX  ERROR no pool\n";
        assert_eq!(
            last_words(&format!("x: failed\n{}{later}", again.repeat(9)), 3).join("\n"),
            format!("x: failed\n{later}").trim()
        );
        assert_eq!(last_words("one\n\ntwo\nthree\nI1123 00:44:05.888519 4906 a.cpp:3] chatter\n", 2), ["two", "three"]);
    }
}
