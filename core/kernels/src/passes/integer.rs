//! Rounding of rows to bytes, panels of integer weights, and the product of the two.

use std::ops::Range;

use super::Square;
use crate::gemm::{Group, IntegerPanel};
use crate::isa::{QuantizedTile, WIDTH};
use crate::weights::{GROUP, IntegerFormat, Source};

/// Groups that are transposed together: as many bytes as a [`Square`] has floats in a row.
const BUNDLE: usize = 4;
/// What is added to a stored integer to make a byte without sign of it.
const OFFSET: u8 = 128;

/// Rounds each 32 values to bytes with one scale, the largest to ±127. Where one is not finite, the scale is not a number.
#[inline(always)]
pub(crate) fn quantize(x: &[f32], out: &mut [Group]) {
    for (x, out) in x.as_chunks::<GROUP>().0.iter().zip(out) {
        // Magnitudes compare as their bits do, and what is not finite is above all that is.
        let mut largest = 0u32;
        for value in x {
            largest = largest.max(value.abs().to_bits());
        }
        let largest = f32::from_bits(largest);
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        let mut rounded = [0i32; GROUP];
        for i in 0..GROUP {
            rounded[i] = round(x[i] * inverse);
        }
        let mut halves = [0i32; 2];
        for (sum, half) in halves.iter_mut().zip(rounded.as_chunks::<{ GROUP / 2 }>().0) {
            *sum = half.iter().sum();
        }
        for i in 0..GROUP {
            out.q[i] = rounded[i] as i8;
        }
        out.scale = if largest.is_finite() { largest / 127.0 } else { f32::NAN };
        out.sum = out.scale * (halves[0] + halves[1]) as f32;
        out.offsets = halves.map(|sum| -i32::from(OFFSET) * sum);
    }
}

/// To the nearest integer, for magnitudes far below 2^22; some number for what is not one.
#[inline(always)]
fn round(value: f32) -> i32 {
    /// Adding this leaves an integer in the low bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    (value + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32
}

/// Weights of rows `rows` (at most 32), groups `groups`, as an [`IntegerPanel`]; columns without a row are 0.
#[inline(always)]
pub(crate) fn panel_integers<F: IntegerFormat>(
    source: Source,
    rows: Range<usize>,
    groups: Range<usize>,
    panel: IntegerPanel,
    transpose: impl Fn(&Square, &mut [f32; WIDTH * GROUP]),
) {
    let mut values = Square([[0.0; GROUP]; WIDTH]);
    let first = groups.start;
    let (bundles, _) = panel.bytes.as_chunks_mut::<{ WIDTH * GROUP }>();
    for (bundle, bytes) in groups.clone().step_by(BUNDLE).zip(bundles) {
        for group in bundle..(bundle + BUNDLE).min(groups.end) {
            let place = (group - first) * WIDTH;
            let scales = &mut panel.scales[2 * place..2 * (place + WIDTH)];
            let (low, high) = scales.split_at_mut(WIDTH);
            let minima = &mut panel.minima[place..place + WIDTH];
            for (column, row) in rows.clone().enumerate() {
                let mut integers = [0i8; GROUP];
                [low[column], high[column], minima[column]] =
                    F::integers(source.row(row), group, &mut integers);
                let words = &mut values.0[column][8 * (group - bundle)..][..8];
                for (word, bytes) in words.iter_mut().zip(integers.as_chunks::<4>().0) {
                    let bytes = bytes.map(|q| (q as u8) ^ OFFSET);
                    *word = f32::from_bits(u32::from_le_bytes(bytes));
                }
            }
            for part in [&mut low[rows.len()..], &mut high[rows.len()..], &mut minima[rows.len()..]] {
                part.fill(0.0);
            }
        }
        transpose(&values, bytes);
    }
}

/// The product of a tile, one multiplication of bytes at a time: for tiers without an instruction for it.
#[inline(always)]
pub(crate) fn quantized_tile(tile: QuantizedTile) {
    for (row, sums) in tile.sums.as_chunks_mut::<WIDTH>().0[..tile.rows].iter_mut().enumerate() {
        let x = &tile.x[row * tile.x_stride..][..tile.groups];
        for (group, x) in x.iter().enumerate() {
            // Four bytes are one float.
            let words = &tile.panel[group * 8 * WIDTH..][..8 * WIDTH];
            let mut dots = [[0i32; WIDTH]; 2];
            for (k, words) in words.as_chunks::<WIDTH>().0.iter().enumerate() {
                let q: [i32; 4] = std::array::from_fn(|i| i32::from(x.q[4 * k + i]));
                let dots = &mut dots[k / 4];
                for column in 0..WIDTH {
                    let bytes = words[column].to_bits().to_le_bytes();
                    for i in 0..4 {
                        dots[column] += q[i] * i32::from((bytes[i] ^ OFFSET) as i8);
                    }
                }
            }
            let scales = tile.scales[2 * group * WIDTH..][..2 * WIDTH].as_chunks::<WIDTH>().0;
            for column in 0..WIDTH {
                if tile.by_halves {
                    for half in 0..2 {
                        let factor = scales[half][column] * x.scale;
                        sums[column] = (dots[half][column] as f32).mul_add(factor, sums[column]);
                    }
                } else {
                    let dot = dots[0][column] + dots[1][column];
                    sums[column] = (dot as f32).mul_add(scales[0][column] * x.scale, sums[column]);
                }
            }
            if let Some(minima) = tile.minima {
                for column in 0..WIDTH {
                    sums[column] = minima[group * WIDTH + column].mul_add(x.sum, sums[column]);
                }
            }
        }
    }
}
