//! Watching over a slice from a thread of its own, while another computes.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::{Pause, Slice};
use crate::session::{StopFlag, WhenRaised};

/// What a look at the device says about a slice under way.
#[derive(Debug, Clone, PartialEq)]
pub enum Watch {
    /// Go on, at work for this share of the time: above 0, at most 1.
    Continue {
        /// The share.
        duty: f64,
    },
    /// Stop now.
    Pause(Pause),
}

/// What the thread that computes and the one that watches tell each other.
pub(super) struct Watcher {
    shared: Arc<Shared>,
}

struct Shared {
    halt: StopFlag,
    state: Mutex<WatchState>,
    /// Something in `state` is new.
    changed: Condvar,
}

struct WatchState {
    pause: Option<Pause>,
    duty: f64,
    /// Nobody computes any more.
    is_finished: bool,
}

impl Watcher {
    /// `halt` is what stops the engine; it is raised when the slice has to end.
    pub(super) fn new(halt: StopFlag) -> Self {
        halt.lower();
        let state = Mutex::new(WatchState { pause: None, duty: 1.0, is_finished: false });
        Self { shared: Arc::new(Shared { halt, state, changed: Condvar::new() }) }
    }

    /// Starts looking, until the guard is dropped.
    pub(super) fn start<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        slice: &'scope mut Slice<'_>,
        stop: &StopFlag,
    ) -> Guard<'scope> {
        let shared = self.shared.clone();
        let stopping = stop.when_raised(move || shared.end(Pause::Stopped));
        Guard { watcher: self, thread: Some(scope.spawn(move || self.look(slice))), _stopping: stopping }
    }

    /// Sleeps until there is something to do: the deadline, or a look at the device.
    fn look(&self, slice: &mut Slice<'_>) {
        let mut device_due = Instant::now();
        while !self.shared.state().is_over() {
            let now = Instant::now();
            if slice.deadline.is_some_and(|deadline| now >= deadline) {
                self.shared.end(Pause::Deadline);
            } else if let Some(watch) = &mut slice.watch
                && now >= device_due
            {
                match watch() {
                    Watch::Continue { duty } => self.shared.state().duty = duty,
                    Watch::Pause(reason) => self.shared.end(reason),
                }
                device_due = now + slice.watch_every;
            }
            let next = slice.watch.is_some().then_some(device_due).into_iter().chain(slice.deadline).min();
            self.shared.sleep_until(next, WatchState::is_over);
        }
    }

    /// Why the slice has to end, if it has to.
    pub(super) fn pause(&self) -> Option<Pause> {
        self.shared.state().pause.clone()
    }

    /// Rests after work that took so long, as the duty asks for; less if the slice has to end.
    pub(super) fn rest_after(&self, work: Duration) {
        let duty = self.shared.state().duty;
        let duty = if duty.is_nan() { 1.0 } else { duty.clamp(0.01, 1.0) };
        let end = Instant::now().checked_add(work.mul_f64(1.0 / duty - 1.0));
        self.shared.sleep_until(end, WatchState::is_over);
    }
}

impl WatchState {
    fn is_over(&self) -> bool {
        self.is_finished || self.pause.is_some()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, WatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the slice, for the first reason that there is.
    fn end(&self, pause: Pause) {
        self.state().pause.get_or_insert(pause); // before the engine stops and asks why
        self.halt.raise();
        self.changed.notify_all();
    }

    /// Sleeps until then, or until `is_due`, which something that is new in `state` brings about.
    fn sleep_until(&self, end: Option<Instant>, is_due: impl Fn(&WatchState) -> bool) {
        let mut state = self.state();
        while !is_due(&state) {
            state = match end.map(|end| end.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return,
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Ends the watching when dropped, also by a panic of the thread that computes.
pub(super) struct Guard<'scope> {
    watcher: &'scope Watcher,
    thread: Option<ScopedJoinHandle<'scope, ()>>,
    _stopping: WhenRaised,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.watcher.shared.state().is_finished = true;
        self.watcher.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it can only panic where the caller's own closure does
        }
    }
}
