//! Quantizes rows and panels to 16-bit integers, and multiplies the two.

use crate::tile::{Int16Tile, PAIR, WIDTH};

/// Adding this to a float leaves its nearest integer in the low bits.
pub(crate) const ROUND_MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23

/// Quantizes a block of a row to pairs of integers; returns its scale, which is not a number if a value is not finite.
#[inline(always)]
pub(crate) fn quantize_row(x: &[f32], q_max: f32, pairs: &mut [f32]) -> f32 {
    let (inverse, scale) = scales(row_amax_bits(x), q_max);
    for (pair, x) in pairs.iter_mut().zip(x.as_chunks::<PAIR>().0) {
        *pair = pack_pair(round(x[0] * inverse), round(x[1] * inverse));
    }
    scale
}

/// Quantizes a panel `[depth][WIDTH]` of an even depth to pairs `[depth / 2][WIDTH]`, with a scale for each column.
#[inline(always)]
pub(crate) fn quantize_panel(panel: &[f32], q_max: f32, pairs: &mut [f32], column_scales: &mut [f32]) {
    let rows = panel.as_chunks::<WIDTH>().0;
    let amax_bits = column_amax_bits(rows);
    let mut inverse = [0.0f32; WIDTH];
    for c in 0..WIDTH {
        (inverse[c], column_scales[c]) = scales(amax_bits[c], q_max);
    }
    for (pairs, rows) in pairs.as_chunks_mut::<WIDTH>().0.iter_mut().zip(rows.as_chunks::<PAIR>().0) {
        for c in 0..WIDTH {
            pairs[c] = pack_pair(round(rows[0][c] * inverse[c]), round(rows[1][c] * inverse[c]));
        }
    }
}

/// Computes a tile in plain integers, for tiers without an instruction for pairs.
///
/// # Safety
/// The tile's pointers must be valid.
#[inline(always)]
pub(crate) unsafe fn int16_tile(tile: Int16Tile) {
    let panel = &tile.panel.as_chunks::<WIDTH>().0[..tile.pairs];
    for row in 0..tile.rows {
        let x = &tile.x[row * tile.x_stride..][..tile.pairs];
        let mut dots = [0i32; WIDTH];
        for (x, panel) in x.iter().zip(panel) {
            let [x0, x1] = unpack_pair(*x);
            for c in 0..WIDTH {
                let [w0, w1] = unpack_pair(panel[c]);
                // They can only wrap where a scale is not a number, and with it the result.
                dots[c] = dots[c].wrapping_add(x0 * w0).wrapping_add(x1 * w1);
            }
        }
        for c in 0..WIDTH {
            let product = |start| (dots[c] as f32).mul_add(tile.scales[c] * tile.x_scales[row], start);
            // SAFETY: the row and the column are the tile's, and its pointers valid.
            unsafe {
                let (from, to) = tile.pointers(row, c);
                *to = product(from.map_or(0.0, |from| *from));
            }
        }
    }
}

/// The bits of the largest magnitude in a row. Magnitudes compare as their bits do; what is not finite is above all that is.
#[inline(always)]
pub(crate) fn row_amax_bits(x: &[f32]) -> u32 {
    let mut largest = 0u32;
    for value in x {
        largest = largest.max(value.abs().to_bits());
    }
    largest
}

/// The bits of the largest magnitude in each column.
#[inline(always)]
pub(crate) fn column_amax_bits(rows: &[[f32; WIDTH]]) -> [u32; WIDTH] {
    let mut largest = [0u32; WIDTH];
    for row in rows {
        for c in 0..WIDTH {
            largest[c] = largest[c].max(row[c].abs().to_bits());
        }
    }
    largest
}

/// The factor from floats to integers of magnitudes up to `q_max`, and the one back, for a largest magnitude with these bits.
#[inline(always)]
pub(crate) fn scales(amax_bits: u32, q_max: f32) -> (f32, f32) {
    /// Below this the inverse would overflow; such values are rounded to 0.
    const SMALLEST: f32 = 1e-30;
    let amax = f32::from_bits(amax_bits);
    let inverse = if amax > SMALLEST { q_max / amax } else { 0.0 };
    let scale = if amax.is_finite() { amax / q_max } else { f32::NAN };
    (inverse, scale)
}

/// Rounds to the nearest integer, for magnitudes far below 2^22; what is not a number becomes some integer.
#[inline(always)]
fn round(value: f32) -> i32 {
    (value + ROUND_MAGIC).to_bits().wrapping_sub(ROUND_MAGIC.to_bits()) as i32
}

/// Puts two integers of 16 bits in the place of a float.
#[inline(always)]
fn pack_pair(low: i32, high: i32) -> f32 {
    f32::from_bits((low as u32 & 0xffff) | ((high as u32) << 16))
}

/// The two integers that [`pack_pair`] put in the place of a float.
#[inline(always)]
fn unpack_pair(pair: f32) -> [i32; 2] {
    let bits = pair.to_bits();
    [i32::from(bits as u16 as i16), i32::from((bits >> 16) as u16 as i16)]
}
