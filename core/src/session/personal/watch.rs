//! Watching over a slice from a thread of its own, while another computes.

use std::sync::Mutex;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::{Pause, Slice};
use crate::session::StopFlag;

/// How soon a stop request reaches the engine, which then ends within one operation.
const LOOK: Duration = Duration::from_millis(5);

/// What a look at the device says about a slice under way.
#[derive(Debug, Clone, PartialEq)]
pub enum Watch {
    /// Go on, at work for this share of the time: above 0, at most 1.
    GoOn {
        /// The share.
        duty: f64,
    },
    /// Stop now.
    Pause(Pause),
}

/// What the thread that computes and the one that watches tell each other.
pub(super) struct Watcher {
    halt: StopFlag,
    finished: StopFlag,
    seen: Mutex<Seen>,
}

struct Seen {
    pause: Option<Pause>,
    duty: f64,
}

impl Watcher {
    /// `halt` is what stops the engine; it is raised when the slice has to end.
    pub(super) fn new(halt: StopFlag) -> Self {
        halt.lower();
        Self { halt, finished: StopFlag::new(), seen: Mutex::new(Seen { pause: None, duty: 1.0 }) }
    }

    /// Starts looking, until the guard is dropped.
    pub(super) fn start<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        slice: &'scope mut Slice<'_>,
        stop: &'scope StopFlag,
    ) -> Guard<'scope> {
        Guard { watcher: self, thread: Some(scope.spawn(move || self.look(slice, stop))) }
    }

    fn look(&self, slice: &mut Slice<'_>, stop: &StopFlag) {
        let mut device_due = Instant::now();
        while !self.finished.is_raised() {
            let now = Instant::now();
            let mut pause = None;
            if stop.is_raised() {
                pause = Some(Pause::Stopped);
            } else if slice.deadline.is_some_and(|deadline| now >= deadline) {
                pause = Some(Pause::Deadline);
            } else if let Some(watch) = &mut slice.watch
                && now >= device_due
            {
                match watch() {
                    Watch::GoOn { duty } => self.seen().duty = duty,
                    Watch::Pause(reason) => pause = Some(reason),
                }
                device_due = now + slice.watch_every;
            }
            if let Some(pause) = pause {
                self.seen().pause = Some(pause);
                self.halt.raise();
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Why the slice has to end, if it has to.
    pub(super) fn pause(&self) -> Option<Pause> {
        self.seen().pause.clone()
    }

    /// Rests after work that took so long, as the duty asks for; less if the slice has to end.
    pub(super) fn rest_after(&self, work: Duration) {
        let duty = self.seen().duty;
        let duty = if duty.is_nan() { 1.0 } else { duty.clamp(0.01, 1.0) };
        let end = Instant::now() + work.mul_f64(1.0 / duty - 1.0);
        while !self.halt.is_raised() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Ends the watching when dropped, also by a panic of the thread that computes.
pub(super) struct Guard<'scope> {
    watcher: &'scope Watcher,
    thread: Option<ScopedJoinHandle<'scope, ()>>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.watcher.finished.raise();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it can only panic where the caller's own closure does
        }
    }
}
