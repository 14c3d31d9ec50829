//! AVX2 with FMA: tiles of up to 6 rows by two vectors of 8.

use std::arch::x86_64::*;

use crate::isa::table::kernels;
use crate::isa::{RoundedTile, Tier, Tile, WIDTH};
use crate::passes::{self, Square};

kernels! {
    tier: Tier::Avx2,
    max_rows: 6,
    tile: tile_f32_f32_avx2,
    rounded_tile: rounded_tile,
    transpose: transpose,
    features: ["avx2,fma"]
}

#[target_feature(enable = "avx2,fma")]
fn rounded_tile(tile: RoundedTile) {
    passes::rounded_tile(tile)
}

/// # Safety
/// The machine must have the instructions, and the pointers must be valid for the shape that the tile states.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_f32_f32_avx2(tile: Tile) {
    macro_rules! rows {
        ($tile:expr, $($rows:literal)*) => {
            match ($tile.rows, $tile.width) {
                $(($rows, 8) => columns::<$rows, 1>($tile),
                ($rows, _) => columns::<$rows, 2>($tile),)*
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

/// `ROWS` rows by `VECTORS` times 8 columns.
///
/// # Safety
/// As for the tile.
#[target_feature(enable = "avx2,fma")]
unsafe fn columns<const ROWS: usize, const VECTORS: usize>(tile: Tile) {
    let mut sums = [[_mm256_setzero_ps(); VECTORS]; ROWS];
    // SAFETY: all offsets are below the tile's rows, width and depth, for which the caller promises valid pointers.
    unsafe {
        let (mut x, mut panel) = (tile.x, tile.panel);
        for _ in 0..tile.depth {
            let mut b = [_mm256_setzero_ps(); VECTORS];
            for v in 0..VECTORS {
                b[v] = _mm256_loadu_ps(panel.add(8 * v));
            }
            for r in 0..ROWS {
                let a = _mm256_set1_ps(*x.add(r * tile.x_stride));
                for v in 0..VECTORS {
                    sums[r][v] = _mm256_fmadd_ps(a, b[v], sums[r][v]);
                }
            }
            x = x.add(1);
            panel = panel.add(tile.panel_stride);
        }
        for r in 0..ROWS {
            for v in 0..VECTORS {
                let c = tile.c.add(r * tile.c_stride + 8 * v);
                let sum = sums[r][v];
                _mm256_storeu_ps(
                    c,
                    if tile.accumulate { _mm256_add_ps(_mm256_loadu_ps(c), sum) } else { sum },
                );
            }
        }
    }
}

/// A 32 × 32 transpose as sixteen of 8 × 8.
#[target_feature(enable = "avx2,fma")]
fn transpose(values: &Square, panel: &mut [f32; 1024]) {
    for row in (0..WIDTH).step_by(8) {
        for column in (0..WIDTH).step_by(8) {
            let mut v = [_mm256_setzero_ps(); 8];
            for i in 0..8 {
                // SAFETY: 8 floats from `column`, at most 24, of a row of 32.
                v[i] = unsafe { _mm256_loadu_ps(values.0[row + i].as_ptr().add(column)) };
            }
            let v = transpose_8(v);
            for i in 0..8 {
                // SAFETY: 8 floats from `row`, at most 24, of row `column + i` of a panel of 32 by 32.
                unsafe { _mm256_storeu_ps(panel.as_mut_ptr().add((column + i) * WIDTH + row), v[i]) };
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn transpose_8(v: [__m256; 8]) -> [__m256; 8] {
    // Columns 4 b + j of rows 4 a .. 4 a + 4 are 128-bit lane b of `quads[4 a + j]`.
    let mut quads = v;
    for a in 0..2 {
        let row = |i: usize| v[4 * a + i];
        let low = |x: __m256, y: __m256| _mm256_castps_pd(_mm256_unpacklo_ps(x, y));
        let high = |x: __m256, y: __m256| _mm256_castps_pd(_mm256_unpackhi_ps(x, y));
        let (low_01, high_01) = (low(row(0), row(1)), high(row(0), row(1)));
        let (low_23, high_23) = (low(row(2), row(3)), high(row(2), row(3)));
        quads[4 * a] = _mm256_castpd_ps(_mm256_unpacklo_pd(low_01, low_23));
        quads[4 * a + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low_01, low_23));
        quads[4 * a + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high_01, high_23));
        quads[4 * a + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high_01, high_23));
    }
    let mut out = quads;
    for j in 0..4 {
        out[j] = _mm256_permute2f128_ps::<0x20>(quads[j], quads[4 + j]);
        out[4 + j] = _mm256_permute2f128_ps::<0x31>(quads[j], quads[4 + j]);
    }
    out
}
