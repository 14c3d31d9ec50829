//! AVX2 with the VNNI instructions in its encoding: products of 16-bit integers two at a time; all else as without.

use std::arch::asm;
use std::arch::x86_64::*;

use super::avx2::{dots_f32_f32_avx2, tile_f32_f32_avx2, transpose_f32_avx2};
use super::int16_256::tile_i16_i16_256;
use crate::isa::table::kernels;
use crate::isa::tier::Tier;
use crate::tile::{Int16Tile, WIDTH};

kernels! {
    tier: Tier::AvxVnni,
    max_rows: 6,
    tile: tile_f32_f32_avx2,
    int16_tile: tile_i16_i16_avx_vnni,
    quantize: [crate::microkernels::quantize_row, crate::microkernels::quantize_panel],
    transpose: transpose_f32_avx2,
    half: super::F16c,
    dots: dots_f32_f32_avx2,
    features: ["avx2,fma,f16c,avxvnni"]
}

tile_i16_i16_256!(tile_i16_i16_avx_vnni, add_products, "avx2,fma,f16c,avxvnni");

/// Adds products as AVX-512 does, in assembly for the reason that is given there.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn add_products(mut sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: the instruction reads and writes these registers only.
    unsafe {
        asm!("{{vex}} vpdpwssd {sums}, {a}, {b}", sums = inout(ymm_reg) sums, a = in(ymm_reg) a, b = in(ymm_reg) b,
             options(pure, nomem, nostack, preserves_flags));
    }
    sums
}
