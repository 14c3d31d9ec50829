//! A night: training in the slices that a device grants, as the policy allows, and the record of it.
//!
//! A [`Platform`] is the only way to see the device. [`SimulatedPlatform`] replays a [`Trace`]; a phone's
//! implementation asks the system. What happens is told as [`NightEvent`]s, which a [`Timeline`] turns into a
//! table and a picture.

mod drawing;
mod event;
mod platform;
mod simulated;
mod timeline;
mod trace;

pub use drawing::timeline_svg;
pub use event::{NightEvent, NightOutcome, SliceEnd};
pub use platform::Platform;
pub use simulated::SimulatedPlatform;
pub use timeline::{Period, Timeline};
pub use trace::{Grant, GrantEnd, Trace};

#[cfg(test)]
mod tests;
