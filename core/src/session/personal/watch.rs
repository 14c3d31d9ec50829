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

    /// Starts looking, until the guard is dropped. In a slice of no time, nothing is begun.
    pub(super) fn start<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        slice: &'scope mut Slice<'_>,
        stop: &StopFlag,
    ) -> Guard<'scope> {
        let shared = self.shared.clone();
        let stopping = stop.when_raised(move || shared.end(Pause::Stopped));
        let now = Instant::now();
        let schedule = Schedule::starting_at(now, slice);
        if schedule.due(now) == Due::End {
            self.shared.end(Pause::Deadline);
        }
        let look = move || self.look(schedule, slice);
        Guard { watcher: self, thread: Some(scope.spawn(look)), _stopping: stopping }
    }

    /// Sleeps until there is something to do: the deadline, or a look at the device.
    fn look(&self, mut schedule: Schedule, slice: &mut Slice<'_>) {
        while !self.shared.state().is_over() {
            let now = Instant::now();
            match schedule.due(now) {
                Due::End => self.shared.end(Pause::Deadline),
                Due::Look => {
                    match slice.watch.as_mut().map(|watch| watch()) {
                        Some(Watch::Continue { duty }) => self.shared.state().duty = duty,
                        Some(Watch::Pause(reason)) => self.shared.end(reason),
                        None => {}
                    }
                    schedule.next_look = now.checked_add(slice.watch_every);
                }
                Due::Later(then) => self.shared.sleep_until(then, WatchState::is_over),
            }
        }
    }

    /// Why the slice has to end, if it has to.
    pub(super) fn pause(&self) -> Option<Pause> {
        self.shared.state().pause.clone()
    }

    /// Rests after work that took so long, as the duty asks for; less if the slice has to end.
    pub(super) fn rest_after(&self, work: Duration) {
        let rest = rest_after(work, self.shared.state().duty);
        self.shared.sleep_until(Instant::now().checked_add(rest), WatchState::is_over);
    }
}

/// The rest that leaves `work` its share of the time.
fn rest_after(work: Duration, duty: f64) -> Duration {
    let duty = if duty.is_nan() { 1.0 } else { duty.clamp(0.01, 1.0) };
    work.mul_f64(1.0 / duty - 1.0)
}

/// When a slice ends and the device is looked at.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    deadline: Option<Instant>,
    /// None where nobody watches.
    next_look: Option<Instant>,
}

/// What a [`Schedule`] says that it is time for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Due {
    End,
    Look,
    /// Nothing before then, or ever.
    Later(Option<Instant>),
}

impl Schedule {
    /// The first look is at once.
    fn starting_at(now: Instant, slice: &Slice<'_>) -> Self {
        Self {
            deadline: slice.time.and_then(|time| now.checked_add(time)),
            next_look: slice.watch.is_some().then_some(now),
        }
    }

    fn due(&self, now: Instant) -> Due {
        let is_due = |time: Option<Instant>| time.is_some_and(|time| now >= time);
        if is_due(self.deadline) {
            Due::End
        } else if is_due(self.next_look) {
            Due::Look
        } else {
            Due::Later(self.deadline.into_iter().chain(self.next_look).min())
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_slice_looks_at_once_and_ends_at_its_deadline() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut watch = || Watch::Continue { duty: 1.0 };
        let watched =
            Slice { time: Some(Duration::from_secs(100)), watch: Some(&mut watch), ..Slice::default() };
        let mut schedule = Schedule::starting_at(began, &watched);
        assert_eq!(schedule.due(began), Due::Look);
        schedule.next_look = Some(at(30));
        assert_eq!(schedule.due(at(29)), Due::Later(Some(at(30))));
        assert_eq!(schedule.due(at(30)), Due::Look);
        schedule.next_look = Some(at(120));
        assert_eq!(schedule.due(at(99)), Due::Later(Some(at(100))));
        assert_eq!(schedule.due(at(100)), Due::End);
        assert_eq!(schedule.due(at(130)), Due::End, "a look comes too late");

        let due = |time| Schedule::starting_at(began, &Slice { time, ..Slice::default() }).due(began);
        assert_eq!(due(None), Due::Later(None));
        assert_eq!(due(Some(Duration::MAX)), Due::Later(None), "no clock goes so far");
        assert_eq!(due(Some(Duration::ZERO)), Due::End);
    }

    #[test]
    fn a_rest_leaves_work_its_share_of_the_time() {
        let rests =
            [1.0, 0.5, 0.25, 0.02, 0.0, -1.0, 7.0, f64::NAN].map(|duty| rest_after(HOUR, duty).as_secs_f64());
        assert_eq!(
            rests.map(|seconds| (seconds / 3600.0).round()),
            [0.0, 1.0, 3.0, 49.0, 99.0, 99.0, 0.0, 0.0]
        );
    }

    /// Watches one slice while `work` does what the engine would; gives why the slice ended.
    fn watched(mut slice: Slice<'_>, stop: &StopFlag, work: impl FnOnce(&Watcher)) -> Option<Pause> {
        let watcher = Watcher::new(StopFlag::new());
        std::thread::scope(|scope| {
            let _watching = watcher.start(scope, &mut slice, stop);
            work(&watcher);
            watcher.shared.sleep_until(None, WatchState::is_over);
        });
        assert!(watcher.shared.halt.is_raised(), "the engine is stopped");
        watcher.pause()
    }

    #[test]
    fn the_first_reason_ends_a_rest_that_would_last_for_days() {
        for longest in 1..4 {
            let mut looks = 0;
            let mut watch = || {
                looks += 1;
                if looks > longest { Watch::Pause(Pause::Deadline) } else { Watch::Continue { duty: 0.02 } }
            };
            let slice = Slice { watch: Some(&mut watch), watch_every: Duration::ZERO, ..Slice::default() };
            let ended = watched(slice, &StopFlag::new(), |watcher| {
                while watcher.pause().is_none() {
                    watcher.rest_after(HOUR); // of two days, once the duty is known
                }
                watcher.shared.end(Pause::Stopped);
            });
            assert_eq!((ended, looks), (Some(Pause::Deadline), longest + 1));
        }
    }

    #[test]
    fn a_stop_ends_a_slice_that_nobody_watches() {
        let stop = StopFlag::new();
        let ended = watched(Slice::default(), &stop, |watcher| {
            assert_eq!(watcher.pause(), None);
            stop.raise();
            watcher.rest_after(HOUR);
        });
        assert_eq!(ended, Some(Pause::Stopped));
    }

    #[test]
    fn in_no_time_nothing_is_begun() {
        let slice = Slice { time: Some(Duration::ZERO), ..Slice::default() };
        let ended =
            watched(slice, &StopFlag::new(), |watcher| assert_eq!(watcher.pause(), Some(Pause::Deadline)));
        assert_eq!(ended, Some(Pause::Deadline));
    }
}
