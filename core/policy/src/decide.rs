//! The decision: run, how hard and how long, or wait, and why.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    DeviceState, LocalTime, Needs, PolicyMemory, Reading, Reason, Rules, Thermal, Usage,
    policy_memory::{cool, left_of, resume_mark},
    time::DAY,
};

/// States change without telling: the longest time until the next look, for what can change at any moment and for what
/// the clock alone decides.
const SOON: u64 = 60;
const LATER: u64 = 15 * 60;

/// Below this a share of the time is not worth waking up for.
const LEAST_DUTY: f64 = 0.05;

/// Less than this of a budget, in seconds, counts as used up.
const LEAST_RUN: f64 = 1.0;

/// No device that computes is outside of these temperatures, in °C.
const POSSIBLE_CELSIUS: std::ops::RangeInclusive<f64> = -40.0..=120.0;

/// Rounding of sensors that is forgiven on both ends of a battery's 0 to 1.
const BATTERY_ROUNDING: f64 = 1e-3;

/// Local clocks are at most 14 hours away from UTC; seconds.
const LARGEST_UTC_OFFSET: u32 = 15 * 3600;

/// What to do now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// Train.
    Run {
        /// The share of the time to work, above 0 and at most 1; the rest is spent waiting.
        duty: f64,
        /// The mode that has the memory it needs.
        #[serde(rename = "plan")]
        memory_mode: MemoryMode,
        /// The longest time, pauses included, until the next decision must be asked for: a window closes or a
        /// budget ends then. At least one second. Looking at the device more often is needed all the same.
        at_most: Duration,
        /// Why.
        reason: Reason,
    },
    /// Do not train.
    Wait {
        /// Why.
        reason: Reason,
        /// When to look again at the latest; above 0.
        look_again: Duration,
    },
}

/// How much memory to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryMode {
    /// As planned.
    Full,
    /// Slower, with the same result, in [`Needs::small_memory`].
    Small,
}

impl Decision {
    /// Why.
    pub fn reason(&self) -> &Reason {
        match self {
            Self::Run { reason, .. } | Self::Wait { reason, .. } => reason,
        }
    }

    /// Whether it is [`Decision::Run`].
    pub fn runs(&self) -> bool {
        matches!(self, Self::Run { .. })
    }
}

/// Decides what to do now. Rules are asked in the order in which an owner would think of them; the first that
/// forbids is the reason.
///
/// Nothing is assumed about any argument: readings that cannot be true are a reason to wait, rules need not be
/// valid, and clocks may jump.
pub fn decide(
    rules: &Rules,
    state: &DeviceState,
    needs: &Needs,
    usage: &Usage,
    memory: &mut PolicyMemory,
) -> Decision {
    if let Some(reason) = nonsense(state) {
        return wait(reason, SOON);
    }
    memory.observe(rules, state, needs);
    let checks =
        [owners_wish(rules, state, memory), heat(rules, state, memory), room(rules, state, needs, memory)];
    if let Some((reason, seconds)) = checks.into_iter().flatten().next() {
        return wait(reason, seconds);
    }
    let at_most = match time_left(rules, state.time, usage) {
        Ok(at_most) => at_most,
        Err((reason, seconds)) => return wait(reason, seconds),
    };
    let duty = duty(rules, state);
    let memory_mode = if memory.full_plan_refused { MemoryMode::Small } else { MemoryMode::Full };
    let reason = if duty < 1.0 {
        Reason::Warm { temperature: state.temperature, duty }
    } else if memory_mode == MemoryMode::Small {
        let wanted = resume_mark(needs.memory.saturating_add(rules.memory_reserve));
        Reason::LittleMemory { available: state.memory_available, wanted }
    } else {
        Reason::Ready { charging: state.charging, battery: state.battery.clamp(0.0, 1.0), idle: state.idle }
    };
    Decision::Run { duty, memory_mode, at_most, reason }
}

/// Why to wait, and the seconds until the next look.
type Forbidden = (Reason, u64);

fn wait(reason: Reason, seconds: u64) -> Decision {
    Decision::Wait { reason, look_again: Duration::from_secs(seconds.max(1)) }
}

/// The first reading that cannot be true.
fn nonsense(state: &DeviceState) -> Option<Reason> {
    let unreadable = |what, value: f64| {
        Some(Reason::Unreadable { what, value: Some(value).filter(|value| value.is_finite()) })
    };
    if !(-BATTERY_ROUNDING..=1.0 + BATTERY_ROUNDING).contains(&state.battery) {
        return unreadable(Reading::Battery, state.battery * 100.0);
    }
    if let Some(temperature) = state.temperature.filter(|t| !POSSIBLE_CELSIUS.contains(t)) {
        return unreadable(Reading::Temperature, temperature);
    }
    if state.time.utc_offset.unsigned_abs() > LARGEST_UTC_OFFSET {
        return unreadable(Reading::Clock, f64::from(state.time.utc_offset) / 3600.0);
    }
    None
}

/// Power and presence.
fn owners_wish(rules: &Rules, state: &DeviceState, memory: &PolicyMemory) -> Option<Forbidden> {
    if rules.charging_only && !state.charging {
        return Some((Reason::NotCharging, SOON));
    }
    if rules.respect_low_power && state.low_power_mode {
        return Some((Reason::LowPowerMode, SOON));
    }
    if memory.battery_low {
        let battery = state.battery.clamp(0.0, 1.0);
        return Some((Reason::BatteryLow { battery, resume: rules.battery_resume }, SOON));
    }
    if rules.idle_only && !state.idle {
        return Some((Reason::InUse, SOON));
    }
    if let Some(used_at) = memory.used_at.filter(|_| rules.idle_only) {
        let seconds = left_of(rules.idle_grace_seconds, used_at, state.time);
        return Some((Reason::JustUsed { seconds }, seconds.min(SOON)));
    }
    None
}

fn heat(rules: &Rules, state: &DeviceState, memory: &PolicyMemory) -> Option<Forbidden> {
    let hot_since = memory.hot_since?;
    if cool(rules, state) {
        let seconds = left_of(rules.cool_down_seconds, hot_since, state.time);
        return Some((Reason::CoolingDown { seconds }, seconds.min(SOON)));
    }
    let DeviceState { temperature, thermal, .. } = *state;
    let resume = temperature.filter(|&t| t > rules.resume_at_celsius).map(|_| rules.resume_at_celsius);
    Some((Reason::TooWarm { temperature, thermal, resume }, SOON))
}

/// Memory and storage.
fn room(rules: &Rules, state: &DeviceState, needs: &Needs, memory: &PolicyMemory) -> Option<Forbidden> {
    if memory.storage_low {
        let needed = resume_mark(needs.storage.saturating_add(rules.storage_reserve));
        return Some((Reason::StorageLow { free: state.storage_free, needed }, SOON));
    }
    if memory.full_plan_refused && (needs.small_memory.is_none() || memory.small_plan_refused) {
        let least = needs.small_memory.unwrap_or(needs.memory);
        let needed = resume_mark(least.saturating_add(rules.memory_reserve));
        return Some((Reason::MemoryLow { available: state.memory_available, needed }, SOON));
    }
    None
}

/// The time until the window closes or a budget is used up.
fn time_left(rules: &Rules, now: LocalTime, usage: &Usage) -> Result<Duration, Forbidden> {
    let window_left = match rules.window {
        None => DAY,
        Some(window) => {
            window.left(now).map_err(|opens_in| (Reason::OutsideWindow { window }, opens_in.min(LATER)))?
        }
    };
    let spent = usage.on(rules, now);
    let day_begins = rules.day_begins;
    let used_up = |reason| {
        let into =
            (i64::from(now.second_of_day()) - i64::from(day_begins.second_of_day())).rem_euclid(DAY as i64);
        (reason, DAY.saturating_sub(into as u64).clamp(1, LATER))
    };
    let minutes = rules.minutes_per_day;
    let time = f64::from(minutes) * 60.0 - spent.seconds;
    if !enough(time) {
        return Err(used_up(Reason::MinutesUsedUp { minutes, day_begins }));
    }
    let energy = (rules.energy_wh_per_day - spent.energy_wh) / rules.watts * 3600.0;
    if !enough(energy) {
        return Err(used_up(Reason::EnergyUsedUp { energy_wh: rules.energy_wh_per_day, day_begins }));
    }
    if spent.bytes_written >= rules.flash_bytes_per_day {
        return Err(used_up(Reason::FlashUsedUp { bytes: rules.flash_bytes_per_day, day_begins }));
    }
    let seconds = time.min(energy).min(window_left as f64);
    Ok(Duration::from_secs_f64(seconds.clamp(LEAST_RUN, DAY as f64)))
}

/// False for NaN too, whether it comes from the rules or from the ledger.
fn enough(seconds: f64) -> bool {
    seconds >= LEAST_RUN
}

/// The share of the time to work: all of it while cool, less at each warmer level of the system, and less
/// between the temperature where it slows down and the one where it pauses.
fn duty(rules: &Rules, state: &DeviceState) -> f64 {
    let warm = if rules.warm_duty.is_nan() { LEAST_DUTY } else { rules.warm_duty.clamp(LEAST_DUTY, 1.0) };
    let by_level = match state.thermal {
        Thermal::Nominal => 1.0,
        Thermal::Fair => warm,
        // Reached only if the rules pause later than at the level above.
        Thermal::Serious | Thermal::Critical => (warm * warm).max(LEAST_DUTY),
    };
    let Rules { slow_from_celsius: slow, pause_at_celsius: pause, .. } = *rules;
    let by_temperature = match state.temperature {
        Some(temperature) if temperature > slow && pause > slow => {
            let way = ((temperature - slow) / (pause - slow)).clamp(0.0, 1.0);
            1.0 - way * (1.0 - warm)
        }
        _ => 1.0,
    };
    by_level.min(by_temperature)
}

#[cfg(test)]
mod tests;
