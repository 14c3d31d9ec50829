//! Where the time of computations goes: calls, seconds and floating-point operations of each kind of node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Whether nodes are timed: one look at the clock before and after each.
static ENABLED: AtomicBool = AtomicBool::new(false);
static TIMES: Mutex<BTreeMap<&'static str, OpTime>> = Mutex::new(BTreeMap::new());

/// What all nodes of one kind took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OpTime {
    /// How often nodes were run.
    pub calls: u64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Multiplications and additions of matrix products; 0 for other nodes.
    pub flops: f64,
}

/// Whether to time the nodes of all computations of this process from now on, from zero.
pub fn set_profiling(enabled: bool) {
    TIMES.lock().unwrap_or_else(PoisonError::into_inner).clear();
    ENABLED.store(enabled, Ordering::Relaxed);
}

/// What all nodes took so far, by kind of node.
pub fn op_times() -> Vec<(&'static str, OpTime)> {
    let times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    times.iter().map(|(op, time)| (*op, *time)).collect()
}

/// Runs a node, timed if that is asked for; `kind` says what it is and how many operations it takes.
pub(crate) fn timed<R>(kind: impl FnOnce() -> (&'static str, f64), run: impl FnOnce() -> R) -> R {
    if !ENABLED.load(Ordering::Relaxed) {
        return run();
    }
    let began = Instant::now();
    let result = run();
    let seconds = began.elapsed().as_secs_f64();
    let (op, flops) = kind();
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    let time = times.entry(op).or_default();
    time.calls += 1;
    time.seconds += seconds;
    time.flops += flops;
    result
}
