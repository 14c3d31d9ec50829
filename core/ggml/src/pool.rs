//! Threads that work together on one node at a time.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::Error;

/// How long a thread without work looks for some before it sleeps: longer than the time between two nodes, and than waking
/// a thread takes, and too short to be missed by whatever else the machine does.
const SPIN: Duration = Duration::from_micros(50);
/// Parts of a job are counted in 16 bits.
const MAX_PARTS: usize = 1 << 15;

thread_local! {
    /// The pool whose owner is computing on this thread.
    static CURRENT: Cell<*const Pool> = const { Cell::new(ptr::null()) };
}

/// The calling thread and `n_threads - 1` others. Parts of a job are taken in order by whoever is free, so that a thread
/// which is held up holds up nothing but the part that it has.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// The job's number, its number of parts and that of the next part, in 32, 16 and 16 bits.
    ticket: AtomicU64,
    /// The work of the job, a `&&(dyn Fn(usize) + Sync)`. Whoever has taken a part may read it: the job does not end
    /// before that part.
    work: AtomicPtr<()>,
    done: AtomicU32,
    /// Which workers sleep, or are about to.
    asleep: Vec<AtomicBool>,
    /// The thread that waits for the end of the job, once it sleeps.
    waiting: Mutex<Option<Thread>>,
    ends: AtomicBool,
}

type Work<'a> = &'a (dyn Fn(usize) + Sync);

impl Pool {
    /// # Errors
    /// [`Error::Threads`] if the system refuses a thread.
    pub(crate) fn new(n_threads: usize) -> Result<Self, Error> {
        let n_workers = n_threads.saturating_sub(1);
        let shared = Arc::new(Shared {
            ticket: AtomicU64::new(0),
            work: AtomicPtr::new(ptr::null_mut()),
            done: AtomicU32::new(0),
            asleep: (0..n_workers).map(|_| AtomicBool::new(false)).collect(),
            waiting: Mutex::new(None),
            ends: AtomicBool::new(false),
        });
        let mut pool = Self { shared, workers: Vec::with_capacity(n_workers) };
        for index in 0..n_workers {
            let shared = pool.shared.clone();
            let builder = thread::Builder::new().name(format!("compute-{}", index + 1));
            let worker = builder.spawn(move || shared.serve(index)).map_err(Error::Threads)?;
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
        let shared = &self.shared;
        shared.done.store(0, Ordering::Relaxed);
        shared.work.store(ptr::from_ref(&work).cast_mut().cast(), Ordering::Relaxed);
        let number = shared.ticket.load(Ordering::Relaxed) >> 32;
        // Sequentially consistent, as is the flag of a worker that goes to sleep: one of the two sees the other.
        shared.ticket.store((number + 1) << 32 | (count as u64) << 16, Ordering::SeqCst);
        for (worker, asleep) in self.workers.iter().zip(&shared.asleep) {
            if asleep.swap(false, Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        while shared.work_on_a_part() {}
        let is_done = || shared.done.load(Ordering::Acquire) as usize == count;
        if spin_until(is_done) {
            return;
        }
        loop {
            // Anew each time: whoever ended the last job may have woken this thread only now.
            *shared.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current());
            if is_done() {
                return;
            }
            thread::park();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker that panicked has ended the process.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// What worker `index` does.
    fn serve(&self, index: usize) {
        let has_news = || self.is_open() || self.ends.load(Ordering::SeqCst);
        while !self.ends.load(Ordering::Relaxed) {
            if self.work_on_a_part() || spin_until(has_news) {
                continue;
            }
            self.asleep[index].store(true, Ordering::SeqCst);
            if !has_news() {
                thread::park();
            }
            self.asleep[index].store(false, Ordering::SeqCst);
        }
    }

    /// Whether a part is left to take.
    fn is_open(&self) -> bool {
        let ticket = self.ticket.load(Ordering::SeqCst);
        ticket & 0xffff < ticket >> 16 & 0xffff
    }

    /// Takes the next part and does it; false if none is left.
    fn work_on_a_part(&self) -> bool {
        let take = |ticket: u64| (ticket & 0xffff < ticket >> 16 & 0xffff).then_some(ticket + 1);
        let Ok(ticket) = self.ticket.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) else {
            return false;
        };
        let (count, part) = ((ticket >> 16 & 0xffff) as usize, (ticket & 0xffff) as usize);
        let work: *const Work = self.work.load(Ordering::Relaxed).cast_const().cast();
        // SAFETY: `run` stored the pointer before it opened the job, and does not return before this part is done.
        unsafe { call(work, part) };
        if self.done.fetch_add(1, Ordering::AcqRel) as usize + 1 == count
            && let Some(waiting) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            waiting.unpark();
        }
        true
    }
}

/// Does one part. A panic ends the process here, as it would at ggml's boundary: nobody could finish the job.
///
/// # Safety
/// The pointer must be valid.
unsafe extern "C" fn call(work: *const Work<'_>, part: usize) {
    // SAFETY: the caller's promise.
    unsafe { (*work)(part) };
}

/// Looks again and again for a short while; the last answer.
fn spin_until(is_true: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    loop {
        for _ in 0..16 {
            if is_true() {
                return true;
            }
            std::hint::spin_loop();
        }
        if began.elapsed() > SPIN {
            return is_true();
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
    use super::*;
    use std::sync::atomic::AtomicUsize;

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
