//! Threads with stacks for deep syntax trees, and threads that share long work.

use std::sync::{LazyLock, Mutex, PoisonError};
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

/// How many threads are of use to [`side_by_side`]: the processors that this process may use. More than a few would wait for
/// the memory.
pub(crate) fn processors() -> usize {
    const MOST: usize = 8;
    // It looks at the process's control group.
    static NUMBER: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from).min(MOST));
    *NUMBER
}

/// Does the work on all shares at the same time, the first one on this thread, and those for which no thread can be started.
pub(crate) fn side_by_side<S: Send, R: Send>(shares: impl Iterator<Item = S>, work: impl Fn(S) -> R + Sync) -> Vec<R> {
    let shares: Vec<Mutex<Option<S>>> = shares.map(|share| Mutex::new(Some(share))).collect();
    let take = |share: &Mutex<Option<S>>| {
        let share = share.lock().unwrap_or_else(PoisonError::into_inner).take();
        share.map(&work)
    };
    thread::scope(|scope| {
        let take = &take;
        let start = |share| thread::Builder::new().spawn_scoped(scope, move || take(share));
        let threads: Vec<_> = shares.iter().skip(1).map(start).collect();
        let first = shares.first().and_then(take);
        let others = threads.into_iter().zip(shares.iter().skip(1)).filter_map(|(thread, share)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => take(share),
        });
        first.into_iter().chain(others).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_worked_on_by_several_threads_and_answer_in_order() {
        let mut numbers = [1, 2, 3];
        let results = side_by_side(numbers.iter_mut(), |number| {
            *number *= 2;
            (*number, thread::current().id())
        });
        assert_eq!(numbers, [2, 4, 6]);
        assert_eq!(results.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 4, 6]);
        assert_eq!(results[0].1, thread::current().id());
        assert!(results[1].1 != results[0].1 && results[2].1 != results[1].1);
        assert!(side_by_side([0; 0].iter(), |number| *number).is_empty());
    }
}
