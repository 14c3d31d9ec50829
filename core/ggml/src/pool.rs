//! Threads that work together on one node at a time.

mod job_slot;
mod sync;

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use self::job_slot::{JobSlot, MAX_PARTS, Work};
use crate::Error;

thread_local! {
    /// The pool whose owner is computing on this thread.
    static CURRENT: Cell<*const Pool> = const { Cell::new(ptr::null()) };
}

/// The calling thread and `n_threads - 1` others. Parts of a job are taken in order by whoever is free, so that a thread
/// which is held up holds up nothing but the part that it has.
pub(crate) struct Pool {
    slot: Arc<JobSlot>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    /// # Errors
    /// [`Error::Threads`] if the system refuses a thread.
    pub(crate) fn new(n_threads: usize) -> Result<Self, Error> {
        let n_workers = n_threads.saturating_sub(1);
        let mut pool =
            Self { slot: Arc::new(JobSlot::new(n_workers)), workers: Vec::with_capacity(n_workers) };
        for index in 0..n_workers {
            let slot = pool.slot.clone();
            let builder = thread::Builder::new().name(format!("compute-{}", index + 1));
            let worker = builder.spawn(move || slot.serve(index)).map_err(Error::Threads)?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// The number of threads.
    pub(crate) fn n_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `work` on this thread, with this pool for what it [runs](run_parts).
    pub(crate) fn install<R>(&self, work: impl FnOnce() -> R) -> R {
        /// Sets back what was, also if `work` panics.
        struct Restore(*const Pool);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(self));
        work()
    }

    /// Calls `work` with each of `0..count`, on all threads, and returns when all calls have.
    fn run(&self, count: usize, work: Work) {
        if self.workers.is_empty() || !(2..=MAX_PARTS).contains(&count) {
            return (0..count).for_each(work);
        }
        self.slot.run(count, work, |worker| self.workers[worker].thread().unpark());
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.slot.shut_down();
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker that panicked has ended the process.
            let _ = worker.join();
        }
    }
}

/// Calls `work` with the index of each part and their number, which is some for each thread of the pool that is
/// [installed](Pool::install) here, and returns when all calls have.
pub(crate) fn run_parts(parts_per_thread: usize, work: impl Fn(usize, usize) + Sync) {
    let pool = CURRENT.get();
    if pool.is_null() {
        return work(0, 1);
    }
    // SAFETY: `install` borrows the pool for as long as it is current.
    let pool = unsafe { &*pool };
    let n_threads = pool.n_threads();
    let count = if n_threads == 1 { 1 } else { n_threads * parts_per_thread };
    pool.run(count, &|part| work(part, count));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::sync::SPIN;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_part_is_done_once_however_long_the_threads_slept() {
        for n_threads in [1, 2, 5] {
            let pool = Pool::new(n_threads).unwrap();
            for round in 0..2_000 {
                if round % 100 == 0 {
                    thread::sleep(4 * SPIN);
                }
                let counts: Vec<AtomicUsize> = (0..n_threads * 3).map(|_| AtomicUsize::new(0)).collect();
                pool.install(|| {
                    run_parts(3, |part, count| {
                        assert_eq!(count, if n_threads == 1 { 1 } else { 3 * n_threads });
                        if (part + round) % 97 == 0 {
                            thread::sleep(4 * SPIN);
                        }
                        counts[part].fetch_add(1, Ordering::Relaxed);
                    });
                });
                let done = counts.iter().filter(|count| count.load(Ordering::Relaxed) == 1).count();
                assert_eq!(done, if n_threads == 1 { 1 } else { 3 * n_threads });
            }
        }
    }

    #[test]
    fn without_a_pool_there_is_one_part() {
        let calls = AtomicUsize::new(0);
        run_parts(3, |part, count| {
            assert_eq!((part, count), (0, 1));
            calls.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(calls.into_inner(), 1);
    }
}
