//! AVX-512 with VNNI: products of 16-bit integers two at a time; all else as without.

use std::arch::asm;
use std::arch::x86_64::*;

use super::avx512::{dots_f32_f32_avx512, tile_f32_f32_avx512, transpose_f32_avx512};
use super::lhs::LhsRows;
use crate::isa::table::kernels;
use crate::isa::tier::Tier;
use crate::tile::{Int16Tile, WIDTH};

kernels! {
    tier: Tier::Avx512Vnni,
    max_rows: 14,
    tile: tile_f32_f32_avx512,
    int16_tile: tile_i16_i16_avx512_vnni,
    quantize: [crate::microkernels::quantize_row, crate::microkernels::quantize_panel],
    transpose: transpose_f32_avx512,
    half: super::F16c,
    dots: dots_f32_f32_avx512,
    features: ["avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"]
}

/// # Safety
/// The machine must have the instructions, and the tile's pointers must be valid.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn tile_i16_i16_avx512_vnni(tile: Int16Tile) {
    if !tile.fits() {
        debug_assert!(false, "a tile of {} rows and {} pairs", tile.rows, tile.pairs);
        return;
    }
    macro_rules! rows {
        ($($rows:literal)*) => {
            // SAFETY: the slices have what a tile of so many rows and pairs reads; the caller promises the pointers.
            unsafe {
                match tile.rows {
                    $($rows => multiply_pairs::<$rows>(tile),)*
                    _ => debug_assert!(false, "a tile of {} rows", tile.rows),
                }
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// `ROWS` rows by two vectors of 16 columns.
///
/// # Safety
/// The slices must be as long as the tile's rows and pairs ask for, its pointers valid.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn multiply_pairs<const ROWS: usize>(tile: Int16Tile) {
    let mut dots = [[_mm512_setzero_si512(); 2]; ROWS];
    // SAFETY: all offsets are below the lengths that the caller promises.
    unsafe {
        let mut x = LhsRows::new(tile.x.as_ptr().cast::<i32>(), tile.x_stride, ROWS);
        let mut panel = tile.panel.as_ptr();
        for _ in 0..tile.pairs {
            let b0 = _mm512_loadu_si512(panel.cast());
            let b1 = _mm512_loadu_si512(panel.add(16).cast());
            for r in 0..ROWS {
                let a = _mm512_set1_epi32(*x.at(r));
                dots[r][0] = add_products(dots[r][0], a, b0);
                dots[r][1] = add_products(dots[r][1], a, b1);
            }
            x.advance();
            panel = panel.add(WIDTH);
        }
        let scales = tile.scales.as_ptr();
        let scales = [_mm512_loadu_ps(scales), _mm512_loadu_ps(scales.add(16))];
        for r in 0..ROWS {
            let factor = _mm512_set1_ps(*tile.x_scales.as_ptr().add(r));
            for v in 0..2 {
                let (from, to) = tile.pointers(r, 16 * v);
                let (dot, factor) = (_mm512_cvtepi32_ps(dots[r][v]), _mm512_mul_ps(scales[v], factor));
                let start = from.map_or(_mm512_setzero_ps(), |from| _mm512_loadu_ps(from));
                _mm512_storeu_ps(to, _mm512_fmadd_ps(dot, factor, start));
            }
        }
    }
}

/// `sums + a₀ b₀ + a₁ b₁` of the 16-bit halves of each lane. The compiler would make a multiplication and an addition of the
/// intrinsic, which take twice as long.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add_products(mut sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the instruction reads and writes these registers only.
    unsafe {
        asm!("vpdpwssd {sums}, {a}, {b}", sums = inout(zmm_reg) sums, a = in(zmm_reg) a, b = in(zmm_reg) b,
             options(pure, nomem, nostack, preserves_flags));
    }
    sums
}
