//! Advanced SIMD with products of matrices of 8-bit integers: a 16-bit integer is two of them, `v = 128 · high + low`.
//!
//! The halves of eight values stand together, `[high; 8]` and then `[low; 8]`, as if they were two rows of a matrix. `smmla`
//! multiplies such a matrix of a row of the left-hand side with the transpose of one of a column of the right-hand side: all
//! four products of halves, summed over the eight, in one instruction. The sums are exact, and so the same bits as those
//! of pairs on other tiers.

use std::arch::aarch64::*;
use std::arch::asm;

use super::neon::{dots_f32_f32_neon, tile_f32_f32_neon, transpose_f32_neon};
use crate::isa::table::kernels;
use crate::isa::tier::Tier;
use crate::microkernels;
use crate::tile::{Int16Tile, WIDTH};

kernels! {
    tier: Tier::NeonI8mm,
    max_rows: 6,
    tile: tile_f32_f32_neon,
    int16_tile: tile_i16_i16_neon_i8mm,
    quantize: [quantize_row_to_halves, quantize_panel_to_halves],
    transpose: transpose_f32_neon,
    half: super::FcvtHalf,
    dots: dots_f32_f32_neon,
    features: ["neon,i8mm"]
}

/// Values whose halves stand together.
const EIGHT: usize = 8;
/// The floats whose place they take.
const FLOATS: usize = EIGHT / 2;
/// Columns of a tile whose sums are in registers at once.
const COLUMNS: usize = 4;

/// Does what [`microkernels::quantize_row`] does, and writes the integers in halves.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn quantize_row_to_halves(x: &[f32], q_max: f32, out: &mut [f32]) -> f32 {
    let (inverse, scale) = microkernels::scales(microkernels::row_amax_bits(x), q_max);
    let inverse = vdupq_n_f32(inverse);
    for (out, x) in out.as_chunks_mut::<FLOATS>().0.iter_mut().zip(x.as_chunks::<EIGHT>().0) {
        let [high, low] = halves(round(x, [inverse; 2]));
        // SAFETY: four floats are 16 bytes.
        unsafe { vst1q_s8(out.as_mut_ptr().cast(), vcombine_s8(high, low)) };
    }
    scale
}

/// Does what [`microkernels::quantize_panel`] does, and writes the integers in halves: `[depth / 8][WIDTH]` times 16 bytes.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn quantize_panel_to_halves(panel: &[f32], q_max: f32, out: &mut [f32], column_scales: &mut [f32]) {
    let rows = panel.as_chunks::<WIDTH>().0;
    let amax_bits = microkernels::column_amax_bits(rows);
    let mut inverse = [0.0f32; WIDTH];
    for c in 0..WIDTH {
        (inverse[c], column_scales[c]) = microkernels::scales(amax_bits[c], q_max);
    }
    let inverse = inverse.as_chunks::<EIGHT>().0;
    let groups = out.as_chunks_mut::<{ FLOATS * WIDTH }>().0;
    for (out, rows) in groups.iter_mut().zip(rows.as_chunks::<EIGHT>().0) {
        for (block, out) in out.as_chunks_mut::<{ FLOATS * EIGHT }>().0.iter_mut().enumerate() {
            // SAFETY: the block has eight values.
            let inverse = unsafe { vld1q_f32_x2(inverse[block].as_ptr()) };
            let inverse = [inverse.0, inverse.1];
            let (mut high, mut low) = ([vdup_n_s8(0); EIGHT], [vdup_n_s8(0); EIGHT]);
            for (i, row) in rows.iter().enumerate() {
                [high[i], low[i]] = halves(round(&row.as_chunks().0[block], inverse));
            }
            let (high, low) = (transpose_8(high), transpose_8(low));
            for pair in 0..EIGHT / 2 {
                let (high, low) = (vreinterpretq_s64_s8(high[pair]), vreinterpretq_s64_s8(low[pair]));
                let out = out[2 * pair * FLOATS..].as_mut_ptr().cast::<i64>();
                // SAFETY: the floats from there on are those of two columns at least, 16 bytes each.
                unsafe {
                    vst1q_s64(out, vzip1q_s64(high, low));
                    vst1q_s64(out.add(2), vzip2q_s64(high, low));
                }
            }
        }
    }
}

/// Rounds to the nearest integers, as the portable micro-kernel does.
#[inline]
#[target_feature(enable = "neon")]
fn round(x: &[f32; EIGHT], inverse: [float32x4_t; 2]) -> int16x8_t {
    let offset = vdupq_n_f32(microkernels::ROUND_MAGIC);
    let four = |i: usize| {
        // SAFETY: four floats from `4 i`, with `i` below 2.
        let x = unsafe { vld1q_f32(x.as_ptr().add(4 * i)) };
        let moved = vreinterpretq_s32_f32(vaddq_f32(vmulq_f32(x, inverse[i]), offset));
        vmovn_s32(vsubq_s32(moved, vreinterpretq_s32_f32(offset)))
    };
    vcombine_s16(four(0), four(1))
}

/// The high and the low halves; low ones are from -64 to 63.
#[inline]
#[target_feature(enable = "neon")]
fn halves(v: int16x8_t) -> [int8x8_t; 2] {
    let high = vshrq_n_s16::<7>(vaddq_s16(v, vdupq_n_s16(64)));
    let low = vsubq_s16(v, vshlq_n_s16::<7>(high));
    [vmovn_s16(high), vmovn_s16(low)]
}

/// Turns eight rows of eight bytes into their columns, two in each vector.
#[inline]
#[target_feature(enable = "neon")]
fn transpose_8(rows: [int8x8_t; EIGHT]) -> [int8x16_t; EIGHT / 2] {
    let zip = |a: usize| vcombine_s8(vzip1_s8(rows[a], rows[a + 4]), vzip2_s8(rows[a], rows[a + 4]));
    let (even, odd) = ([zip(0), zip(2)], [zip(1), zip(3)]);
    let (even_low, even_high) = (vzip1q_s8(even[0], even[1]), vzip2q_s8(even[0], even[1]));
    let (odd_low, odd_high) = (vzip1q_s8(odd[0], odd[1]), vzip2q_s8(odd[0], odd[1]));
    [
        vzip1q_s8(even_low, odd_low),
        vzip2q_s8(even_low, odd_low),
        vzip1q_s8(even_high, odd_high),
        vzip2q_s8(even_high, odd_high),
    ]
}

/// # Safety
/// The machine must have the instructions, and the tile's pointers must be valid.
#[target_feature(enable = "neon,i8mm")]
unsafe fn tile_i16_i16_neon_i8mm(tile: Int16Tile) {
    if !tile.fits() {
        debug_assert!(false, "a tile of {} rows and {} pairs", tile.rows, tile.pairs);
        return;
    }
    for first in (0..WIDTH).step_by(COLUMNS) {
        // SAFETY: the tile fits, its pointers are valid, it has that number of rows, and there are so many columns from
        // `first` on.
        unsafe {
            match tile.rows {
                1 => multiply_halves::<1>(&tile, first),
                2 => multiply_halves::<2>(&tile, first),
                3 => multiply_halves::<3>(&tile, first),
                4 => multiply_halves::<4>(&tile, first),
                5 => multiply_halves::<5>(&tile, first),
                6 => multiply_halves::<6>(&tile, first),
                _ => debug_assert!(false, "a tile of {} rows", tile.rows),
            }
        }
    }
}

/// `ROWS` rows by four columns, from column `first` on.
///
/// # Safety
/// The tile must fit, have valid pointers and `ROWS` rows; `first` is at most `WIDTH - COLUMNS`.
#[target_feature(enable = "neon,i8mm")]
unsafe fn multiply_halves<const ROWS: usize>(tile: &Int16Tile, first: usize) {
    let mut products = [[vdupq_n_s32(0); COLUMNS]; ROWS];
    // SAFETY: all offsets are below the lengths that the caller promises.
    unsafe {
        let (mut x, mut panel) = (tile.x.as_ptr(), tile.panel.as_ptr().add(first * FLOATS));
        for _ in 0..tile.pairs / FLOATS {
            let mut b = [vdupq_n_s8(0); COLUMNS];
            for (c, b) in b.iter_mut().enumerate() {
                *b = vld1q_s8(panel.add(c * FLOATS).cast());
            }
            for r in 0..ROWS {
                let a = vld1q_s8(x.add(r * tile.x_stride).cast());
                for c in 0..COLUMNS {
                    products[r][c] = add_products(products[r][c], a, b[c]);
                }
            }
            x = x.wrapping_add(FLOATS);
            panel = panel.wrapping_add(FLOATS * WIDTH);
        }
        let scales = vld1q_f32(tile.scales.as_ptr().add(first));
        for r in 0..ROWS {
            let factor = vmulq_n_f32(scales, *tile.x_scales.as_ptr().add(r));
            let (from, to) = tile.pointers(r, first);
            let start = from.map_or(vdupq_n_f32(0.0), |from| vld1q_f32(from));
            vst1q_f32(to, vfmaq_f32(start, vcvtq_f32_s32(combine_halves(products[r])), factor));
        }
    }
}

/// The products of values, from the products of their halves: `high·high, high·low, low·high, low·low` of four columns.
#[inline]
#[target_feature(enable = "neon")]
fn combine_halves(products: [int32x4_t; COLUMNS]) -> int32x4_t {
    let weights = vcombine_s32(vcreate_s32(128 << 32 | 128 * 128), vcreate_s32(1 << 32 | 128));
    let [a, b, c, d] = products;
    let ab = vpaddq_s32(vmulq_s32(a, weights), vmulq_s32(b, weights));
    vpaddq_s32(ab, vpaddq_s32(vmulq_s32(c, weights), vmulq_s32(d, weights)))
}

/// The 2 × 2 matrix `sums + a bᵀ`, of matrices of 2 × 8. Rust has no stable intrinsic for it.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn add_products(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction reads and writes these registers only.
    unsafe {
        asm!("smmla {sums:v}.4s, {a:v}.16b, {b:v}.16b", sums = inout(vreg) sums, a = in(vreg) a, b = in(vreg) b,
             options(pure, nomem, nostack, preserves_flags));
    }
    sums
}
