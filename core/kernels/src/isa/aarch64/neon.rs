//! Advanced SIMD: tiles of up to 6 rows by four vectors of 4.

use std::arch::aarch64::*;

use crate::isa::table::kernels;
use crate::isa::tier::Tier;
use crate::microkernels::{self, BLOCK, Dots, Square};
use crate::tile::{Int16Tile, Tile, WIDTH};

kernels! {
    tier: Tier::Neon,
    max_rows: 6,
    tile: tile_f32_f32_neon,
    int16_tile: tile_i16_i16_neon,
    quantize: [microkernels::quantize_row, microkernels::quantize_panel],
    transpose: transpose_f32_neon,
    half: super::FcvtHalf,
    dots: dots_f32_f32_neon,
    features: ["neon"]
}

/// # Safety
/// The machine must have the instructions, and the tile's pointers must be valid.
#[target_feature(enable = "neon")]
unsafe fn tile_i16_i16_neon(tile: Int16Tile) {
    // SAFETY: the caller's promise.
    unsafe { microkernels::int16_tile(tile) }
}

/// # Safety
/// The machine must have the instructions, and the pointers must be valid for the shape that the tile states.
#[target_feature(enable = "neon")]
pub(super) unsafe fn tile_f32_f32_neon(tile: Tile) {
    macro_rules! rows {
        ($tile:expr, $($rows:literal)*) => {
            match ($tile.rows, $tile.width) {
                $(($rows, 8) => columns::<$rows, 2>($tile),
                ($rows, _) => columns::<$rows, 4>($tile),)*
                _ => debug_assert!(false, "a tile of {} rows", $tile.rows),
            }
        };
    }
    for first in (0..tile.width).step_by(16) {
        // SAFETY: the caller's promise, for the columns from `first`, below the width, on.
        unsafe {
            let tile = Tile { panel: tile.panel.add(first), c: tile.c.add(first), ..tile };
            rows!(tile, 1 2 3 4 5 6);
        }
    }
}

/// `ROWS` rows by `VECTORS` times 4 columns.
///
/// # Safety
/// As for the tile.
#[target_feature(enable = "neon")]
unsafe fn columns<const ROWS: usize, const VECTORS: usize>(tile: Tile) {
    let mut sums = [[vdupq_n_f32(0.0); VECTORS]; ROWS];
    // SAFETY: all offsets are below the tile's rows, width and depth, for which the caller promises valid pointers.
    unsafe {
        let (mut x, mut panel) = (tile.x, tile.panel);
        for _ in 0..tile.depth {
            let mut b = [vdupq_n_f32(0.0); VECTORS];
            for v in 0..VECTORS {
                b[v] = vld1q_f32(panel.add(4 * v));
            }
            for r in 0..ROWS {
                let a = *x.add(r * tile.x_stride);
                for v in 0..VECTORS {
                    sums[r][v] = vfmaq_n_f32(sums[r][v], b[v], a);
                }
            }
            x = x.add(1);
            panel = panel.add(tile.panel_stride);
        }
        for r in 0..ROWS {
            for v in 0..VECTORS {
                let c = tile.c.add(r * tile.c_stride + 4 * v);
                let sum = sums[r][v];
                vst1q_f32(c, if tile.accumulate { vaddq_f32(vld1q_f32(c), sum) } else { sum });
            }
        }
    }
}

/// Four rows times four, for [`microkernels::dots`].
#[target_feature(enable = "neon")]
pub(super) fn dots_f32_f32_neon(x: [&[f32]; BLOCK], w: [&[f32]; BLOCK]) -> Dots {
    let n = x.iter().chain(&w).map(|row| row.len()).min().unwrap_or(0);
    let mut dots = [[0.0; BLOCK]; BLOCK];
    // Registers hold the sums of two rows times two.
    for (t, r) in [(0, 0), (0, 2), (2, 0), (2, 2)] {
        let mut sums = [[[vdupq_n_f32(0.0); 4]; 2]; 2];
        for k in (0..n - n % 16).step_by(16) {
            for v in 0..4 {
                // SAFETY: 16 floats from `k` are inside every row.
                let load = |row: &[f32]| unsafe { vld1q_f32(row.as_ptr().add(k + 4 * v)) };
                let (x, w) = ([load(x[t]), load(x[t + 1])], [load(w[r]), load(w[r + 1])]);
                for i in 0..2 {
                    for j in 0..2 {
                        sums[i][j][v] = vfmaq_f32(sums[i][j][v], x[i], w[j]);
                    }
                }
            }
        }
        for i in 0..2 {
            for j in 0..2 {
                dots[t + i][r + j] = sum_lanes(sums[i][j]);
            }
        }
    }
    dots
}

/// Adds the lanes in the order of [`microkernels::dot`].
#[target_feature(enable = "neon")]
fn sum_lanes(lanes: [float32x4_t; 4]) -> f32 {
    let of_4 = vaddq_f32(vaddq_f32(lanes[0], lanes[2]), vaddq_f32(lanes[1], lanes[3]));
    let of_2 = vadd_f32(vget_low_f32(of_4), vget_high_f32(of_4));
    vget_lane_f32::<0>(of_2) + vget_lane_f32::<1>(of_2)
}

/// A 32 × 32 transpose as 64 of 4 × 4.
#[target_feature(enable = "neon")]
pub(super) fn transpose_f32_neon(values: &Square, panel: &mut [f32; 1024]) {
    for row in (0..WIDTH).step_by(4) {
        for column in (0..WIDTH).step_by(4) {
            let mut v = [vdupq_n_f32(0.0); 4];
            for i in 0..4 {
                // SAFETY: 4 floats from `column`, at most 28, of a row of 32.
                v[i] = unsafe { vld1q_f32(values.0[row + i].as_ptr().add(column)) };
            }
            let v = transpose_4(v);
            for i in 0..4 {
                // SAFETY: 4 floats from `row`, at most 28, of row `column + i` of a panel of 32 by 32.
                unsafe { vst1q_f32(panel.as_mut_ptr().add((column + i) * WIDTH + row), v[i]) };
            }
        }
    }
}

#[target_feature(enable = "neon")]
fn transpose_4(v: [float32x4_t; 4]) -> [float32x4_t; 4] {
    let even = |x, y| vreinterpretq_f64_f32(vtrn1q_f32(x, y));
    let odd = |x, y| vreinterpretq_f64_f32(vtrn2q_f32(x, y));
    let (even_01, odd_01) = (even(v[0], v[1]), odd(v[0], v[1]));
    let (even_23, odd_23) = (even(v[2], v[3]), odd(v[2], v[3]));
    [
        vreinterpretq_f32_f64(vtrn1q_f64(even_01, even_23)),
        vreinterpretq_f32_f64(vtrn1q_f64(odd_01, odd_23)),
        vreinterpretq_f32_f64(vtrn2q_f64(even_01, even_23)),
        vreinterpretq_f32_f64(vtrn2q_f64(odd_01, odd_23)),
    ]
}
