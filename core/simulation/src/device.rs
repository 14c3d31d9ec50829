//! A device that replays a trace.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nightgraft_core::Result;
use nightgraft_core::session::StopFlag;
use nightgraft_core::session::night::Platform;
use nightgraft_policy::DeviceState;

use super::Trace;

/// Replays a [`Trace`]: while training runs, device time passes `speed` times as fast as real time; time that is only
/// waited passes at once.
#[derive(Clone, Debug)]
pub struct SimulatedPlatform {
    trace: Trace,
    clock: Clock,
}

/// A speed at which no night can be replayed.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("--speed: {0} is not allowed; it must be 0.001 to 1000000 times real time")]
pub struct InvalidSpeed(pub f64);

/// The clock of a simulated device. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    speed: f64,
    started: Instant,
    /// Device time that was waited, and not lived through.
    skipped: Arc<Mutex<Duration>>,
}

impl Clock {
    /// Device time since the night began.
    pub fn elapsed(&self) -> Duration {
        self.device_time(self.started.elapsed()).saturating_add(*self.skipped())
    }

    fn device_time(&self, real: Duration) -> Duration {
        Duration::try_from_secs_f64(real.as_secs_f64() * self.speed).unwrap_or(Duration::MAX)
    }

    fn skipped(&self) -> MutexGuard<'_, Duration> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimulatedPlatform {
    /// A night that begins now.
    ///
    /// # Errors
    /// [`InvalidSpeed`] unless `speed` is from 0.001 to 1,000,000.
    pub fn new(trace: Trace, speed: f64) -> Result<Self, InvalidSpeed> {
        if !(1e-3..=1e6).contains(&speed) {
            return Err(InvalidSpeed(speed));
        }
        Ok(Self { trace, clock: Clock { speed, started: Instant::now(), skipped: Arc::default() } })
    }

    /// The night that is replayed.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Its clock.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Seconds of device time since the night began.
    pub fn at(&self) -> f64 {
        self.elapsed().as_secs_f64()
    }

    /// Whether the night is over.
    pub fn is_over(&self) -> bool {
        self.at() >= self.trace.seconds()
    }

    /// Lets device time pass at once.
    pub fn skip(&mut self, device: Duration) {
        let mut skipped = self.clock.skipped();
        *skipped = skipped.saturating_add(device);
    }
}

impl Platform for SimulatedPlatform {
    fn state(&mut self) -> Result<DeviceState> {
        Ok(self.trace.state_at(self.at()))
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Until the trace's next row at the latest, where the device changes.
    fn wait(&mut self, at_most: Duration, stop: &StopFlag) {
        if stop.is_raised() {
            return;
        }
        let now = self.at();
        let change = self.trace.next_change(now).and_then(|at| Duration::try_from_secs_f64(at - now).ok());
        // Past it, not next to it: seconds in a float round to either side.
        let change = change.map(|change| change.saturating_add(Duration::from_micros(1)));
        self.skip(change.map_or(at_most, |change| change.min(at_most)));
    }

    fn real_time(&self, device: Duration) -> Duration {
        Duration::try_from_secs_f64(device.as_secs_f64() / self.clock.speed).unwrap_or(Duration::MAX)
    }

    fn device_time(&self, real: Duration) -> Duration {
        self.clock.device_time(real)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;

    fn platform(speed: f64) -> SimulatedPlatform {
        let text = "time,charging,battery,temperature,thermal,low_power,idle,memory_mib,storage_mib,slice\n\
            23:00,no,0.5,30,nominal,no,yes,3000,9000,\n\
            23:30,yes,0.5,31,nominal,no,yes,3000,9000,\n\
            07:00,yes,1,31,nominal,no,yes,3000,9000,\n";
        SimulatedPlatform::new(Trace::parse(text, Path::new("night.csv")).unwrap(), speed).unwrap()
    }

    #[test]
    fn waiting_passes_at_once_and_ends_where_the_device_changes() {
        let mut platform = platform(0.001);
        let skipped = |platform: &SimulatedPlatform| *platform.clock.skipped();
        platform.wait(Duration::from_secs(600), &StopFlag::new());
        assert_eq!(skipped(&platform), Duration::from_secs(600));
        assert!(!platform.state().unwrap().charging);
        platform.wait(Duration::from_secs(7200), &StopFlag::new());
        // The time that this test has taken is a part of it.
        assert!(platform.at() >= 1800.0, "{}", platform.at());
        assert!(skipped(&platform) <= Duration::from_secs(1800) + Duration::from_micros(1));
        assert!(platform.state().unwrap().charging);
        platform.wait(Duration::MAX, &StopFlag::new());
        assert!(platform.is_over());
        platform.wait(Duration::MAX, &StopFlag::new());
        assert_eq!(platform.elapsed(), Duration::MAX, "saturates");
        assert!(platform.state().unwrap().charging);
    }

    #[test]
    fn a_raised_flag_ends_the_wait() {
        let mut platform = platform(1.0);
        let stop = StopFlag::new();
        stop.raise();
        platform.wait(Duration::from_secs(600), &stop);
        assert_eq!(*platform.clock.skipped(), Duration::ZERO);
    }

    #[test]
    fn speed_is_real_time_per_device_time() {
        let platform = platform(60.0);
        assert_eq!(platform.real_time(Duration::from_secs(600)), Duration::from_secs(10));
        assert_eq!(platform.device_time(Duration::from_millis(20)), Duration::from_millis(1200));
        let real = platform.clock.started.elapsed();
        assert!(platform.elapsed() >= platform.device_time(real), "all the time passes so fast");
        for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(SimulatedPlatform::new(platform.trace().clone(), speed).is_err(), "{speed}");
        }
        let words = "--speed: 0 is not allowed; it must be 0.001 to 1000000 times real time";
        assert_eq!(InvalidSpeed(0.0).to_string(), words);
    }
}
