//! How soon this thread runs again once something that it waited for has come.
//!
//! NIXL's progress threads ask without a pause. Where there are no more processors than those, a thread that wakes up
//! waits for the end of one's time slice, about 3 ms on Linux (measured), several times a transfer. A thread with a short
//! slice of its own is let in before (sched(7), `sched_setattr(2)`: `sched_runtime` of a SCHED_OTHER thread, Linux 6.12).
//! And since a thread that asks without a pause takes its full share of a processor for nothing, it gets a smaller one:
//! a third of what the threads that copy and compare get (measured on two processors with NIXL 1.5.0 over UCX: the time
//! after the connection falls from 49 to 38 ms). Where every thread has a processor, neither changes anything.
#![allow(unsafe_code)]

use std::ffi::c_long;

use rustix::process::Pid;

/// A tenth of a millisecond, the shortest slice that Linux grants, in nanoseconds.
const SLICE: u64 = 100_000;

/// `struct sched_attr` of linux/sched/types.h, in its first version (48 bytes).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// `SCHED_FLAG_RESET_ON_FORK` of linux/sched.h: what this thread starts does not inherit its slice.
const RESET_ON_FORK: u64 = 1;

/// How much nicer the library's threads become. Five steps are a third of the weight (sched(7)).
const STEPS: i32 = 5;

/// Lowers the priority of all other threads that this process has now: those that its libraries have started.
///
/// Where that is refused, nothing is lost.
pub(crate) fn put_others_behind() {
    let this_thread = rustix::thread::gettid();
    let Ok(own) = rustix::process::getpriority_process(Some(this_thread)) else { return };
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let numbers = threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    for thread in numbers.filter_map(Pid::from_raw).filter(|thread| *thread != this_thread) {
        let _ = rustix::process::setpriority_process(Some(thread), own + STEPS);
    }
}

/// Asks for short time slices for this thread alone. Older kernels ignore or refuse it, and nothing is lost.
pub(crate) fn run_promptly() {
    let size = size_of::<Attributes>();
    // The thread's nice value stays: it is that of the user.
    let nice = rustix::process::getpriority_process(None).unwrap_or(0);
    let attributes =
        Attributes { size: size as u32, nice, flags: RESET_ON_FORK, runtime: SLICE, ..Attributes::default() };
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
        put_others_behind();
        run_promptly();
        assert_eq!(rustix::process::getpriority_process(Some(thread)).unwrap(), (own + STEPS).min(19));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), own);
        drop(end);
        other.join().unwrap();
    }
}
