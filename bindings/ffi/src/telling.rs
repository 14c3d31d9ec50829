//! Telling a listener, from one thread and not too often.
//!
//! The engine does not wait for whoever listens: it leaves the newest state here, and a thread passes it on. A state that
//! was replaced before its turn is never told, except at a change of phase.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{NightgraftError, Result};
use crate::progress::{Progress, ProgressListener};
use crate::shared_store::lock;

/// Between two calls that tell of the same phase.
const APART: Duration = Duration::from_millis(200);

/// A listener and the thread that calls it.
pub(crate) struct Telling {
    letters: Arc<Letters>,
    thread: Option<JoinHandle<()>>,
}

struct Letters {
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    /// One state of each phase since the last call, the newest last.
    waiting: VecDeque<Progress>,
    ended: bool,
    /// Why the listener is not called any more.
    failure: Option<String>,
}

impl Telling {
    /// Starts telling `listener`; `on_failure` is called once if it throws.
    ///
    /// # Errors
    /// [`NightgraftError::Internal`] if no thread can be started.
    pub(crate) fn start(
        listener: Option<Arc<dyn ProgressListener>>,
        on_failure: impl FnOnce() + Send + 'static,
    ) -> Result<Self> {
        let letters = Arc::new(Letters { inside: Mutex::default(), changed: Condvar::new() });
        let thread = listener.map(|listener| {
            let letters = letters.clone();
            let deliver = move || letters.deliver(&*listener, on_failure);
            std::thread::Builder::new().name("nightgraft-tell".into()).spawn(deliver)
        });
        let thread = thread.transpose().map_err(|error| NightgraftError::Internal {
            reason: format!("cannot start a thread: {error}"),
        })?;
        Ok(Self { letters, thread })
    }

    /// The newest state.
    pub(crate) fn tell(&self, progress: &Progress) {
        if self.thread.is_none() {
            return;
        }
        let mut inside = lock(&self.letters.inside);
        if inside.waiting.back().is_some_and(|last| last.phase == progress.phase) {
            inside.waiting.pop_back();
        }
        inside.waiting.push_back(progress.clone());
        self.letters.changed.notify_all();
    }

    /// Waits until the last state is told.
    ///
    /// # Errors
    /// [`NightgraftError::Cancelled`] if the listener has thrown.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.end();
        match lock(&self.letters.inside).failure.take() {
            Some(failure) => Err(NightgraftError::Cancelled { reason: failure }),
            None => Ok(()),
        }
    }

    fn end(&mut self) {
        lock(&self.letters.inside).ended = true;
        self.letters.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic in it is the listener's
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.end();
    }
}

impl Letters {
    fn deliver(&self, listener: &dyn ProgressListener, on_failure: impl FnOnce()) {
        let mut last: Option<(Instant, Progress)> = None;
        while let Some(progress) = self.next(last.as_ref()) {
            if let Err(error) = listener.on_progress(progress.clone()) {
                lock(&self.inside).failure = Some(error.to_string());
                on_failure();
                return;
            }
            last = Some((Instant::now(), progress));
        }
    }

    /// What to tell next, when its time has come; none at the end.
    fn next(&self, last: Option<&(Instant, Progress)>) -> Option<Progress> {
        let mut inside = lock(&self.inside);
        loop {
            let wait = match inside.waiting.front() {
                None if inside.ended => return None,
                None => None,
                Some(front) => {
                    let same = last.filter(|(_, told)| told.phase == front.phase);
                    let wait = same.map_or(Duration::ZERO, |(at, _)| APART.saturating_sub(at.elapsed()));
                    let is_newest = inside.waiting.len() == 1;
                    if wait.is_zero() || is_newest && inside.ended {
                        return inside.waiting.pop_front();
                    }
                    if !is_newest {
                        // Its phase is over: the next one says all that it would have said.
                        inside.waiting.pop_front();
                        continue;
                    }
                    Some(wait)
                }
            };
            inside = match wait {
                None => self.changed.wait(inside).unwrap_or_else(PoisonError::into_inner),
                Some(wait) => {
                    self.changed.wait_timeout(inside, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::ListenerError;
    use crate::progress::Phase;

    #[derive(Default)]
    struct Recorder {
        told: Mutex<Vec<(Phase, u64)>>,
        fails_at: Option<u64>,
    }

    impl ProgressListener for Recorder {
        fn on_progress(&self, progress: Progress) -> Result<(), ListenerError> {
            lock(&self.told).push((progress.phase, progress.step));
            if self.fails_at.is_some_and(|step| progress.step >= step) {
                return Err(ListenerError::Failed { reason: "made to".into() });
            }
            Ok(())
        }
    }

    fn at(phase: Phase, step: u64) -> Progress {
        Progress { phase, step, ..Progress::new() }
    }

    #[test]
    fn phases_and_the_last_state_are_told_and_little_between() {
        let recorder = Arc::new(Recorder::default());
        let telling = Telling::start(Some(recorder.clone()), || ()).unwrap();
        telling.tell(&at(Phase::Preparing, 0));
        let began = Instant::now();
        let mut step = 0;
        while began.elapsed() < Duration::from_millis(700) {
            step += 1;
            telling.tell(&at(Phase::Training, step));
            std::thread::sleep(Duration::from_millis(1));
        }
        telling.tell(&at(Phase::Judging, step));
        telling.tell(&at(Phase::Finished, step));
        telling.finish().unwrap();
        let told = lock(&recorder.told).clone();
        let n_training = told.iter().filter(|(phase, _)| *phase == Phase::Training).count();
        assert!((2..=5).contains(&n_training), "{told:?}");
        assert_eq!(told.first(), Some(&(Phase::Preparing, 0)));
        assert_eq!(told[told.len() - 2..], [Phase::Judging, Phase::Finished].map(|p| (p, step)));
        assert!(told.is_sorted_by_key(|(_, step)| *step), "{told:?}");
    }

    #[test]
    fn a_listener_that_throws_is_not_called_again() {
        let recorder = Arc::new(Recorder { fails_at: Some(2), ..Recorder::default() });
        let stopped = Arc::new(Mutex::new(0));
        let count = stopped.clone();
        let telling = Telling::start(Some(recorder.clone()), move || *lock(&count) += 1).unwrap();
        for (step, phase) in
            [Phase::Preparing, Phase::Training, Phase::Judging, Phase::Finished].into_iter().enumerate()
        {
            telling.tell(&at(phase, step as u64));
        }
        let error = telling.finish().unwrap_err();
        assert_eq!(error, NightgraftError::Cancelled { reason: "the listener failed: made to".into() });
        assert_eq!(lock(&recorder.told).len(), 3);
        assert_eq!(*lock(&stopped), 1);
    }
}
