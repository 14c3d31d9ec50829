//! Why training runs or waits, in words that a phone's owner understands.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Thermal, TimeOfDay, Window,
    quantity::{bytes, celsius, length, percent, trimmed},
};

/// Why training runs or waits. `Display` is one sentence without a full stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Runs: nothing stands in the way.
    Ready {
        /// On the charger.
        charging: bool,
        /// The battery's charge, 0 to 1.
        battery: f64,
        /// Nobody uses the device.
        idle: bool,
    },
    /// Runs part of the time, because the device is getting warm.
    Warm {
        /// In °C, if it is known.
        temperature: Option<f64>,
        /// The share of the time that it works.
        duty: f64,
    },
    /// Runs with the small plan.
    LittleMemory {
        /// Bytes that there are.
        available: u64,
        /// Bytes at which the whole plan is used again.
        wanted: u64,
    },
    /// Waits: no charger.
    NotCharging,
    /// Waits: the device saves power.
    LowPowerMode,
    /// Waits: the battery is too empty.
    BatteryLow {
        /// Its charge, 0 to 1.
        battery: f64,
        /// The charge to wait for.
        resume: f64,
    },
    /// Waits: too warm, or not cool enough again.
    TooWarm {
        /// In °C, if it is known.
        temperature: Option<f64>,
        /// What the system says.
        thermal: Thermal,
        /// The temperature to wait for; none if it is the system's level that is waited for.
        resume: Option<f64>,
    },
    /// Waits: cool again, but not for long.
    CoolingDown {
        /// Seconds that it still waits.
        seconds: u64,
    },
    /// Waits: somebody uses the device.
    InUse,
    /// Waits: somebody used it a moment ago.
    JustUsed {
        /// Seconds without use that are still waited for.
        seconds: u64,
    },
    /// Waits: the time of day is not allowed.
    OutsideWindow {
        /// What is allowed.
        window: Window,
    },
    /// Waits: the time for one day is used up.
    MinutesUsedUp {
        /// The budget.
        minutes: u32,
        /// When the next day's begins.
        day_begins: TimeOfDay,
    },
    /// Waits: the energy for one day is used up.
    EnergyUsedUp {
        /// The budget, in Wh.
        energy_wh: f64,
        /// When the next day's begins.
        day_begins: TimeOfDay,
    },
    /// Waits: so much was written to flash memory that the rest of the day is kept free.
    FlashUsedUp {
        /// The budget, in bytes.
        bytes: u64,
        /// When the next day's begins.
        day_begins: TimeOfDay,
    },
    /// Waits: too little memory even for the small plan.
    MemoryLow {
        /// Bytes that there are.
        available: u64,
        /// Bytes to wait for.
        needed: u64,
    },
    /// Waits: too little free storage.
    StorageLow {
        /// Bytes that are free.
        free: u64,
        /// Bytes to wait for.
        needed: u64,
    },
    /// Waits: a reading cannot be true.
    Unreadable {
        /// Which.
        what: Reading,
        /// What it reads, if that is a number.
        value: Option<f64>,
    },
    /// Waits: the system grants no time. The night runner's own; [`decide`](super::decide()) never says it.
    NotGranted,
}

/// A [`Reason`] without its numbers, for legends and for putting periods together: what an owner takes for one reason is of
/// one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonKind {
    /// Runs: nothing stands in the way.
    Ready,
    /// Runs part of the time.
    Warm,
    /// Runs with the small plan.
    LittleMemory,
    /// Waits for a charger.
    NotCharging,
    /// Waits while the device saves power.
    LowPowerMode,
    /// Waits for a fuller battery.
    BatteryLow,
    /// Waits until it is cool, and for a while after.
    TooWarm,
    /// Waits while somebody uses the device, and for a while after.
    InUse,
    /// Waits for the allowed time of day.
    OutsideWindow,
    /// Waits for the next day's minutes.
    MinutesUsedUp,
    /// Waits for the next day's energy.
    EnergyUsedUp,
    /// Waits for the next day's writes.
    FlashUsedUp,
    /// Waits for memory.
    MemoryLow,
    /// Waits for storage.
    StorageLow,
    /// Waits for a reading that can be true.
    Unreadable,
    /// Waits for the system.
    NotGranted,
}

/// A reading of the device that may be nonsense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// The battery's charge, in percent.
    Battery,
    /// The temperature, in °C.
    Temperature,
    /// The clock's distance from UTC, in hours.
    Clock,
}

impl Reason {
    /// What kind of reason it is.
    pub fn kind(&self) -> ReasonKind {
        match self {
            Self::Ready { .. } => ReasonKind::Ready,
            Self::Warm { .. } => ReasonKind::Warm,
            Self::LittleMemory { .. } => ReasonKind::LittleMemory,
            Self::NotCharging => ReasonKind::NotCharging,
            Self::LowPowerMode => ReasonKind::LowPowerMode,
            Self::BatteryLow { .. } => ReasonKind::BatteryLow,
            Self::TooWarm { .. } | Self::CoolingDown { .. } => ReasonKind::TooWarm,
            Self::InUse | Self::JustUsed { .. } => ReasonKind::InUse,
            Self::OutsideWindow { .. } => ReasonKind::OutsideWindow,
            Self::MinutesUsedUp { .. } => ReasonKind::MinutesUsedUp,
            Self::EnergyUsedUp { .. } => ReasonKind::EnergyUsedUp,
            Self::FlashUsedUp { .. } => ReasonKind::FlashUsedUp,
            Self::MemoryLow { .. } => ReasonKind::MemoryLow,
            Self::StorageLow { .. } => ReasonKind::StorageLow,
            Self::Unreadable { .. } => ReasonKind::Unreadable,
            Self::NotGranted => ReasonKind::NotGranted,
        }
    }

    /// Whether it is a reason to run; all others are reasons to wait.
    pub fn runs(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Warm { .. } | Self::LittleMemory { .. })
    }
}

impl ReasonKind {
    /// A few words, as a legend has them.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ready => "ran",
            Self::Warm => "ran slower: warm",
            Self::LittleMemory => "ran with the small plan",
            Self::NotCharging => "no charger",
            Self::LowPowerMode => "low power mode",
            Self::BatteryLow => "battery low",
            Self::TooWarm => "too warm",
            Self::InUse => "in use",
            Self::OutsideWindow => "outside the time window",
            Self::MinutesUsedUp => "day's minutes used up",
            Self::EnergyUsedUp => "day's energy used up",
            Self::FlashUsedUp => "day's writes used up",
            Self::MemoryLow => "too little memory",
            Self::StorageLow => "too little storage",
            Self::Unreadable => "unreadable sensor",
            Self::NotGranted => "no time granted",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match *self {
            Self::Ready { charging, battery, idle } => {
                let place = if charging { "on the charger" } else { "on battery" };
                let rest = if idle { ", cool and not in use" } else { " and cool" };
                write!(f, "{place} ({}){rest}", percent(battery))
            }
            Self::Warm { temperature, duty } => {
                write!(f, "warm{}: working {} of the time", in_brackets(temperature), percent(duty))
            }
            Self::LittleMemory { available, wanted } => write!(
                f,
                "little memory ({}; the whole plan wants {}): going on with a smaller plan",
                bytes(available),
                bytes(wanted)
            ),
            Self::NotCharging => f.write_str("waiting for the charger"),
            Self::LowPowerMode => f.write_str("waiting until low power mode is off"),
            Self::BatteryLow { battery, resume } => {
                write!(f, "battery low ({}): waiting for {}", percent(battery), percent(resume))
            }
            Self::TooWarm { temperature, thermal, resume } => {
                write!(f, "too warm{}: cooling down", in_brackets(temperature))?;
                match resume {
                    Some(resume) => write!(f, " until {}", celsius(resume)),
                    None => write!(f, ", the system says it is {}", level(thermal)),
                }
            }
            Self::CoolingDown { seconds } => {
                write!(f, "was too warm: cooling down for another {}", length(Duration::from_secs(seconds)))
            }
            Self::InUse => f.write_str("waiting until nobody uses the device"),
            Self::JustUsed { seconds } => write!(
                f,
                "was just used: waiting another {} without use",
                length(Duration::from_secs(seconds))
            ),
            Self::OutsideWindow { window } => {
                write!(f, "allowed from {} to {} only", window.from(), window.to())
            }
            Self::MinutesUsedUp { minutes, day_begins } => {
                write!(f, "the {minutes} minutes for one day are used up: goes on after {day_begins}")
            }
            Self::EnergyUsedUp { energy_wh, day_begins } => write!(
                f,
                "the {} Wh of energy for one day are used up: goes on after {day_begins}",
                trimmed(energy_wh)
            ),
            Self::FlashUsedUp { bytes: budget, day_begins } => write!(
                f,
                "the {} that may be written in one day are used up: goes on after {day_begins}",
                bytes(budget)
            ),
            Self::MemoryLow { available, needed } => write!(
                f,
                "too little memory ({}): waiting for {}; closing other apps helps",
                bytes(available),
                bytes(needed)
            ),
            Self::StorageLow { free, needed } => write!(
                f,
                "too little free storage ({}): waiting for {}; deleting what is not needed helps",
                bytes(free),
                bytes(needed)
            ),
            Self::Unreadable { what, value } => {
                let (name, unit) = match what {
                    Reading::Battery => ("battery level", " %"),
                    Reading::Temperature => ("temperature", " °C"),
                    Reading::Clock => ("clock's time zone", " h from UTC"),
                };
                write!(f, "the {name} ")?;
                match value.filter(|value| value.is_finite()) {
                    Some(value) if value.abs() < 1e6 => {
                        write!(f, "reads {}{unit}, which cannot be true", trimmed(value))?;
                    }
                    _ => f.write_str("cannot be read")?,
                }
                f.write_str(": waiting for a better reading")
            }
            Self::NotGranted => f.write_str("waiting for the system to grant time"),
        }
    }
}

fn in_brackets(temperature: Option<f64>) -> String {
    temperature.map_or(String::new(), |degrees| format!(" ({})", celsius(degrees)))
}

fn level(thermal: Thermal) -> &'static str {
    match thermal {
        Thermal::Nominal => "cool",
        Thermal::Fair => "slightly warm",
        Thermal::Serious => "hot",
        Thermal::Critical => "dangerously hot",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_need_the_clock_or_a_sensor() {
        let cases = [
            (Reason::NotGranted, "waiting for the system to grant time"),
            (Reason::CoolingDown { seconds: 240 }, "was too warm: cooling down for another 4 min"),
            (
                Reason::Unreadable { what: Reading::Clock, value: Some(27.5) },
                "the clock's time zone reads 27.5 h from UTC, which cannot be true: waiting for a better reading",
            ),
            (
                Reason::Unreadable { what: Reading::Temperature, value: Some(1e300) },
                "the temperature cannot be read: waiting for a better reading",
            ),
            (
                Reason::TooWarm { temperature: Some(41.5), thermal: Thermal::Fair, resume: Some(38.0) },
                "too warm (41.5 °C): cooling down until 38 °C",
            ),
        ];
        for (reason, expected) in cases {
            assert_eq!(reason.to_string(), expected);
        }
    }
}
