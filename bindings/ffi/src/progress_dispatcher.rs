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
use crate::progress::{Phase, Progress, ProgressListener};

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

/// What the listener's thread does next.
#[derive(Debug, PartialEq, Eq)]
enum Delivery {
    /// Tells of the first state that waits.
    Tell,
    /// Passes over the first state: its phase is over, and the next one says all that it would have said.
    Skip,
    /// Waits for something to tell, so long if there is a time at which there will be.
    Wait(Option<Duration>),
    /// All is told.
    End,
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
        lock(&self.mailbox.state).put(progress.clone());
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
        let mut last: Option<(Phase, Instant)> = None;
        while let Some(progress) = self.next(last) {
            let phase = progress.phase;
            if let Err(error) = listener.on_progress(progress) {
                lock(&self.state).failure = Some(error.to_string());
                on_failure();
                return;
            }
            last = Some((phase, Instant::now()));
        }
    }

    /// What to tell next, when its time has come; none at the end.
    fn next(&self, last: Option<(Phase, Instant)>) -> Option<Progress> {
        let mut state = lock(&self.state);
        loop {
            state = match state.next_delivery(last.map(|(phase, at)| (phase, at.elapsed()))) {
                Delivery::Tell => return state.waiting.pop_front(),
                Delivery::End => return None,
                Delivery::Skip => {
                    state.waiting.pop_front();
                    state
                }
                Delivery::Wait(None) => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Delivery::Wait(Some(time)) => {
                    self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl MailboxState {
    /// The newest state replaces an older one of the same phase.
    fn put(&mut self, progress: Progress) {
        if self.waiting.back().is_some_and(|last| last.phase == progress.phase) {
            self.waiting.pop_back();
        }
        self.waiting.push_back(progress);
    }

    /// What is to be done when the last call told of this phase, so long ago.
    fn next_delivery(&self, last: Option<(Phase, Duration)>) -> Delivery {
        let Some(front) = self.waiting.front() else {
            return if self.ended { Delivery::End } else { Delivery::Wait(None) };
        };
        let same = last.filter(|(phase, _)| *phase == front.phase);
        let wait = same.map_or(Duration::ZERO, |(_, ago)| MIN_INTERVAL.saturating_sub(ago));
        let is_newest = self.waiting.len() == 1;
        if wait.is_zero() || is_newest && self.ended {
            Delivery::Tell
        } else if is_newest {
            Delivery::Wait(Some(wait))
        } else {
            Delivery::Skip
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::ListenerError;

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
    fn a_phase_is_told_of_every_200_milliseconds_with_its_newest_state() {
        let mut state = MailboxState::default();
        let mut last = None;
        let mut told = Vec::new();
        let ago = |last: Option<(Phase, u64)>, now: u64| {
            last.map(|(phase, at)| (phase, Duration::from_millis(now - at)))
        };
        for now in 0..=1000 {
            state.put(at(Phase::Training, now));
            if state.next_delivery(ago(last, now)) == Delivery::Tell {
                told.push((now, state.waiting.pop_front().unwrap().step));
                last = Some((Phase::Training, now));
            }
        }
        assert_eq!(told, [0, 200, 400, 600, 800, 1000].map(|now| (now, now)));

        state.put(at(Phase::Training, 1001));
        assert_eq!(state.next_delivery(ago(last, 1001)), Delivery::Wait(Some(Duration::from_millis(199))));
        // Another phase is told of at once, and what is left of the former one not at all.
        state.put(at(Phase::Judging, 1001));
        assert_eq!(state.next_delivery(ago(last, 1002)), Delivery::Skip);
        state.waiting.pop_front();
        assert_eq!(state.next_delivery(ago(last, 1002)), Delivery::Tell);
        state.waiting.pop_front();
        assert_eq!(state.next_delivery(Some((Phase::Judging, Duration::ZERO))), Delivery::Wait(None));
        // The last state does not wait for its time.
        state.put(at(Phase::Judging, 1002));
        state.ended = true;
        assert_eq!(state.next_delivery(Some((Phase::Judging, Duration::ZERO))), Delivery::Tell);
        state.waiting.pop_front();
        assert_eq!(state.next_delivery(Some((Phase::Judging, Duration::ZERO))), Delivery::End);
    }

    #[test]
    fn phases_and_the_last_state_are_told_in_order() {
        let recorder = Arc::new(Recorder::default());
        let dispatcher = ProgressDispatcher::start(Some(recorder.clone()), || ()).unwrap();
        dispatcher.send(&at(Phase::Preparing, 0));
        (1..=1000).for_each(|step| dispatcher.send(&at(Phase::Training, step)));
        dispatcher.send(&at(Phase::Judging, 1000));
        dispatcher.send(&at(Phase::Finished, 1000));
        dispatcher.finish().unwrap();
        let told = lock(&recorder.told).clone();
        assert_eq!(told.first(), Some(&(Phase::Preparing, 0)));
        assert_eq!(told[told.len() - 2..], [Phase::Judging, Phase::Finished].map(|phase| (phase, 1000)));
        assert!(told.is_sorted_by_key(|(_, step)| *step), "{told:?}");
        assert!(told.iter().any(|(phase, _)| *phase == Phase::Training), "{told:?}");
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
