//! A night: training in the slices that a device grants, as the policy allows, and the record of it.
//!
//! A [`Platform`] is the only way to see the device. [`SimulatedPlatform`] replays a [`Trace`]; a phone's
//! implementation asks the system. What happens is told as [`NightEvent`]s, which a [`Timeline`] turns into a
//! table and a picture.

mod drawing;
mod event;
mod platform;
mod runner;
mod simulated;
mod timeline;
mod trace;

use std::path::Path;

use crate::{Result, atomic};

pub use drawing::timeline_svg;
pub use event::{NightEvent, NightOutcome, SliceEnd};
pub use platform::Platform;
pub use runner::{Granted, run_night, tonight};
pub use simulated::{Clock, SimulatedPlatform};
pub use timeline::{Period, Timeline};
pub use trace::{Grant, GrantEnd, Trace};

/// Draws a night into an SVG file.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io).
pub fn draw(timeline: &Timeline, path: &Path) -> Result<()> {
    atomic::write_file(path, timeline_svg(timeline).as_bytes())
}
#[cfg(test)]
mod tests;
