//! How soon this thread runs again once something that it waited for has come.
//!
//! NIXL's progress threads ask without a pause. Where there are no more processors than those, a thread that wakes up
//! waits for the end of one's time slice, about 3 ms on Linux (measured), several times a transfer. A thread with a short
//! slice of its own is let in before (sched(7), `sched_setattr(2)`: `sched_runtime` of a SCHED_OTHER thread, Linux 6.12).
#![allow(unsafe_code)]

use std::ffi::c_long;

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

/// Asks for short time slices for this thread alone. Older kernels ignore or refuse it, and nothing is lost.
pub fn run_promptly() {
    let size = size_of::<Attributes>();
    // The thread's nice value stays: it is that of the user.
    let nice = rustix::process::nice(0).unwrap_or(0);
    let attributes = Attributes { size: size as u32, nice, runtime: SLICE, ..Attributes::default() };
    let (this_thread, no_flags): (c_long, c_long) = (0, 0);
    // SAFETY: the structure has the size that it states, and is only read during the call.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, this_thread, &raw const attributes, no_flags) };
}
