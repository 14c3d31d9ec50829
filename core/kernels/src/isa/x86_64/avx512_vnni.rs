//! AVX-512 with VNNI: products of bytes four at a time; all else as without.

use std::arch::x86_64::*;

use super::avx512::{tile_f32_f32_avx512, transpose};
use crate::isa::table::kernels;
use crate::isa::{QuantizedTile, Tier, WIDTH};

kernels! {
    tier: Tier::Avx512Vnni,
    max_rows: 14,
    tile: tile_f32_f32_avx512,
    quantized_rows: 6,
    quantized_tile: tile_integer_i8_avx512_vnni,
    transpose: transpose,
    features: ["avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma"]
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
fn tile_integer_i8_avx512_vnni(tile: QuantizedTile) {
    let fits = tile.x.len() >= (tile.rows - 1) * tile.x_stride + tile.groups
        && tile.panel.len() >= tile.groups * 8 * WIDTH
        && tile.scales.len() >= tile.groups * 2 * WIDTH
        && tile.minima.is_none_or(|minima| minima.len() >= tile.groups * WIDTH)
        && tile.sums.len() >= tile.rows * WIDTH;
    if !fits {
        debug_assert!(false, "a tile of {} rows and {} groups", tile.rows, tile.groups);
        return;
    }
    macro_rules! rows {
        ($($rows:literal)*) => {
            // SAFETY: the slices have what a tile of so many rows and groups reads and writes.
            unsafe {
                match (tile.rows, tile.by_halves, tile.minima.is_some()) {
                    $(($rows, false, false) => multiply_groups::<$rows, 1, false>(tile),
                    ($rows, false, true) => multiply_groups::<$rows, 1, true>(tile),
                    ($rows, true, _) => multiply_groups::<$rows, 2, false>(tile),)*
                    _ => debug_assert!(false, "a tile of {} rows", tile.rows),
                }
            }
        };
    }
    rows!(1 2 3 4 5 6);
}

/// `ROWS` rows by two vectors of 16 columns, with `SCALES` scales for the parts of a group.
///
/// The panel's bytes have no sign and are 128 too large, for which the sums of products start at −128 Σ q.
///
/// # Safety
/// The slices must be as long as the tile's rows and groups ask for.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn multiply_groups<const ROWS: usize, const SCALES: usize, const MINIMA: bool>(tile: QuantizedTile) {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    let out = tile.sums.as_mut_ptr();
    // SAFETY: all offsets are below the lengths that the caller promises.
    unsafe {
        for r in 0..ROWS {
            for v in 0..2 {
                sums[r][v] = _mm512_loadu_ps(out.add(r * WIDTH + 16 * v));
            }
        }
        let (mut x, mut panel, mut scales) = (tile.x.as_ptr(), tile.panel.as_ptr(), tile.scales.as_ptr());
        let mut minima = tile.minima.map_or(std::ptr::null(), <[f32]>::as_ptr);
        macro_rules! multiply_part {
            ($part:literal, $parts:expr) => {
                let mut dots = [[_mm512_setzero_si512(); 2]; ROWS];
                for r in 0..ROWS {
                    let offsets = (*x.add(r * tile.x_stride)).offsets;
                    let offset = if $parts == 1 { offsets[0] + offsets[1] } else { offsets[$part] };
                    dots[r] = [_mm512_set1_epi32(offset); 2];
                }
                for k in 0..8 / $parts {
                    let k = k + 8 / $parts * $part;
                    let b0 = _mm512_loadu_si512(panel.add(k * WIDTH).cast());
                    let b1 = _mm512_loadu_si512(panel.add(k * WIDTH + 16).cast());
                    for r in 0..ROWS {
                        let q: *const i32 = (&raw const (*x.add(r * tile.x_stride)).q).cast();
                        let a = _mm512_set1_epi32(*q.add(k));
                        dots[r][0] = _mm512_dpbusd_epi32(dots[r][0], b0, a);
                        dots[r][1] = _mm512_dpbusd_epi32(dots[r][1], b1, a);
                    }
                }
                let scale = [
                    _mm512_loadu_ps(scales.add($part * WIDTH)),
                    _mm512_loadu_ps(scales.add($part * WIDTH + 16)),
                ];
                for r in 0..ROWS {
                    let factor = _mm512_set1_ps((*x.add(r * tile.x_stride)).scale);
                    for v in 0..2 {
                        let dot = _mm512_cvtepi32_ps(dots[r][v]);
                        sums[r][v] = _mm512_fmadd_ps(dot, _mm512_mul_ps(scale[v], factor), sums[r][v]);
                    }
                }
            };
        }
        for _ in 0..tile.groups {
            // Written out, so that the parts are constants.
            multiply_part!(0, SCALES);
            if SCALES == 2 {
                multiply_part!(1, SCALES);
            }
            if MINIMA {
                let minimum = [_mm512_loadu_ps(minima), _mm512_loadu_ps(minima.add(16))];
                for r in 0..ROWS {
                    let sum = _mm512_set1_ps((*x.add(r * tile.x_stride)).sum);
                    for v in 0..2 {
                        sums[r][v] = _mm512_fmadd_ps(minimum[v], sum, sums[r][v]);
                    }
                }
                minima = minima.add(WIDTH);
            }
            x = x.add(1);
            panel = panel.add(8 * WIDTH);
            scales = scales.add(2 * WIDTH);
        }
        for r in 0..ROWS {
            for v in 0..2 {
                _mm512_storeu_ps(out.add(r * WIDTH + 16 * v), sums[r][v]);
            }
        }
    }
}
