//! Tells a listener how a session goes on, from one thread and not too often.
//!
//! The engine does not wait for whoever listens: it leaves the newest state here, and a thread passes it on. A state that
//! was replaced before its turn is never told, except at a change of phase.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{NightgraftError, Result};
use crate::lock::lock;
use crate::progress::{Progress, ProgressListener};

/// The shortest time between two calls that tell of the same phase.
const MIN_INTERVAL: Duration = Duration::from_millis(200);

/// A listener and the thread that calls it.
pub(crate) struct ProgressDispatcher {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

/// What the engine leaves for the listener's thread.
struct Mailbox {
    state: Mutex<MailboxState>,
    changed: Condvar,
}

#[derive(Default)]
struct MailboxState {
    /// One state of each phase since the last call, the newest last.
    waiting: VecDeque<Progress>,
    ended: bool,
    /// Why the listener is not called any more.
    failure: Option<String>,
}

impl ProgressDispatcher {
    /// Starts to tell `listener`; `on_failure` is called once if it throws.
    ///
    /// # Errors
    /// [`NightgraftError::Internal`] if no thread can be started.
    pub(crate) fn start(
        listener: Option<Arc<dyn ProgressListener>>,
        on_failure: impl FnOnce() + Send + 'static,
    ) -> Result<Self> {
        let mailbox = Arc::new(Mailbox { state: Mutex::default(), changed: Condvar::new() });
        let thread = listener.map(|listener| {
            let mailbox = mailbox.clone();
            let deliver = move || mailbox.deliver(&*listener, on_failure);
            std::thread::Builder::new().name("nightgraft-tell".into()).spawn(deliver)
        });
        let thread = thread.transpose().map_err(|error| NightgraftError::Internal {
            reason: format!("cannot start a thread: {error}"),
        })?;
        Ok(Self { mailbox, thread })
    }

    /// Takes the newest state, which replaces an older one of the same phase.
    pub(crate) fn send(&self, progress: &Progress) {
        if self.thread.is_none() {
            return;
        }
        let mut state = lock(&self.mailbox.state);
        if state.waiting.back().is_some_and(|last| last.phase == progress.phase) {
            state.waiting.pop_back();
        }
        state.waiting.push_back(progress.clone());
        self.mailbox.changed.notify_all();
    }

    /// Waits until the last state is told.
    ///
    /// # Errors
    /// [`NightgraftError::Cancelled`] if the listener has thrown.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.end();
        match lock(&self.mailbox.state).failure.take() {
            Some(failure) => Err(NightgraftError::Cancelled { reason: failure }),
            None => Ok(()),
        }
    }

    fn end(&mut self) {
        lock(&self.mailbox.state).ended = true;
        self.mailbox.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic in it is the listener's
        }
    }
}

impl Drop for ProgressDispatcher {
    fn drop(&mut self) {
        self.end();
    }
}

impl Mailbox {
    fn deliver(&self, listener: &dyn ProgressListener, on_failure: impl FnOnce()) {
        let mut last: Option<(Instant, Progress)> = None;
        while let Some(progress) = self.next(last.as_ref()) {
            if let Err(error) = listener.on_progress(progress.clone()) {
                lock(&self.state).failure = Some(error.to_string());
                on_failure();
                return;
            }
            last = Some((Instant::now(), progress));
        }
    }

    /// What to tell next, when its time has come; none at the end.
    fn next(&self, last: Option<&(Instant, Progress)>) -> Option<Progress> {
        let mut state = lock(&self.state);
        loop {
            let wait = match state.waiting.front() {
                None if state.ended => return None,
                None => None,
                Some(front) => {
                    let same = last.filter(|(_, told)| told.phase == front.phase);
                    let wait =
                        same.map_or(Duration::ZERO, |(at, _)| MIN_INTERVAL.saturating_sub(at.elapsed()));
                    let is_newest = state.waiting.len() == 1;
                    if wait.is_zero() || is_newest && state.ended {
                        return state.waiting.pop_front();
                    }
                    if !is_newest {
                        // Its phase is over: the next one says all that it would have said.
                        state.waiting.pop_front();
                        continue;
                    }
                    Some(wait)
                }
            };
            state = match wait {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(wait) => {
                    self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
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
        let dispatcher = ProgressDispatcher::start(Some(recorder.clone()), || ()).unwrap();
        dispatcher.send(&at(Phase::Preparing, 0));
        let began = Instant::now();
        let mut step = 0;
        while began.elapsed() < Duration::from_millis(700) {
            step += 1;
            dispatcher.send(&at(Phase::Training, step));
            std::thread::sleep(Duration::from_millis(1));
        }
        dispatcher.send(&at(Phase::Judging, step));
        dispatcher.send(&at(Phase::Finished, step));
        dispatcher.finish().unwrap();
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
        let dispatcher =
            ProgressDispatcher::start(Some(recorder.clone()), move || *lock(&count) += 1).unwrap();
        for (step, phase) in
            [Phase::Preparing, Phase::Training, Phase::Judging, Phase::Finished].into_iter().enumerate()
        {
            dispatcher.send(&at(phase, step as u64));
        }
        let error = dispatcher.finish().unwrap_err();
        assert_eq!(error, NightgraftError::Cancelled { reason: "the listener failed: made to".into() });
        assert_eq!(lock(&recorder.told).len(), 3);
        assert_eq!(*lock(&stopped), 1);
    }
}
