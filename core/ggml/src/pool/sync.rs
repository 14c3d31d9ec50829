//! The primitives that a job's protocol is made of; its model check puts loom's in their place.

pub(super) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
pub(super) use std::sync::{Mutex, PoisonError};
pub(super) use std::thread::{Thread, current, park};

use std::time::{Duration, Instant};

/// How long a thread without work looks for some before it sleeps: longer than the time between two nodes, and than waking
/// a thread takes, and too short to be missed by whatever else the machine does.
pub(super) const SPIN: Duration = Duration::from_micros(50);

/// Asks again and again for a short while; returns the last answer.
pub(super) fn spin_until(is_true: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    loop {
        for _ in 0..16 {
            if is_true() {
                return true;
            }
            std::hint::spin_loop();
        }
        if began.elapsed() > SPIN {
            return is_true();
        }
    }
}
