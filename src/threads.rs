//! Threads with room for deep syntax trees.

use std::thread;

/// A tree can be as deep as its source is long, and is taken apart by recursion; most of this is never touched.
pub(crate) const STACK_BYTES: usize = 512 << 20;

/// Does both at a time: `aside` in a thread with room for deep trees, where one can be started. The results are
/// `here`'s and `aside`'s.
pub(crate) fn beside<A: Send, H>(aside: impl Fn() -> A + Sync, here: impl FnOnce() -> H) -> (H, A) {
    thread::scope(|scope| {
        let work = || {
            grow_heap();
            aside()
        };
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let here = here();
        let aside = match thread.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => aside(),
        };
        (here, aside)
    })
}

/// What a tree of a hundred kilobytes of source takes, about.
const HEAP_BYTES: usize = 2 << 20;

/// Lets this thread's heap grow at once: glibc gives a thread that is not the first one page at a time, each with a
/// system call that all threads wait for. Freeing what was mapped makes it keep what is freed (mallopt(3),
/// M_TRIM_THRESHOLD); nothing of it is touched. Worth 5 % of `check` (measured).
pub(crate) fn grow_heap() {
    for _ in 0..2 {
        std::hint::black_box(Vec::<u8>::with_capacity(HEAP_BYTES));
    }
}
