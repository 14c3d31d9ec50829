//! Rounding of rows and panels to 16 bits, and the product of the two.

use crate::gemm::PAIR;
use crate::isa::{RoundedTile, WIDTH};

/// Adding this leaves an integer in the low bits.
pub(crate) const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23

/// Rounds a block of a row to pairs; returns its scale, which is not a number if a value is not finite.
#[inline(always)]
pub(crate) fn round_row(x: &[f32], steps: f32, pairs: &mut [f32]) -> f32 {
    let (inverse, scale) = scales(largest_of_row(x), steps);
    for (pair, x) in pairs.iter_mut().zip(x.as_chunks::<PAIR>().0) {
        *pair = joined(round(x[0] * inverse), round(x[1] * inverse));
    }
    scale
}

/// Rounds a panel `[depth][WIDTH]` of an even depth to pairs `[depth / 2][WIDTH]`, with a scale for each column.
#[inline(always)]
pub(crate) fn round_panel(panel: &[f32], steps: f32, pairs: &mut [f32], column_scales: &mut [f32]) {
    let rows = panel.as_chunks::<WIDTH>().0;
    let largest = largest_of_columns(rows);
    let mut inverse = [0.0f32; WIDTH];
    for c in 0..WIDTH {
        (inverse[c], column_scales[c]) = scales(largest[c], steps);
    }
    for (pairs, rows) in pairs.as_chunks_mut::<WIDTH>().0.iter_mut().zip(rows.as_chunks::<PAIR>().0) {
        for c in 0..WIDTH {
            pairs[c] = joined(round(rows[0][c] * inverse[c]), round(rows[1][c] * inverse[c]));
        }
    }
}

/// The product of a tile, in plain integers: for tiers without an instruction for pairs.
///
/// # Safety
/// The tile's pointers must be valid.
#[inline(always)]
pub(crate) unsafe fn rounded_tile(tile: RoundedTile) {
    let panel = &tile.panel.as_chunks::<WIDTH>().0[..tile.pairs];
    for row in 0..tile.rows {
        let x = &tile.x[row * tile.x_stride..][..tile.pairs];
        let mut dots = [0i32; WIDTH];
        for (x, panel) in x.iter().zip(panel) {
            let [x0, x1] = separated(*x);
            for c in 0..WIDTH {
                let [w0, w1] = separated(panel[c]);
                // They can only wrap where a scale is not a number, and with it the result.
                dots[c] = dots[c].wrapping_add(x0 * w0).wrapping_add(x1 * w1);
            }
        }
        for c in 0..WIDTH {
            let product = |start| (dots[c] as f32).mul_add(tile.scales[c] * tile.x_scales[row], start);
            // SAFETY: the row and the column are the tile's, and its pointers valid.
            unsafe {
                let (from, to) = tile.place(row, c);
                *to = product(from.map_or(0.0, |from| *from));
            }
        }
    }
}

/// The bits of the largest magnitude. Magnitudes compare as their bits do, and what is not finite is above all that is.
#[inline(always)]
pub(crate) fn largest_of_row(x: &[f32]) -> u32 {
    let mut largest = 0u32;
    for value in x {
        largest = largest.max(value.abs().to_bits());
    }
    largest
}

/// The same of each column.
#[inline(always)]
pub(crate) fn largest_of_columns(rows: &[[f32; WIDTH]]) -> [u32; WIDTH] {
    let mut largest = [0u32; WIDTH];
    for row in rows {
        for c in 0..WIDTH {
            largest[c] = largest[c].max(row[c].abs().to_bits());
        }
    }
    largest
}

/// What to multiply by to get to the steps, and back, for a largest magnitude with these bits.
#[inline(always)]
pub(crate) fn scales(largest: u32, steps: f32) -> (f32, f32) {
    /// Below this the inverse would overflow; such values are rounded to 0.
    const SMALLEST: f32 = 1e-30;
    let largest = f32::from_bits(largest);
    let inverse = if largest > SMALLEST { steps / largest } else { 0.0 };
    let scale = if largest.is_finite() { largest / steps } else { f32::NAN };
    (inverse, scale)
}

/// To the nearest integer, for magnitudes far below 2^22; some number for what is not one.
#[inline(always)]
fn round(value: f32) -> i32 {
    (value + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32
}

/// Two numbers of 16 bits in the place of a float.
#[inline(always)]
fn joined(low: i32, high: i32) -> f32 {
    f32::from_bits((low as u32 & 0xffff) | ((high as u32) << 16))
}

#[inline(always)]
fn separated(pair: f32) -> [i32; 2] {
    let bits = pair.to_bits();
    [i32::from(bits as u16 as i16), i32::from((bits >> 16) as u16 as i16)]
}
