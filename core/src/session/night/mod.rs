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

use crate::export::Target;
use crate::{Result, atomic};

use drawing::is_timeline_svg;
pub use drawing::timeline_svg;
pub use event::{NightEvent, NightOutcome, SliceEnd};
pub use platform::Platform;
pub use runner::{GrantedTime, next_free_day, run_night};
pub use simulated::{Clock, SimulatedPlatform};
pub use timeline::{Period, Timeline};
pub use trace::{Grant, GrantEnd, Trace};

/// Draws a night into an SVG file, which may be there if it is such a drawing.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) if something else is there, [`Error::Io`](crate::Error::Io).
pub fn draw(timeline: &Timeline, path: &Path) -> Result<()> {
    let is_own = |path: &Path| std::fs::read_to_string(path).is_ok_and(|svg| is_timeline_svg(&svg));
    Target { option: "--timeline", path }.refuse_foreign(is_own)?;
    atomic::write_file(path, timeline_svg(timeline).as_bytes())
}
#[cfg(test)]
mod tests;
