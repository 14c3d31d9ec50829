//! Whether a device computes right, and how fast: what has to be known of it before it is trusted with anything.

mod check;
mod product_bench;
mod speed;
mod tune;

use std::sync::Arc;

use crate::product::Method;
use crate::{Device, Error, Tile};
pub use check::{LEAST_COSINE, MOST_RELATIVE_ERROR, ProductCheck, check_products};
pub use speed::{ProductSpeed, Speed, measure_peak, measure_products};
pub use tune::{Tuning, tune};

/// Opens a device, and opens it again after it was lost. Drivers of Vulkan that cannot compile a shader lose the device by it, as wgpu
/// sees it: any answer but success is the end (wgpu-core 30.0.2, `device/resource.rs`, `handle_hal_error`).
pub type Opener<'a> = &'a mut dyn FnMut() -> Result<Arc<Device>, Error>;

/// Tiles by which a device was lost while they were tried.
#[derive(Default)]
struct LostBy(Vec<Tile>);

impl LostBy {
    /// How often a device may be lost before it is given up.
    const MOST: usize = 4;

    /// Whether the next loss is one too many.
    fn is_full(&self) -> bool {
        self.0.len() == Self::MOST
    }

    /// Whether this one is likely to do the same: it needs something of the device that not all have, as one of them does.
    fn suggests(&self, tile: Tile) -> bool {
        tile.method() != Method::Staged && self.0.iter().any(|lost| lost.method() == tile.method())
    }
}
