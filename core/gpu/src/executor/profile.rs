//! Where the time goes on a device: each run of a shader by itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::{Device, Dispatch, Error};

/// All runs of one kind of shader.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShaderTime {
    /// The shader's name.
    pub name: &'static str,
    /// How often it ran.
    pub runs: u64,
    /// How long that took, what it takes to start a run and to hear of its end included.
    pub seconds: f64,
    /// Multiply-adds of all runs; of what is no product, as many as take about as long.
    pub multiply_adds: u64,
}

/// The time of each kind of shader so far.
#[derive(Default)]
pub(super) struct Profile {
    times: BTreeMap<&'static str, ShaderTime>,
}

impl Profile {
    /// Runs one dispatch after the other, and waits for each.
    ///
    /// # Errors
    /// They are those of [`Executor::compute`](super::Executor::compute).
    pub fn run(&mut self, device: &Device, dispatches: &[Dispatch], stop: &AtomicBool) -> Result<(), Error> {
        device.wait()?;
        for dispatch in dispatches {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let started = Instant::now();
            device.submit([dispatch])?;
            device.wait()?;
            let name = dispatch.name();
            let fresh = ShaderTime { name, runs: 0, seconds: 0.0, multiply_adds: 0 };
            let time = self.times.entry(name).or_insert(fresh);
            time.runs += 1;
            time.seconds += started.elapsed().as_secs_f64();
            time.multiply_adds += dispatch.multiply_adds();
        }
        Ok(())
    }

    pub fn times(&self) -> Vec<ShaderTime> {
        let mut times: Vec<_> = self.times.values().copied().collect();
        times.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        times
    }
}
