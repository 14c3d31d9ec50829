//! AVX2 with the VNNI instructions in its encoding: products of 16-bit integers two at a time; all else as without.

use std::arch::asm;
use std::arch::x86_64::*;

use super::avx2::{dots_f32_f32_avx2, tile_f32_f32_avx2, transpose};
use super::int16_256::rounded_tile_256;
use crate::isa::table::kernels;
use crate::isa::{RoundedTile, Tier, WIDTH};

kernels! {
    tier: Tier::AvxVnni,
    max_rows: 6,
    tile: tile_f32_f32_avx2,
    rounded_tile: rounded_tile,
    round: [crate::microkernels::round_row, crate::microkernels::round_panel],
    transpose: transpose,
    half: super::F16c,
    dots: dots_f32_f32_avx2,
    features: ["avx2,fma,f16c,avxvnni"]
}

rounded_tile_256!(add_products, "avx2,fma,f16c,avxvnni");

/// In assembly for the reason that is given for AVX-512.
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
