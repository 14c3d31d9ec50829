//! The tier without special instructions; the oracle of the others.

use super::table::kernels;
use super::tier::Tier;
use crate::microkernels::{self, Square, multiply_rows};
use crate::tile::{Int16Tile, Tile, WIDTH};

kernels! {
    tier: Tier::Scalar,
    max_rows: 4,
    tile: tile_f32_f32_scalar,
    int16_tile: tile_i16_i16_scalar,
    quantize: [microkernels::quantize_row, microkernels::quantize_panel],
    transpose: transpose_f32_scalar,
    half: crate::weights::PortableHalf,
    dots: multiply_rows,
    features: []
}

/// # Safety
/// The tile's pointers must be valid.
unsafe fn tile_i16_i16_scalar(tile: Int16Tile) {
    // SAFETY: the caller's promise.
    unsafe { microkernels::int16_tile(tile) }
}

/// # Safety
/// The pointers must be valid for the shape that the tile states.
unsafe fn tile_f32_f32_scalar(tile: Tile) {
    for row in 0..tile.rows {
        for column in 0..tile.width {
            // SAFETY: the caller promises `rows × width` elements at `c`, `rows` packed rows at `x` and `depth` panel
            // rows; `row`, `column` and `k` stay below those.
            unsafe {
                let c = tile.c.add(row * tile.c_stride + column);
                let mut sum = 0.0f32;
                for k in 0..tile.depth {
                    sum = (*tile.x.add(row * tile.x_stride + k))
                        .mul_add(*tile.panel.add(k * tile.panel_stride + column), sum);
                }
                *c = if tile.accumulate { *c + sum } else { sum };
            }
        }
    }
}

fn transpose_f32_scalar(values: &Square, panel: &mut [f32; 1024]) {
    for (r, row) in values.0.iter().enumerate() {
        for (i, value) in row.iter().enumerate() {
            panel[i * WIDTH + r] = *value;
        }
    }
}
