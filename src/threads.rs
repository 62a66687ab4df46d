//! Threads with stacks for deep syntax trees.

use std::thread;

/// Stack of a thread that handles syntax trees: a tree can be as deep as its source is long, and is dropped and
/// visited by recursion. Pages that are not touched cost nothing.
pub(crate) const STACK_BYTES: usize = 512 << 20;

/// Runs both closures in parallel, `aside` on a thread of its own with a large stack; in sequence where no thread can
/// be started. Returns the results of `here` and `aside`.
pub(crate) fn join<A: Send, H>(aside: impl Fn() -> A + Sync, here: impl FnOnce() -> H) -> (H, A) {
    thread::scope(|scope| {
        let work = || {
            grow_heap(HEAP_BYTES);
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

/// Roughly the heap that the tree of 100 kB of source takes.
pub(crate) const HEAP_BYTES: usize = 2 << 20;

/// Grows this thread's heap by so many bytes at once: glibc grows the heap of every thread but the first page by page, and
/// each system call stalls all threads. Freeing a mapped block raises the threshold below which freed memory is kept
/// (mallopt(3), M_TRIM_THRESHOLD). The blocks are never touched. Worth 5 % of `check`, measured.
pub(crate) fn grow_heap(bytes: usize) {
    for _ in 0..2 {
        std::hint::black_box(Vec::<u8>::with_capacity(bytes));
    }
}
