//! Learning from what is in a store, slice by slice.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use nightgraft_core::session::night::{self, GrantedTime, NightEvent, run_night};
use nightgraft_core::session::{Session, SessionRequest, Slice, StopFlag};
use nightgraft_policy::Rules;
use nightgraft_store::Store;

use crate::error::{NightgraftError, Result};
use crate::example::Example;
use crate::executor::{Completion, TRAINING_EXECUTOR};
use crate::lock::lock;
use crate::model::BaseModel;
use crate::night::{NightRules, Platform, PlatformAdapter, WakeSignal};
use crate::progress::{PauseReason, Phase, Progress, ProgressListener, SessionReport, SliceOutcome};
use crate::progress_dispatcher::ProgressDispatcher;
use crate::settings::SessionSettings;
use crate::shared_store::{RoundOutcome, SharedStore};
use crate::store::{self, AdapterStore};

/// Personalization of a base with what is in a store, in slices that can end at any moment.
///
/// Slices of all sessions run one after the other. A session that was interrupted, or whose process was killed, goes on
/// where it was saved last; the graft at the end is the same, byte for byte. Between slices it holds no memory.
#[derive(uniffi::Object)]
pub struct PersonalizationSession {
    inner: Arc<Inner>,
}

struct Inner {
    request: SessionRequest,
    shared: Arc<SharedStore>,
    wake_signal: Arc<WakeSignal>,
    snapshot: Mutex<Snapshot>,
    calls: Mutex<Calls>,
}

/// What an app can ask for at any time.
struct Snapshot {
    progress: Progress,
    report: Option<SessionReport>,
}

#[derive(Default)]
struct Calls {
    /// What ends each call, once it runs and while it waits for its turn.
    stop_handles: Vec<(StopFlag, Completion<SliceOutcome>)>,
    /// How many calls have begun and not ended.
    running: usize,
    /// Dropped when none runs any more, to tell those who wait for it.
    until_none_runs: Vec<oneshot::Sender<()>>,
    released: bool,
}

#[uniffi::export]
impl PersonalizationSession {
    /// A session on `store`. Whether there is anything to learn, and whether it fits, shows when a slice runs: it
    /// learns from the examples that are there when its first slice begins.
    ///
    /// # Errors
    /// [`NightgraftError::InvalidModel`] if the model cannot be trained; [`NightgraftError::Unsupported`] for settings
    /// that make no sense.
    #[uniffi::constructor]
    pub async fn open(
        model: Arc<BaseModel>,
        store: Arc<AdapterStore>,
        settings: SessionSettings,
    ) -> Result<Arc<Self>> {
        model.check_trainable()?;
        let inner = Inner {
            request: settings.request(&model, Some(store.shared().folder()))?,
            shared: store.shared().clone(),
            wake_signal: Arc::default(),
            snapshot: Mutex::new(Snapshot { progress: Progress::new(), report: None }),
            calls: Mutex::default(),
        };
        Ok(Arc::new(Self { inner: Arc::new(inner) }))
    }

    /// Adds examples to the store. A session under way does not see them; the next one does.
    ///
    /// # Errors
    /// As [`AdapterStore::add`].
    pub async fn add_examples(&self, examples: Vec<Example>) -> Result<Vec<u64>> {
        self.inner.ensure_not_released()?;
        self.inner.shared.write(move |store| store::add(store, &examples)).await
    }

    /// Works until the session is over, `max_seconds` have passed, or it is stopped; everything is saved then. If the
    /// caller does not wait for it any more, it stops too.
    ///
    /// # Errors
    /// [`NightgraftError::OutOfMemoryBudget`]; [`NightgraftError::Unsupported`] if the session under way was begun
    /// with other settings; [`NightgraftError::Cancelled`] if the listener throws or the handle is released.
    pub async fn run_slice(
        &self,
        max_seconds: Option<f64>,
        listener: Option<Arc<dyn ProgressListener>>,
    ) -> Result<SliceOutcome> {
        let deadline = deadline(Instant::now(), max_seconds);
        self.call(listener, move |inner, call| inner.slice(call, deadline)).await
    }

    /// Works under the policy: looks at the device, waits or runs as the rules say, until the session is over, the
    /// system's grant ends, or it is stopped. `last_grant` says that no other follows tonight, as far as is known.
    ///
    /// # Errors
    /// As [`run_slice`](Self::run_slice); [`NightgraftError::Cancelled`] also if the platform throws.
    pub async fn run_night(
        &self,
        platform: Arc<dyn Platform>,
        rules: NightRules,
        grant_seconds: Option<f64>,
        last_grant: bool,
        listener: Option<Arc<dyn ProgressListener>>,
    ) -> Result<SliceOutcome> {
        let deadline = deadline(Instant::now(), grant_seconds);
        self.call(listener, move |inner, call| {
            let rules = rules.rules()?;
            let mut device = PlatformAdapter::new(platform, inner.wake_signal.clone());
            let time = time_left(deadline);
            let outcome = inner.night(call, &mut device, &rules, GrantedTime { time, last: last_grant });
            device.or_failure(outcome)
        })
        .await
    }

    /// Ends every slice of this session, also those that wait for their turn; the one that runs within a quarter of a
    /// second, saved. From any thread.
    pub fn stop(&self) {
        self.inner.stop();
    }

    /// Wakes a night that waits, to look at the device again: a charger was plugged in, say.
    pub fn device_changed(&self) {
        self.inner.wake_signal.notify();
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        lock(&self.inner.snapshot).progress.clone()
    }

    /// What the session came to that this handle has seen end last.
    pub fn report(&self) -> Option<SessionReport> {
        lock(&self.inner.snapshot).report.clone()
    }

    /// Stops what runs, and returns when that is saved. Every later call fails with [`NightgraftError::Cancelled`].
    ///
    /// # Errors
    /// [`NightgraftError::Internal`].
    pub async fn release(&self) -> Result<()> {
        lock(&self.inner.calls).released = true;
        self.inner.stop();
        if let Some(none_runs) = self.inner.none_runs() {
            let _ = none_runs.await; // the sender is dropped, and nothing sent
        }
        Ok(())
    }
}

impl PersonalizationSession {
    /// Runs `work` on the thread for training.
    async fn call(
        &self,
        listener: Option<Arc<dyn ProgressListener>>,
        work: impl FnOnce(&Inner, &Call) -> Result<SliceOutcome> + Send + 'static,
    ) -> Result<SliceOutcome> {
        let (flag, (completion, receiver)) = (StopFlag::new(), Completion::new());
        {
            let mut calls = lock(&self.inner.calls);
            if calls.released {
                return Err(released_error());
            }
            calls.stop_handles.push((flag.clone(), completion.clone()));
        }
        // Dropped when the caller does not wait any more, and at the end.
        let mut cancel_on_drop =
            CancelOnDrop { inner: self.inner.clone(), flag: flag.clone(), is_over: false };
        let inner = self.inner.clone();
        let outcome = TRAINING_EXECUTOR
            .run_cancellable((completion, receiver), move || {
                let running = RunningGuard::begin(&inner)?;
                let failed = (inner.clone(), flag.clone());
                let dispatcher = ProgressDispatcher::start(listener, move || {
                    failed.1.raise();
                    failed.0.shared.interrupt();
                })?;
                let call = Call { stop: flag, dispatcher };
                inner.update_progress(&call, |progress| {
                    (progress.phase, progress.waiting, progress.warning) = (Phase::Preparing, None, None);
                    progress.nothing_to_do = None;
                    true
                });
                let outcome = work(&inner, &call);
                inner.update_progress(&call, |progress| {
                    match &outcome {
                        Ok(outcome) => progress.end_slice(outcome),
                        Err(_) => progress.phase = Phase::Paused,
                    }
                    true
                });
                inner.shared.changes().notify(); // there may be another graft in use
                if let Ok(SliceOutcome::Finished { report }) = &outcome {
                    lock(&inner.snapshot).report = Some(report.clone());
                }
                // From here on nobody needs to wait for the listener, which may itself be waiting for `release`.
                drop(running);
                let told = call.dispatcher.finish();
                // What the listener threw is why it ended.
                told.and(outcome)
            })
            .await;
        cancel_on_drop.is_over = true;
        outcome
    }
}

impl Drop for PersonalizationSession {
    fn drop(&mut self) {
        self.inner.stop();
    }
}

/// One call of `run_slice` or `run_night`.
struct Call {
    stop: StopFlag,
    dispatcher: ProgressDispatcher,
}

impl Inner {
    fn slice(&self, call: &Call, deadline: Option<Instant>) -> Result<SliceOutcome> {
        self.run_rounds(call, |session, stop| {
            let slice = Slice { time: time_left(deadline), ..Slice::default() };
            let outcome = session.run_slice(slice, stop, &mut |event| {
                self.update_progress(call, |progress| progress.apply(event));
            })?;
            Ok(outcome.into())
        })
    }

    fn night(
        &self,
        call: &Call,
        device: &mut (dyn night::Platform + Send),
        rules: &Rules,
        grant: GrantedTime,
    ) -> Result<SliceOutcome> {
        let began = device.elapsed();
        self.run_rounds(call, |session, stop| {
            let passed = device.elapsed().saturating_sub(began);
            let left = GrantedTime { time: grant.time.map(|time| time.saturating_sub(passed)), ..grant };
            let outcome = run_night(session, device, rules, left, stop, &mut |event| {
                self.update_progress(call, |progress| progress.apply_night(event));
                if matches!(event, NightEvent::SliceEnded { .. }) {
                    self.shared.changes().notify(); // the night's record says what it did
                }
            })?;
            Ok(outcome.into())
        })
    }

    /// Works in rounds: after each that yielded the store to somebody else, the session is opened again.
    fn run_rounds(
        &self,
        call: &Call,
        mut work: impl FnMut(&mut Session, &StopFlag) -> Result<SliceOutcome>,
    ) -> Result<SliceOutcome> {
        let mut has_yielded = false;
        loop {
            let round = self.shared.round(
                has_yielded,
                || call.stop.is_raised(),
                |store, flag| self.run_round(store, flag, call, &mut work),
            )?;
            match round {
                RoundOutcome::Yielded(SliceOutcome::Paused { reason: PauseReason::Stopped })
                    if !call.stop.is_raised() => {}
                RoundOutcome::Yielded(outcome) | RoundOutcome::Done(outcome) => return Ok(outcome),
            }
            has_yielded = true;
        }
    }

    fn run_round(
        &self,
        store: Store,
        flag: &StopFlag,
        call: &Call,
        work: &mut dyn FnMut(&mut Session, &StopFlag) -> Result<SliceOutcome>,
    ) -> (Option<Store>, Result<SliceOutcome>) {
        if flag.is_raised() {
            return (Some(store), Ok(SliceOutcome::Paused { reason: PauseReason::Stopped }));
        }
        let opened = Session::open(store, self.request.clone(), &mut |event| {
            self.update_progress(call, |progress| progress.apply(event));
        });
        let mut session = match opened {
            Ok(session) => session,
            Err(error) => return (None, Err(error.into())),
        };
        let outcome = work(&mut session, flag);
        (Some(session.into_store()), outcome)
    }

    /// Changes what is known of the progress, and tells the listener if `change` says that it is new.
    fn update_progress(&self, call: &Call, change: impl FnOnce(&mut Progress) -> bool) {
        let mut snapshot = lock(&self.snapshot);
        if change(&mut snapshot.progress) {
            call.dispatcher.send(&snapshot.progress);
        }
    }

    fn stop(&self) {
        let calls = lock(&self.calls);
        for (flag, completion) in &calls.stop_handles {
            flag.raise();
            completion.finish_unless_started(if calls.released {
                Err(released_error())
            } else {
                Ok(SliceOutcome::Paused { reason: PauseReason::Stopped })
            });
        }
        if calls.running > 0 {
            self.shared.interrupt();
        }
    }

    /// What comes when no call runs any more; none if none does.
    fn none_runs(&self) -> Option<oneshot::Receiver<()>> {
        let mut calls = lock(&self.calls);
        (calls.running > 0).then(|| {
            let (sender, receiver) = oneshot::channel();
            calls.until_none_runs.push(sender);
            receiver
        })
    }

    fn ensure_not_released(&self) -> Result<()> {
        if lock(&self.calls).released { Err(released_error()) } else { Ok(()) }
    }
}

/// Counts a call while it runs.
struct RunningGuard<'a>(&'a Inner);

impl<'a> RunningGuard<'a> {
    fn begin(inner: &'a Inner) -> Result<Self> {
        let mut calls = lock(&inner.calls);
        if calls.released {
            return Err(released_error());
        }
        calls.running += 1;
        Ok(Self(inner))
    }
}

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        let mut calls = lock(&self.0.calls);
        calls.running -= 1;
        let told = if calls.running == 0 { std::mem::take(&mut calls.until_none_runs) } else { Vec::new() };
        drop(calls);
        drop(told); // without the lock: whoever waits may call at once
    }
}

/// Stands for somebody who waits for a call. Dropped before the call is over, it ends the call.
struct CancelOnDrop {
    inner: Arc<Inner>,
    flag: StopFlag,
    is_over: bool,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.flag.raise();
        let mut calls = lock(&self.inner.calls);
        calls.stop_handles.retain(|(flag, _)| !flag.is_same(&self.flag));
        if !self.is_over && calls.running > 0 {
            self.inner.shared.interrupt();
        }
    }
}

fn released_error() -> NightgraftError {
    NightgraftError::cancelled("the session was released")
}

/// When a slice of so many seconds ends that begins `now`; nonsense is no time at all.
fn deadline(now: Instant, seconds: Option<f64>) -> Option<Instant> {
    let seconds = seconds?.max(0.0);
    let length = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    now.checked_add(length)
}

fn time_left(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

#[cfg(test)]
mod tests;
