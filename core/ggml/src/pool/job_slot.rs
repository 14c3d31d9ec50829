//! The lock-free protocol between the thread that has a job and the workers that help it.
//!
//! Everything that could race is in this file, so that a model checker can try every order of its steps
//! (`core/ggml/tests/pool_orders.rs`): it takes its primitives from `super::sync`, the machine's here and loom's there.

use std::ptr;

use super::sync::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Mutex, Ordering, PoisonError, Thread, current, park,
    spin_until,
};

/// Parts of a job are counted in 16 bits.
pub(super) const MAX_PARTS: usize = 1 << 15;

/// What a job does with each of its parts.
pub(super) type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// Holds one job at a time, which is taken part by part and reported as done.
pub(super) struct JobSlot {
    /// The job's number, its number of parts and that of the next part, in 32, 16 and 16 bits.
    state: AtomicU64,
    /// The work of the job, a `&&(dyn Fn(usize) + Sync)`. Whoever has taken a part may read it: the job does not end
    /// before that part.
    work: AtomicPtr<()>,
    /// How many parts of the job are done.
    n_done: AtomicU32,
    /// Whether each worker sleeps, or is about to.
    asleep: Vec<AtomicBool>,
    /// The thread that waits for the end of the job, once it sleeps.
    waiter: Mutex<Option<Thread>>,
    /// Whether workers are to return.
    is_shut_down: AtomicBool,
}

impl JobSlot {
    pub(super) fn new(n_workers: usize) -> Self {
        Self {
            state: AtomicU64::new(0),
            work: AtomicPtr::new(ptr::null_mut()),
            n_done: AtomicU32::new(0),
            asleep: (0..n_workers).map(|_| AtomicBool::new(false)).collect(),
            waiter: Mutex::new(None),
            is_shut_down: AtomicBool::new(false),
        }
    }

    /// Calls `work` with each of `0..count`, at most [`MAX_PARTS`], together with the workers, and returns when all calls
    /// have. `wake` is called with each worker that sleeps. One thread at a time may do this.
    pub(super) fn run(&self, count: usize, work: Work, wake: impl Fn(usize)) {
        debug_assert!((1..=MAX_PARTS).contains(&count));
        self.n_done.store(0, Ordering::Relaxed);
        self.work.store(ptr::from_ref(&work).cast_mut().cast(), Ordering::Relaxed);
        let number = self.state.load(Ordering::Relaxed) >> 32;
        // Sequentially consistent, as is the flag of a worker that goes to sleep: one of the two sees the other.
        self.state.store((number + 1) << 32 | (count as u64) << 16, Ordering::SeqCst);
        for (worker, asleep) in self.asleep.iter().enumerate() {
            if asleep.swap(false, Ordering::SeqCst) {
                wake(worker);
            }
        }
        while self.run_next_part() {}
        let is_done = || self.n_done.load(Ordering::Acquire) as usize == count;
        if spin_until(is_done) {
            return;
        }
        loop {
            // Anew each time: whoever ended the last job may have woken this thread only now.
            *self.waiter.lock().unwrap_or_else(PoisonError::into_inner) = Some(current());
            if is_done() {
                return;
            }
            park();
        }
    }

    /// Makes every worker return from [`serve`](Self::serve) once it is woken.
    pub(super) fn shut_down(&self) {
        self.is_shut_down.store(true, Ordering::SeqCst);
    }

    /// Runs parts as worker `index` until the slot is [shut down](Self::shut_down).
    pub(super) fn serve(&self, index: usize) {
        let should_wake = || self.has_parts_left() || self.is_shut_down.load(Ordering::SeqCst);
        while !self.is_shut_down.load(Ordering::Relaxed) {
            if self.run_next_part() || spin_until(should_wake) {
                continue;
            }
            self.asleep[index].store(true, Ordering::SeqCst);
            if !should_wake() {
                park();
            }
            self.asleep[index].store(false, Ordering::SeqCst);
        }
    }

    /// Whether a part is left to take.
    fn has_parts_left(&self) -> bool {
        let state = self.state.load(Ordering::SeqCst);
        state & 0xffff < state >> 16 & 0xffff
    }

    /// Takes the next part and runs it; false if none is left.
    fn run_next_part(&self) -> bool {
        let take = |state: u64| (state & 0xffff < state >> 16 & 0xffff).then_some(state + 1);
        let Ok(state) = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) else {
            return false;
        };
        let (count, part) = ((state >> 16 & 0xffff) as usize, (state & 0xffff) as usize);
        let work: *const Work = self.work.load(Ordering::Relaxed).cast_const().cast();
        // SAFETY: `run` stored the pointer before it opened the job, and does not return before this part is done.
        unsafe { call_part(work, part) };
        if self.n_done.fetch_add(1, Ordering::AcqRel) as usize + 1 == count
            && let Some(waiter) = self.waiter.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            waiter.unpark();
        }
        true
    }
}

/// Runs one part. A panic ends the process here, as it would at ggml's boundary: nobody could finish the job.
///
/// # Safety
/// The pointer must be valid.
unsafe extern "C" fn call_part(work: *const Work<'_>, part: usize) {
    // SAFETY: the caller's promise.
    unsafe { (*work)(part) };
}
