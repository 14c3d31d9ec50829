//! AVX2 with FMA: tiles of up to 6 rows by two vectors of 8.

use std::arch::x86_64::*;

use super::int16_256::tile_i16_i16_256;
use crate::isa::table::kernels;
use crate::isa::tier::Tier;
use crate::microkernels::{BLOCK, Dots, Square};
use crate::tile::{Int16Tile, Tile, WIDTH};

kernels! {
    tier: Tier::Avx2,
    max_rows: 6,
    tile: tile_f32_f32_avx2,
    int16_tile: tile_i16_i16_avx2,
    quantize: [crate::microkernels::quantize_row, crate::microkernels::quantize_panel],
    transpose: transpose_f32_avx2,
    half: super::F16c,
    dots: dots_f32_f32_avx2,
    features: ["avx2,fma,f16c"]
}

tile_i16_i16_256!(tile_i16_i16_avx2, add_products, "avx2,fma,f16c");

#[inline]
#[target_feature(enable = "avx2")]
fn add_products(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(sums, _mm256_madd_epi16(a, b))
}

/// # Safety
/// The machine must have the instructions, and the pointers must be valid for the shape that the tile states.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn tile_f32_f32_avx2(tile: Tile) {
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
#[target_feature(enable = "avx2,fma,f16c")]
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

/// Four rows times four, for [`microkernels::dots`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dots_f32_f32_avx2(x: [&[f32]; BLOCK], w: [&[f32]; BLOCK]) -> Dots {
    let n = x.iter().chain(&w).map(|row| row.len()).min().unwrap_or(0);
    let mut dots = [[0.0; BLOCK]; BLOCK];
    // Registers hold the sums of two rows times two.
    for (t, r) in [(0, 0), (0, 2), (2, 0), (2, 2)] {
        let mut sums = [[[_mm256_setzero_ps(); 2]; 2]; 2];
        for k in (0..n - n % 16).step_by(16) {
            for half in 0..2 {
                // SAFETY: 16 floats from `k` are inside every row.
                let load = |row: &[f32]| unsafe { _mm256_loadu_ps(row.as_ptr().add(k + 8 * half)) };
                let (x, w) = ([load(x[t]), load(x[t + 1])], [load(w[r]), load(w[r + 1])]);
                for i in 0..2 {
                    for j in 0..2 {
                        sums[i][j][half] = _mm256_fmadd_ps(x[i], w[j], sums[i][j][half]);
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
#[target_feature(enable = "avx2,fma,f16c")]
fn sum_lanes(lanes: [__m256; 2]) -> f32 {
    let of_8 = _mm256_add_ps(lanes[0], lanes[1]);
    let of_4 = _mm_add_ps(_mm256_castps256_ps128(of_8), _mm256_extractf128_ps::<1>(of_8));
    let of_2 = _mm_add_ps(of_4, _mm_movehl_ps(of_4, of_4));
    _mm_cvtss_f32(_mm_add_ss(of_2, _mm_movehdup_ps(of_2)))
}

/// A 32 × 32 transpose as sixteen of 8 × 8.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn transpose_f32_avx2(values: &Square, panel: &mut [f32; 1024]) {
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

#[target_feature(enable = "avx2,fma,f16c")]
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
