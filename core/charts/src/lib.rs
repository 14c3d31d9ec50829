//! Drawings: the loss of a run, and a night over the device's clock.

#![forbid(unsafe_code)]

mod loss;
mod night;
mod picture;

use std::path::Path;

use nightgraft_core::Result;
use nightgraft_core::session::{LossCurve, Target};
use nightgraft_files::atomic;
use nightgraft_simulation::Timeline;

pub use loss::loss_svg;
pub use night::timeline_svg;

/// The loss curve that a run leaves behind.
pub const LOSS_CURVE: LossCurve = LossCurve { draw: loss_svg, is_own: loss::is_loss_svg };

/// Draws a night into an SVG file, which may be there if it is such a drawing.
///
/// # Errors
/// [`Config`](nightgraft_core::Error::Config) if something else is there, [`Io`](nightgraft_core::Error::Io).
pub fn draw_night(timeline: &Timeline, path: &Path) -> Result<()> {
    let is_own = |path: &Path| std::fs::read_to_string(path).is_ok_and(|svg| night::is_timeline_svg(&svg));
    Target { option: "--timeline", path }.refuse_foreign(is_own)?;
    Ok(atomic::write_file(path, timeline_svg(timeline).as_bytes())?)
}
