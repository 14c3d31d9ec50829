//! The device, as an app describes it, and when training may run on it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nightgraft_core::Error;
use nightgraft_core::session::{StopFlag, night};
use nightgraft_policy::{self as policy, LocalTime, Rules, TimeOfDay};

use crate::error::{NightgraftError, PlatformError, Result};
use crate::lock::lock;
use crate::progress::SliceOutcome;

/// Tells how the device is. Called from a thread of the library's, again and again while a night runs.
#[uniffi::export(with_foreign)]
pub trait Platform: Send + Sync {
    /// A look at the device. Single readings that are nonsense are noticed and make training wait; if it throws, the
    /// night ends, saved, and fails with [`NightgraftError::Cancelled`].
    fn state(&self) -> Result<DeviceState, PlatformError>;
}

/// One look at the device.
#[derive(Debug, Clone, Copy, PartialEq, uniffi::Record)]
pub struct DeviceState {
    /// A charger gives power.
    pub charging: bool,
    /// The battery's charge, 0 to 1; 1 for a device without one.
    pub battery: f64,
    /// How warm the system says that the device is.
    pub thermal: Thermal,
    /// The device's temperature in °C (on phones the battery's), if there is a sensor.
    pub temperature: Option<f64>,
    /// The owner or the system asked to save power.
    pub low_power_mode: bool,
    /// Nobody uses the device.
    pub idle: bool,
    /// Bytes of memory that training may have in all: what is free, and what this process holds already.
    pub memory_available: u64,
    /// Bytes free where the store is.
    pub storage_free: u64,
    /// The device's clock, in seconds since 1970.
    pub unix_seconds: i64,
    /// How far the local time is ahead of UTC, in seconds.
    pub utc_offset_seconds: i32,
}

/// How warm the system says that the device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Thermal {
    /// Nothing to mind.
    Nominal,
    /// Slightly warm: work that can wait should be lighter.
    Fair,
    /// The system slows itself down.
    Serious,
    /// The device must cool down at once.
    Critical,
}

/// When training may run. The defaults suit a phone on its charger at night.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct NightRules {
    /// Only while a charger gives power.
    #[uniffi(default = true)]
    pub charging_only: bool,
    /// Below this charge (0 to 1) training waits, on the charger too.
    #[uniffi(default = 0.3)]
    pub battery_floor: f64,
    /// Once it waited for the battery, it goes on at this charge.
    #[uniffi(default = 0.4)]
    pub battery_resume: f64,
    /// Wait while the device saves power.
    #[uniffi(default = true)]
    pub respect_low_power: bool,
    /// From this temperature (°C) on it works a part of the time only.
    #[uniffi(default = 37.0)]
    pub slow_from_celsius: f64,
    /// At this temperature (°C) it pauses.
    #[uniffi(default = 41.0)]
    pub pause_at_celsius: f64,
    /// Once it paused, it goes on at this temperature (°C).
    #[uniffi(default = 38.0)]
    pub resume_at_celsius: f64,
    /// Only while nobody uses the device.
    #[uniffi(default = true)]
    pub idle_only: bool,
    /// After use, the device must be left alone for so many seconds.
    #[uniffi(default = 60)]
    pub idle_grace_seconds: u64,
    /// Only between these times of day, such as `22:00-07:00`; none for any time.
    #[uniffi(default = None)]
    pub window: Option<String>,
    /// When the budgets of a day begin anew.
    #[uniffi(default = "12:00")]
    pub day_begins: String,
    /// Minutes of work in a day, 1 to 1440.
    #[uniffi(default = 360)]
    pub minutes_per_day: u32,
    /// Energy in a day, in Wh, at an assumed draw of 4 W: phones do not tell.
    #[uniffi(default = 30.0)]
    pub energy_wh_per_day: f64,
    /// Bytes written in a day: flash memory wears.
    #[uniffi(default = 4294967296)]
    pub flash_bytes_per_day: u64,
    /// Bytes of memory that are left to others.
    #[uniffi(default = 268435456)]
    pub memory_reserve: u64,
    /// Bytes of storage that are left free.
    #[uniffi(default = 1073741824)]
    pub storage_reserve: u64,
}

impl Default for NightRules {
    fn default() -> Self {
        Rules::default().into()
    }
}

/// The rules for training that the owner asks for from a screen: as the defaults, but also while somebody uses the device.
#[uniffi::export]
pub fn rules_while_used() -> NightRules {
    Rules::while_used().into()
}

impl From<Rules> for NightRules {
    fn from(rules: Rules) -> Self {
        Self {
            charging_only: rules.charging_only,
            battery_floor: rules.battery_floor,
            battery_resume: rules.battery_resume,
            respect_low_power: rules.respect_low_power,
            slow_from_celsius: rules.slow_from_celsius,
            pause_at_celsius: rules.pause_at_celsius,
            resume_at_celsius: rules.resume_at_celsius,
            idle_only: rules.idle_only,
            idle_grace_seconds: rules.idle_grace_seconds,
            window: rules.window.map(|window| window.to_string()),
            day_begins: rules.day_begins.to_string(),
            minutes_per_day: rules.minutes_per_day,
            energy_wh_per_day: rules.energy_wh_per_day,
            flash_bytes_per_day: rules.flash_bytes_per_day,
            memory_reserve: rules.memory_reserve,
            storage_reserve: rules.storage_reserve,
        }
    }
}

impl NightRules {
    /// As the engine wants them.
    ///
    /// # Errors
    /// [`NightgraftError::Unsupported`] names the rule that makes no sense.
    pub(crate) fn rules(&self) -> Result<Rules> {
        let unsupported = |error: String| NightgraftError::Unsupported { reason: error };
        let window = self.window.as_deref().map(|window| window.parse::<policy::Window>()).transpose();
        let window = window.map_err(|error| unsupported(format!("window: {error}")))?;
        let day_begins = self.day_begins.parse::<TimeOfDay>();
        let day_begins = day_begins.map_err(|error| unsupported(format!("day_begins: {error}")))?;
        let rules = Rules {
            charging_only: self.charging_only,
            battery_floor: self.battery_floor,
            battery_resume: self.battery_resume,
            respect_low_power: self.respect_low_power,
            slow_from_celsius: self.slow_from_celsius,
            pause_at_celsius: self.pause_at_celsius,
            resume_at_celsius: self.resume_at_celsius,
            idle_only: self.idle_only,
            idle_grace_seconds: self.idle_grace_seconds,
            window,
            day_begins,
            minutes_per_day: self.minutes_per_day,
            energy_wh_per_day: self.energy_wh_per_day,
            flash_bytes_per_day: self.flash_bytes_per_day,
            memory_reserve: self.memory_reserve,
            storage_reserve: self.storage_reserve,
            ..Rules::default()
        };
        rules.validate()?;
        Ok(rules)
    }
}

/// Wakes a night that waits.
#[derive(Default)]
pub(crate) struct WakeSignal {
    notified: Mutex<bool>,
    changed: Condvar,
}

impl WakeSignal {
    /// Makes a night that waits, or the next one that would, look at the device again.
    pub(crate) fn notify(&self) {
        *lock(&self.notified) = true;
        self.changed.notify_all();
    }

    /// Sleeps until somebody notifies it, `stop` is raised, or so much time has passed.
    fn wait(self: &Arc<Self>, at_most: Duration, stop: &StopFlag) {
        let wake_signal = self.clone();
        let _waking = stop.when_raised(move || {
            drop(lock(&wake_signal.notified)); // whoever is about to sleep does, and is woken
            wake_signal.changed.notify_all();
        });
        let began = Instant::now();
        let mut notified = lock(&self.notified);
        while !std::mem::take(&mut *notified) && !stop.is_raised() {
            let left = at_most.saturating_sub(began.elapsed());
            if left.is_zero() {
                return;
            }
            notified = self.changed.wait_timeout(notified, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Lets the engine ask an app's platform.
pub(crate) struct PlatformAdapter {
    platform: Arc<dyn Platform>,
    wake_signal: Arc<WakeSignal>,
    began: Instant,
    /// What the platform threw.
    failure: Option<String>,
}

impl PlatformAdapter {
    pub(crate) fn new(platform: Arc<dyn Platform>, wake_signal: Arc<WakeSignal>) -> Self {
        Self { platform, wake_signal, began: Instant::now(), failure: None }
    }

    /// How a night on it ends: what the platform threw is why, unless the session is over in spite of it.
    ///
    /// # Errors
    /// [`NightgraftError::Cancelled`] with what the platform threw; else those of `outcome`.
    pub(crate) fn or_failure(self, outcome: Result<SliceOutcome>) -> Result<SliceOutcome> {
        match (outcome, self.failure) {
            (Ok(over @ (SliceOutcome::Finished { .. } | SliceOutcome::NothingToDo { .. })), _) => Ok(over),
            (_, Some(failure)) => Err(NightgraftError::Cancelled { reason: failure }),
            (outcome, None) => outcome,
        }
    }
}

impl night::Platform for PlatformAdapter {
    fn state(&mut self) -> nightgraft_core::Result<policy::DeviceState> {
        let state = self.platform.state().map_err(|error| {
            self.failure = Some(error.to_string());
            Error::io("ask", Path::new("the device"))(io::Error::other(error))
        })?;
        Ok(policy::DeviceState {
            charging: state.charging,
            battery: state.battery,
            thermal: match state.thermal {
                Thermal::Nominal => policy::Thermal::Nominal,
                Thermal::Fair => policy::Thermal::Fair,
                Thermal::Serious => policy::Thermal::Serious,
                Thermal::Critical => policy::Thermal::Critical,
            },
            temperature: state.temperature,
            low_power_mode: state.low_power_mode,
            idle: state.idle,
            memory_available: state.memory_available,
            storage_free: state.storage_free,
            time: LocalTime { unix: state.unix_seconds, utc_offset: state.utc_offset_seconds },
        })
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn wait(&mut self, at_most: Duration, stop: &StopFlag) {
        self.wake_signal.wait(at_most, stop);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::progress::{NothingToDoReason, PauseReason};

    #[test]
    fn the_default_rules_are_the_engines() {
        assert_eq!(NightRules::default().rules().unwrap(), Rules::default());
        assert_eq!(rules_while_used().rules().unwrap(), Rules::while_used());
        // What foreign callers get, by the attributes.
        let NightRules { day_begins, flash_bytes_per_day, memory_reserve, storage_reserve, .. } =
            NightRules::default();
        assert_eq!(day_begins, "12:00");
        assert_eq!(
            [flash_bytes_per_day, memory_reserve, storage_reserve],
            [4294967296, 268435456, 1073741824]
        );
    }

    #[test]
    fn a_stop_and_a_change_of_the_device_end_a_wait_that_would_last_an_hour() {
        const HOUR: Duration = Duration::from_secs(3600);
        let (wake_signal, stop) = (Arc::new(WakeSignal::default()), StopFlag::new());
        wake_signal.notify();
        wake_signal.wait(HOUR, &stop); // what happened just before counts
        let notifier = wake_signal.clone();
        std::thread::scope(|scope| {
            scope.spawn(move || notifier.notify());
            wake_signal.wait(HOUR, &stop);
            scope.spawn(|| stop.raise());
            wake_signal.wait(HOUR, &stop);
            assert!(stop.is_raised());
            wake_signal.wait(HOUR, &stop);
        });
        wake_signal.wait(Duration::ZERO, &StopFlag::new());
    }

    /// Throws when it is asked.
    struct Broken;

    impl Platform for Broken {
        fn state(&self) -> Result<DeviceState, PlatformError> {
            Err(PlatformError::Failed { reason: "made to".into() })
        }
    }

    #[test]
    fn what_a_platform_throws_is_why_a_night_ends_unless_it_is_over() {
        let ended = |is_asked: bool, outcome| {
            let mut device = PlatformAdapter::new(Arc::new(Broken), Arc::default());
            if is_asked {
                night::Platform::state(&mut device).unwrap_err();
            }
            device.or_failure(outcome)
        };
        let thrown = NightgraftError::Cancelled { reason: "the platform failed: made to".into() };
        let paused = SliceOutcome::Paused { reason: PauseReason::Deadline };
        let reason = NothingToDoReason::EverythingLearned;
        let over = SliceOutcome::NothingToDo { reason, text: String::new() };
        assert_eq!(ended(true, Ok(paused.clone())), Err(thrown.clone()));
        assert_eq!(ended(true, Err(NightgraftError::cancelled("a consequence"))), Err(thrown));
        assert_eq!(ended(true, Ok(over.clone())), Ok(over));
        assert_eq!(ended(false, Ok(paused.clone())), Ok(paused));
        let other = NightgraftError::cancelled("the store was released");
        assert_eq!(ended(false, Err(other.clone())), Err(other));
    }

    #[test]
    fn bad_rules_are_named() {
        let bad = NightRules { window: Some("22-7".into()), ..NightRules::default() };
        let NightgraftError::Unsupported { reason } = bad.rules().unwrap_err() else { unreachable!() };
        assert!(reason.starts_with("window: "), "{reason}");
    }
}
