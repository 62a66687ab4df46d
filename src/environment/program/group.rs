//! A program that leads a process group of its own, which ends with it and with this process.
//!
//! A terminal's Ctrl-C reaches only the terminal's foreground group, so it would leave the program running.

use std::ffi::c_int;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError, mpsc};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// The signals by which users, shells and container engines end a process.
const ENDING: [c_int; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// The groups of the programs that are not waited for yet: a number in it is no other's.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Whether something else is waited for.
static WAITING: AtomicBool = AtomicBool::new(false);

/// What tells the user that Ctrl-C was heard.
static SAY: OnceLock<fn()> = OnceLock::new();

static WATCH: Once = Once::new();

/// A running program. Dropping it kills its group.
pub(super) struct GroupLeader {
    /// The program.
    pub child: Child,
    has_ended: bool,
}

impl GroupLeader {
    /// Starts the program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(command: &mut Command) -> io::Result<GroupLeader> {
        WATCH.call_once(watch);
        let mut running = running();
        let child = command.process_group(0).spawn()?;
        running.push(Pid::from_child(&child));
        Ok(GroupLeader { child, has_ended: false })
    }

    /// Kills the group, then waits for the program.
    ///
    /// # Errors
    /// When its exit status cannot be read.
    pub(super) fn end(&mut self) -> io::Result<ExitStatus> {
        let mut running = running();
        let group = Pid::from_child(&self.child);
        if !std::mem::replace(&mut self.has_ended, true) {
            // Fails where the group has ended.
            let _ = kill_process_group(group, Signal::KILL);
            running.retain(|known| *known != group);
        }
        self.child.wait()
    }
}

impl Drop for GroupLeader {
    fn drop(&mut self) {
        // Nobody asks for the status any more.
        let _ = self.end();
    }
}

/// Has Ctrl-C answered with `say`, where a program or [`while_waiting`] is waited for.
pub(crate) fn answer_interrupts(say: fn()) {
    // The first one stays.
    let _ = SAY.set(say);
}

/// Does what takes long, of which Ctrl-C is an end that the user hears of.
pub(crate) fn while_waiting<T>(work: impl FnOnce() -> T) -> T {
    WATCH.call_once(watch);
    WAITING.store(true, Ordering::Relaxed);
    let done = work();
    WAITING.store(false, Ordering::Relaxed);
    done
}

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits, on a thread, for a signal that ends this process, and ends the groups before it. Where that cannot be set up,
/// they end when their time is over, if this process lives so long.
fn watch() {
    let ignored = ignored_signals().unwrap_or(u64::MAX);
    // Handled signals would end a process that nohup(1) or a shell's `&` protects from them.
    let wanted: Vec<c_int> = ENDING.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0).collect();
    let (ready, is_ready) = mpsc::channel();
    // Signals are handled only once there is a thread that ends the process.
    let thread = thread::Builder::new().spawn(move || {
        let signals = Signals::new(wanted);
        let _ = ready.send(());
        signals.into_iter().for_each(|mut signals| signals.forever().for_each(end_all));
    });
    if thread.is_ok() {
        let _ = is_ready.recv();
    }
}

fn end_all(signal: c_int) {
    // Held until the process ends: nobody reports that the program has ended.
    let running = running();
    let is_waiting = WAITING.load(Ordering::Relaxed) || !running.is_empty();
    SAY.get().filter(|_| signal == SIGINT && is_waiting).into_iter().for_each(|say| say());
    for group in running.iter() {
        let _ = kill_process_group(*group, Signal::KILL);
    }
    let _ = emulate_default_handler(signal);
}

/// The signals that this process ignores, the first in the lowest bit: `SigIgn` of proc_pid_status(5).
fn ignored_signals() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}
