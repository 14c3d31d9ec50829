//! What the policy sees of a device, and what the work asks of it.

use serde::{Deserialize, Serialize};

use super::LocalTime;

/// How warm the system says that the device is; the four levels of iOS, to which Android's map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(strum::Display)]
#[strum(serialize_all = "snake_case")]
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

/// One look at the device. Values come from sensors and may be nonsense; [`decide`](super::decide()) checks them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Bytes of memory that training may have in all: what is free, and what it holds already.
    pub memory_available: u64,
    /// Bytes free where the store is.
    pub storage_free: u64,
    /// The device's clock.
    pub time: LocalTime,
}

/// What a session needs of the device before it may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Bytes of memory for the whole plan.
    pub memory: u64,
    /// Bytes of memory for a smaller, slower plan with the same result, if there is one.
    pub small_memory: Option<u64>,
    /// Bytes that the next checkpoints and the graft take.
    pub storage: u64,
}
