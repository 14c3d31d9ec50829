//! Locks that nobody's panic poisons.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for the lock; what it guards is whole whenever it is free, also after a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
