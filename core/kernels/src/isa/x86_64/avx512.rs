//! AVX-512: tiles of up to 14 rows by two vectors of 16.

use std::arch::x86_64::*;

use super::lhs::LhsRows;
use crate::isa::table::kernels;
use crate::isa::tier::Tier;
use crate::microkernels::{self, BLOCK, Dots, Square};
use crate::tile::{Int16Tile, Tile, WIDTH};

kernels! {
    tier: Tier::Avx512,
    max_rows: 14,
    tile: tile_f32_f32_avx512,
    int16_tile: tile_i16_i16_avx512,
    quantize: [microkernels::quantize_row, microkernels::quantize_panel],
    transpose: transpose_f32_avx512,
    half: super::F16c,
    dots: dots_f32_f32_avx512,
    features: ["avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"]
}

/// # Safety
/// The machine must have the instructions, and the tile's pointers must be valid.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
unsafe fn tile_i16_i16_avx512(tile: Int16Tile) {
    // SAFETY: the caller's promise.
    unsafe { microkernels::int16_tile(tile) }
}

/// # Safety
/// The machine must have the instructions, and the pointers must be valid for the shape that the tile states.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) unsafe fn tile_f32_f32_avx512(tile: Tile) {
    macro_rules! rows {
        ($($rows:literal)*) => {
            // SAFETY: the caller's promise, for the number of rows that the tile has.
            unsafe {
                match (tile.rows, tile.width) {
                    $(($rows, 32) => columns_16::<$rows, 2>(tile),
                    ($rows, 16) => columns_16::<$rows, 1>(tile),
                    ($rows, _) => columns_8::<$rows>(tile),)*
                    _ => debug_assert!(false, "a tile of {} rows", tile.rows),
                }
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// `ROWS` rows by `VECTORS` times 16 columns.
///
/// # Safety
/// As for the tile.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
unsafe fn columns_16<const ROWS: usize, const VECTORS: usize>(tile: Tile) {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    // SAFETY: all offsets are below the tile's rows, width and depth, for which the caller promises valid pointers.
    unsafe {
        let (mut x, mut panel) = (LhsRows::new(tile.x, tile.x_stride, ROWS), tile.panel);
        for _ in 0..tile.depth {
            let mut b = [_mm512_setzero_ps(); VECTORS];
            for v in 0..VECTORS {
                b[v] = _mm512_loadu_ps(panel.add(16 * v));
            }
            for r in 0..ROWS {
                let a = _mm512_set1_ps(*x.at(r));
                for v in 0..VECTORS {
                    sums[r][v] = _mm512_fmadd_ps(a, b[v], sums[r][v]);
                }
            }
            x.advance();
            panel = panel.add(tile.panel_stride);
        }
        for r in 0..ROWS {
            for v in 0..VECTORS {
                let c = tile.c.add(r * tile.c_stride + 16 * v);
                let sum = sums[r][v];
                _mm512_storeu_ps(
                    c,
                    if tile.accumulate { _mm512_add_ps(_mm512_loadu_ps(c), sum) } else { sum },
                );
            }
        }
    }
}

/// `ROWS` rows by 8 columns.
///
/// # Safety
/// As for the tile.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
unsafe fn columns_8<const ROWS: usize>(tile: Tile) {
    let mut sums = [_mm256_setzero_ps(); ROWS];
    // SAFETY: all offsets are below the tile's rows, width and depth, for which the caller promises valid pointers.
    unsafe {
        let (mut x, mut panel) = (tile.x, tile.panel);
        for _ in 0..tile.depth {
            let b = _mm256_loadu_ps(panel);
            for r in 0..ROWS {
                sums[r] = _mm256_fmadd_ps(_mm256_set1_ps(*x.add(r * tile.x_stride)), b, sums[r]);
            }
            x = x.add(1);
            panel = panel.add(tile.panel_stride);
        }
        for r in 0..ROWS {
            let c = tile.c.add(r * tile.c_stride);
            _mm256_storeu_ps(
                c,
                if tile.accumulate { _mm256_add_ps(_mm256_loadu_ps(c), sums[r]) } else { sums[r] },
            );
        }
    }
}

/// Four rows times four, for [`microkernels::dots`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) fn dots_f32_f32_avx512(x: [&[f32]; BLOCK], w: [&[f32]; BLOCK]) -> Dots {
    let n = x.iter().chain(&w).map(|row| row.len()).min().unwrap_or(0);
    let mut sums = [[_mm512_setzero_ps(); BLOCK]; BLOCK];
    // Loops, for want of a promise that the closure of a `map` is inlined: where it is not, this takes twice as long.
    for k in (0..n - n % 16).step_by(16) {
        let (mut a, mut b) = ([_mm512_setzero_ps(); BLOCK], [_mm512_setzero_ps(); BLOCK]);
        for i in 0..BLOCK {
            // SAFETY: 16 floats from `k` are inside every row.
            (a[i], b[i]) =
                unsafe { (_mm512_loadu_ps(x[i].as_ptr().add(k)), _mm512_loadu_ps(w[i].as_ptr().add(k))) };
        }
        for t in 0..BLOCK {
            for r in 0..BLOCK {
                sums[t][r] = _mm512_fmadd_ps(a[t], b[r], sums[t][r]);
            }
        }
    }
    let mut dots = [[0.0; BLOCK]; BLOCK];
    for t in 0..BLOCK {
        for r in 0..BLOCK {
            dots[t][r] = sum_lanes(sums[t][r]);
        }
    }
    dots
}

/// Adds the lanes in the order of [`microkernels::dot`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
fn sum_lanes(lanes: __m512) -> f32 {
    let of_8 = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps::<1>(lanes));
    let of_4 = _mm_add_ps(_mm256_castps256_ps128(of_8), _mm256_extractf128_ps::<1>(of_8));
    let of_2 = _mm_add_ps(of_4, _mm_movehl_ps(of_4, of_4));
    _mm_cvtss_f32(_mm_add_ss(of_2, _mm_movehdup_ps(of_2)))
}

/// A 32 × 32 transpose as four of 16 × 16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) fn transpose_f32_avx512(values: &Square, panel: &mut [f32; 1024]) {
    for row in [0, 16] {
        for column in [0, 16] {
            let mut v = [_mm512_setzero_ps(); 16];
            for i in 0..16 {
                // SAFETY: 16 floats from `column`, 0 or 16, of a row of 32.
                v[i] = unsafe { _mm512_loadu_ps(values.0[row + i].as_ptr().add(column)) };
            }
            let v = transpose_16(v);
            for i in 0..16 {
                // SAFETY: 16 floats from `row`, 0 or 16, of row `column + i` of a panel of 32 by 32.
                unsafe { _mm512_storeu_ps(panel.as_mut_ptr().add((column + i) * WIDTH + row), v[i]) };
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
fn transpose_16(v: [__m512; 16]) -> [__m512; 16] {
    // Pairs of floats, then of pairs: columns 4 b + j of rows 4 a .. 4 a + 4 are 128-bit lane b of `quads[4 a + j]`.
    let mut quads = v;
    for a in 0..4 {
        let row = |i: usize| v[4 * a + i];
        let pair = |x: __m512, y: __m512| {
            (_mm512_castps_pd(_mm512_unpacklo_ps(x, y)), _mm512_castps_pd(_mm512_unpackhi_ps(x, y)))
        };
        let (low_01, high_01) = pair(row(0), row(1));
        let (low_23, high_23) = pair(row(2), row(3));
        quads[4 * a] = _mm512_castpd_ps(_mm512_unpacklo_pd(low_01, low_23));
        quads[4 * a + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low_01, low_23));
        quads[4 * a + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high_01, high_23));
        quads[4 * a + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high_01, high_23));
    }
    // Then 4 × 4 of 128-bit lanes.
    let mut out = quads;
    for j in 0..4 {
        let q = |a: usize| quads[4 * a + j];
        let (even_01, odd_01) =
            (_mm512_shuffle_f32x4::<0x88>(q(0), q(1)), _mm512_shuffle_f32x4::<0xdd>(q(0), q(1)));
        let (even_23, odd_23) =
            (_mm512_shuffle_f32x4::<0x88>(q(2), q(3)), _mm512_shuffle_f32x4::<0xdd>(q(2), q(3)));
        out[j] = _mm512_shuffle_f32x4::<0x88>(even_01, even_23);
        out[4 + j] = _mm512_shuffle_f32x4::<0x88>(odd_01, odd_23);
        out[8 + j] = _mm512_shuffle_f32x4::<0xdd>(even_01, even_23);
        out[12 + j] = _mm512_shuffle_f32x4::<0xdd>(odd_01, odd_23);
    }
    out
}
