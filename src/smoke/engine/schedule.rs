//! How soon this thread runs again after an event that it waits for.
//!
//! NIXL's progress threads poll without a pause. Where they occupy every processor, a thread that wakes up waits for the end
//! of a time slice, about 3 ms on Linux (measured), several times a transfer. The scheduler lets a thread with a shorter
//! slice in earlier (sched(7), `sched_setattr(2)`: `sched_runtime` of a SCHED_OTHER thread, Linux 6.12). A thread that polls
//! also takes its full share of a processor, so the libraries' threads get a smaller one: a tenth of that of the threads
//! that copy and compare (measured on two processors with NIXL 1.5.0, 64 MiB each way: the time after the connection falls from
//! 55 to 49 ms against a third, over LIBFABRIC's tcp from 110 to 83; over UCX's tcp it rises from 190 to 240, since there
//! those threads move bytes). Where every thread has a processor of its own, neither has an effect.
#![allow(unsafe_code, reason = "a system call")]

use std::ffi::c_long;
use std::num::NonZeroU64;

use rustix::process::Pid;

/// The time slice in nanoseconds: 0.1 ms, the shortest that Linux grants.
const SLICE: u64 = 100_000;

/// How much longer than asked for a pause may last, in nanoseconds. Linux grants itself 50 us, twice as long as a pause between
/// polls (prctl(2), PR_SET_TIMERSLACK).
const SLACK: u64 = 1_000;

/// What is added to the nice value of the libraries' threads. Ten steps are a tenth of the weight (sched(7)).
const STEPS: i32 = 10;

/// Lowers the priority of all other threads of this process: those that its libraries have started.
///
/// It is an optimization: errors are ignored.
pub(crate) fn lower_other_threads() {
    let this_thread = rustix::thread::gettid();
    let Ok(own) = rustix::process::getpriority_process(Some(this_thread)) else { return };
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let numbers = threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    for thread in numbers.filter_map(Pid::from_raw).filter(|thread| *thread != this_thread) {
        let _ = rustix::process::setpriority_process(Some(thread), own + STEPS);
    }
}

/// Asks for short time slices for this thread alone.
///
/// It is an optimization: older kernels ignore or refuse it.
pub(crate) fn run_promptly() {
    shorten_slice(libc::SCHED_FLAG_RESET_ON_FORK as u64);
}

/// The same for this thread and those that it starts from now on, and pauses that last as long as they were asked for.
pub(crate) fn run_promptly_with_new_threads() {
    shorten_slice(0);
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(SLACK));
}

fn shorten_slice(sched_flags: u64) {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags,
        // The call sets the nice value too; the user's stays.
        sched_nice: rustix::process::getpriority_process(None).unwrap_or(0),
        sched_priority: 0,
        sched_runtime: SLICE,
        sched_deadline: 0,
        sched_period: 0,
    };
    let (this_thread, no_flags): (c_long, c_long) = (0, 0);
    // SAFETY: the structure has the size that it states, and is only read during the call.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, this_thread, &raw const attributes, no_flags) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_threads_get_a_smaller_weight_than_this_one() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            let _ = ended.recv();
        });
        let thread = told.recv().unwrap();
        let own = rustix::process::getpriority_process(None).unwrap();
        lower_other_threads();
        run_promptly();
        assert_eq!(rustix::process::getpriority_process(Some(thread)).unwrap(), (own + STEPS).min(19));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), own);
        drop(end);
        other.join().unwrap();
    }

    #[test]
    fn new_threads_get_short_pauses_too() {
        let slack = |promptly: fn()| {
            std::thread::spawn(move || {
                promptly();
                std::thread::spawn(|| rustix::thread::current_timer_slack().unwrap()).join().unwrap()
            })
        };
        assert_eq!(slack(run_promptly_with_new_threads).join().unwrap(), SLACK);
        assert!(slack(run_promptly).join().unwrap() > SLACK);
    }
}
