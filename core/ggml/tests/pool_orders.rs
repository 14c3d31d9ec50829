//! Every order in which the pool's threads can take their steps, tried by loom on the file that the pool itself is made of.

#![allow(unsafe_code)]

#[path = "../src/pool/job_slot.rs"]
mod job_slot;

/// The same names as the pool's own `sync`, with loom's primitives behind them.
mod sync {
    pub(super) use loom::sync::Mutex;
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
    pub(super) use std::sync::PoisonError;

    use std::cell::RefCell;

    use loom::sync::{Arc, Condvar};

    /// A thread that can be parked, as the standard library's: loom 0.7's own `unpark` also wakes a thread that waits
    /// for another one's end.
    #[derive(Clone)]
    pub(super) struct Thread(Arc<(Mutex<bool>, Condvar)>);

    loom::thread_local! {
        static CURRENT: RefCell<Option<Thread>> = RefCell::new(None);
    }

    impl Thread {
        pub(super) fn new() -> Self {
            Self(Arc::new((Mutex::new(false), Condvar::new())))
        }

        /// Makes the calling thread this one.
        pub(super) fn adopt(self) {
            CURRENT.with(|current| *current.borrow_mut() = Some(self));
        }

        pub(super) fn unpark(&self) {
            *self.0.0.lock().expect("no thread panics") = true;
            self.0.1.notify_one();
        }
    }

    pub(super) fn current() -> Thread {
        CURRENT.with(|current| current.borrow().clone()).expect("every thread of a model has adopted one")
    }

    pub(super) fn park() {
        let Thread(token) = current();
        let mut is_unparked = token.0.lock().expect("no thread panics");
        while !*is_unparked {
            is_unparked = token.1.wait(is_unparked).expect("no thread panics");
        }
        *is_unparked = false;
    }

    /// One look is enough: further ones are further orders of the same steps.
    pub(super) fn spin_until(is_true: impl Fn() -> bool) -> bool {
        is_true()
    }
}

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use job_slot::{JobSlot, MAX_PARTS};
use sync::Thread;

/// The counters that a job's parts write to, each of them without a lock, as kernels write to their rows.
struct Rows(Vec<UnsafeCell<u32>>);

// SAFETY: each part writes to its own cell, and they are read after the job; loom fails the test if that is not so.
unsafe impl Sync for Rows {}

/// Runs jobs of so many parts in every order that interrupts threads, where they would not wait by themselves, at most
/// `preemptions` times. Without a bound there are too many, and the known errors of such protocols show with two
/// (Musuvathi and Qadeer, "Iterative context bounding", PLDI 2007).
fn every_part_is_done_once(n_workers: usize, jobs: &'static [usize], preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        Thread::new().adopt();
        let slot = Arc::new(JobSlot::new(n_workers));
        let threads: Vec<_> = (0..n_workers).map(|_| Thread::new()).collect();
        let workers: Vec<_> = threads
            .iter()
            .cloned()
            .enumerate()
            .map(|(index, thread)| {
                let slot = slot.clone();
                thread::spawn(move || {
                    thread.adopt();
                    slot.serve(index);
                })
            })
            .collect();
        for &n_parts in jobs {
            assert!(n_parts <= MAX_PARTS);
            let rows = Rows((0..n_parts).map(|_| UnsafeCell::new(0)).collect());
            let rows_of_parts = &rows;
            let work = move |part: usize| {
                // SAFETY: this part's own cell; loom checks it.
                rows_of_parts.0[part].with_mut(|row| unsafe { *row += 1 });
            };
            slot.run(n_parts, &work, |worker| threads[worker].unpark());
            for row in &rows.0 {
                // SAFETY: the job is over; loom checks it.
                assert_eq!(row.with(|row| unsafe { *row }), 1);
            }
        }
        slot.shut_down();
        threads.iter().for_each(Thread::unpark);
        for worker in workers {
            worker.join().expect("a worker ends in peace");
        }
    });
}

#[test]
fn one_worker_and_two_jobs() {
    every_part_is_done_once(1, &[2, 2], 3);
}

#[test]
fn one_worker_and_more_parts_than_threads() {
    every_part_is_done_once(1, &[3], 3);
}

#[test]
fn two_workers() {
    every_part_is_done_once(2, &[2], 2);
}
