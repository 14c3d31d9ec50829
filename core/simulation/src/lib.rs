//! Nights without a phone: a [`Trace`] says minute by minute what a device is like and when its system grants time, a
//! [`SimulatedPlatform`] replays it, and a [`Timeline`] is the record of what happened.

#![forbid(unsafe_code)]

mod device;
mod timeline;
mod trace;

pub use device::{Clock, InvalidSpeed, SimulatedPlatform};
pub use timeline::{DeviceReading, Period, Timeline};
pub use trace::{Grant, GrantEnd, Trace};
