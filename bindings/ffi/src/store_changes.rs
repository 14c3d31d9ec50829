//! Tells screens when to read a store again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_channel::oneshot;

use crate::lock::lock;

/// The changes of a store, for one who shows it. It does not keep the store open.
#[derive(uniffi::Object)]
pub struct StoreChanges {
    signal: Arc<ChangeSignal>,
    /// The last change that was told.
    told: Mutex<Option<u64>>,
    is_cancelled: AtomicBool,
}

#[uniffi::export]
impl StoreChanges {
    /// Waits until something is to be read again: examples, grafts, which of them is in use, nights. The first call returns at
    /// once; changes that come between two calls are told as one. False if none will come: the store is closed, or this was
    /// cancelled.
    pub async fn next(&self) -> bool {
        loop {
            match self.look() {
                Look::Changed => return true,
                Look::Over => return false,
                Look::Same(changed) => {
                    let _ = changed.await; // the sender is dropped, and nothing sent
                }
            }
        }
    }

    /// Ends the wait, and every later one.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
        self.signal.update(|_| ());
    }
}

impl StoreChanges {
    pub(crate) fn new(signal: Arc<ChangeSignal>) -> Self {
        Self { signal, told: Mutex::new(None), is_cancelled: AtomicBool::new(false) }
    }

    fn look(&self) -> Look {
        let mut state = lock(&self.signal.state);
        if state.is_over || self.is_cancelled.load(Ordering::SeqCst) {
            Look::Over
        } else if lock(&self.told).replace(state.changes) == Some(state.changes) {
            Look::Same(state.wait())
        } else {
            Look::Changed
        }
    }
}

/// What has become of a store since it was looked at last.
enum Look {
    Changed,
    /// Nothing; this tells when that changes.
    Same(oneshot::Receiver<()>),
    /// Nothing will come.
    Over,
}

/// Where a store says that it has changed.
#[derive(Default)]
pub(crate) struct ChangeSignal {
    state: Mutex<SignalState>,
}

#[derive(Default)]
struct SignalState {
    /// How many there were.
    changes: u64,
    /// Dropped at the next one.
    waiting: Vec<oneshot::Sender<()>>,
    is_over: bool,
}

impl ChangeSignal {
    /// Something is to be read again.
    pub(crate) fn notify(&self) {
        self.update(|state| state.changes += 1);
    }

    /// There is nothing to read any more.
    pub(crate) fn end(&self) {
        self.update(|state| state.is_over = true);
    }

    fn update(&self, update: impl FnOnce(&mut SignalState)) {
        let mut state = lock(&self.state);
        update(&mut state);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting); // without the lock: whoever waits may ask at once
    }
}

impl SignalState {
    fn wait(&mut self) -> oneshot::Receiver<()> {
        self.waiting.retain(|sender| !sender.is_canceled());
        let (sender, receiver) = oneshot::channel();
        self.waiting.push(sender);
        receiver
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::task::{Context, Waker};
    use std::thread;

    use pollster::block_on;

    use super::*;

    #[test]
    fn changes_are_told_at_once_and_then_one_for_all_that_came_meanwhile() {
        let signal = Arc::new(ChangeSignal::default());
        let (one, other) = (StoreChanges::new(signal.clone()), StoreChanges::new(signal.clone()));
        let is_waiting = |changes: &StoreChanges| {
            Box::pin(changes.next()).as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
        };
        assert!(block_on(one.next()));
        assert!(is_waiting(&one));
        signal.notify();
        signal.notify();
        assert!(block_on(one.next()) && block_on(other.next()));
        assert!(is_waiting(&one) && is_waiting(&other));
        assert_eq!(lock(&signal.state).waiting.len(), 1, "those who do not wait any more are forgotten");

        thread::scope(|scope| {
            let waiting = scope.spawn(|| block_on(one.next()));
            scope.spawn(|| signal.notify());
            assert!(waiting.join().unwrap());
            let waiting = scope.spawn(|| block_on(one.next()));
            scope.spawn(|| one.cancel());
            assert!(!waiting.join().unwrap());
        });
        assert!(!block_on(one.next()));
        signal.notify();
        assert!(block_on(other.next()), "the other one goes on");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| block_on(other.next()));
            scope.spawn(|| signal.end());
            assert!(!waiting.join().unwrap());
        });
    }
}
