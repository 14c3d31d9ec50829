//! Asking a running job to stop.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Asks a running job to stop, from any thread. Clones are the same flag.
///
/// Who computes looks at it between two operations; who waits is woken by [`when_raised`](Self::when_raised), and needs not
/// look at all.
#[derive(Clone, Default)]
pub struct StopFlag(Arc<Inner>);

#[derive(Default)]
struct Inner {
    is_raised: Arc<AtomicBool>,
    calls: Mutex<Calls>,
}

/// What is called when the flag is raised.
#[derive(Default)]
struct Calls {
    waiting: Vec<(u64, Box<dyn Fn() + Send>)>,
    next: u64,
}

impl StopFlag {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the job to stop. It does so between two operations, well under a second later.
    pub fn raise(&self) {
        let calls = self.0.calls();
        self.0.is_raised.store(true, Ordering::Relaxed);
        calls.waiting.iter().for_each(|(_, call)| call());
    }

    /// Takes it back, for the next piece of work.
    pub(super) fn lower(&self) {
        self.0.is_raised.store(false, Ordering::Relaxed);
    }

    /// Whether stopping was asked for.
    pub fn is_raised(&self) -> bool {
        self.0.is_raised.load(Ordering::Relaxed)
    }

    /// Calls `call` each time the flag is raised, on the thread that raises it, until what is returned is dropped; at once
    /// if it is raised already. It has to be short, as waking a thread is, and must not touch this flag.
    #[must_use = "dropped, it is not called any more"]
    pub fn when_raised(&self, call: impl Fn() + Send + 'static) -> WhenRaised {
        let mut calls = self.0.calls();
        if self.is_raised() {
            call();
        }
        let id = calls.next;
        calls.next += 1;
        calls.waiting.push((id, Box::new(call)));
        drop(calls);
        WhenRaised { flag: self.clone(), id }
    }

    /// Whether `other` is a clone of this one.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The flag itself, for code that only looks at it for as long as it is called.
    pub(super) fn as_atomic(&self) -> &AtomicBool {
        &self.0.is_raised
    }

    /// The flag itself, for code that only knows atomics and looks at it.
    pub(crate) fn raw(&self) -> Arc<AtomicBool> {
        self.0.is_raised.clone()
    }
}

impl Inner {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StopFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StopFlag").field(&self.is_raised()).finish()
    }
}

/// What [`StopFlag::when_raised`] calls, as long as this is there.
#[derive(Debug)]
pub struct WhenRaised {
    flag: StopFlag,
    id: u64,
}

impl Drop for WhenRaised {
    fn drop(&mut self) {
        self.flag.0.calls().waiting.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn whoever_waits_is_called_once_for_each_raise() {
        let (flag, count) = (StopFlag::new(), Arc::new(AtomicUsize::new(0)));
        let count_up = || {
            let count = count.clone();
            move || {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        let first = flag.when_raised(count_up());
        assert_eq!(count.load(Ordering::Relaxed), 0);
        flag.clone().raise();
        assert_eq!((count.load(Ordering::Relaxed), flag.is_raised()), (1, true));
        let second = flag.when_raised(count_up());
        assert_eq!(count.load(Ordering::Relaxed), 2, "it is raised already");
        drop(first);
        flag.raise();
        assert_eq!(count.load(Ordering::Relaxed), 3);
        drop(second);
        flag.lower();
        flag.raise();
        assert_eq!(count.load(Ordering::Relaxed), 3);
        assert!(flag.is_same(&flag.clone()) && !flag.is_same(&StopFlag::new()));
    }
}
