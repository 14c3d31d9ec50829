//! Formats of 32 values per block with one scale, and perhaps a minimum.
//!
//! Nibbles: byte `j` of a block holds value `j` in its low half and value `j + 16` in its high half. The fifth bit of
//! value `i`, where there is one, is bit `i` of a 32-bit word.

use super::format::{Format, GROUP, Half};

const HALF: usize = GROUP / 2;

/// `d, q[32]: i8`; value `d * q`.
pub(crate) struct Q8_0;

impl Format for Q8_0 {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 34] = &row.as_chunks().0[group];
        let scale = H::to_f32([block[0], block[1]]);
        for i in 0..GROUP {
            out[i] = f32::from(block[2 + i] as i8) * scale;
        }
    }
}

/// `d, nibbles[16]`; value `d * (q - 8)`.
pub(crate) struct Q4_0;

impl Format for Q4_0 {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 18] = &row.as_chunks().0[group];
        let scale = H::to_f32([block[0], block[1]]);
        for j in 0..HALF {
            let byte = i32::from(block[2 + j]);
            out[j] = ((byte & 15) - 8) as f32 * scale;
            out[j + HALF] = ((byte >> 4) - 8) as f32 * scale;
        }
    }
}

/// `d, m, nibbles[16]`; value `d * q + m`.
pub(crate) struct Q4_1;

impl Format for Q4_1 {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 20] = &row.as_chunks().0[group];
        let (scale, minimum) = (H::to_f32([block[0], block[1]]), H::to_f32([block[2], block[3]]));
        for j in 0..HALF {
            let byte = i32::from(block[4 + j]);
            out[j] = (byte & 15) as f32 * scale + minimum;
            out[j + HALF] = (byte >> 4) as f32 * scale + minimum;
        }
    }
}

/// `d, fifth bits: u32, nibbles[16]`; value `d * (q - 16)`.
pub(crate) struct Q5_0;

impl Format for Q5_0 {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 22] = &row.as_chunks().0[group];
        let scale = H::to_f32([block[0], block[1]]);
        let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
        for j in 0..HALF {
            let (low, high) = five_bits(block[6 + j], fifth, j);
            out[j] = (low - 16) as f32 * scale;
            out[j + HALF] = (high - 16) as f32 * scale;
        }
    }
}

/// `d, m, fifth bits: u32, nibbles[16]`; value `d * q + m`.
pub(crate) struct Q5_1;

impl Format for Q5_1 {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 24] = &row.as_chunks().0[group];
        let (scale, minimum) = (H::to_f32([block[0], block[1]]), H::to_f32([block[2], block[3]]));
        let fifth = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
        for j in 0..HALF {
            let (low, high) = five_bits(block[8 + j], fifth, j);
            out[j] = low as f32 * scale + minimum;
            out[j + HALF] = high as f32 * scale + minimum;
        }
    }
}

/// `d, nibbles[16]`; value `d * TABLE[q]`.
pub(crate) struct Iq4Nl;

impl Iq4Nl {
    pub(super) const TABLE: [f32; 16] = [
        -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0,
        113.0,
    ];
}

impl Format for Iq4Nl {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 18] = &row.as_chunks().0[group];
        let scale = H::to_f32([block[0], block[1]]);
        for j in 0..HALF {
            out[j] = scale * Self::TABLE[usize::from(block[2 + j] & 15)];
            out[j + HALF] = scale * Self::TABLE[usize::from(block[2 + j] >> 4)];
        }
    }
}

/// `e, nibbles[16]`; value `2^(e - 128) * TABLE[q]`: the format MXFP4 of the Open Compute Project (Microscaling Formats 1.0), whose
/// elements are floats with two bits of exponent and one of mantissa, here doubled.
pub(crate) struct Mxfp4;

impl Mxfp4 {
    const TABLE: [f32; 16] =
        [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];
}

impl Format for Mxfp4 {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 17] = &row.as_chunks().0[group];
        let exponent = u32::from(block[0]);
        // The lowest two are subnormal numbers.
        let bits = if exponent < 2 { 1 << (21 + exponent) } else { (exponent - 1) << 23 };
        let scale = f32::from_bits(bits);
        for j in 0..HALF {
            out[j] = Self::TABLE[usize::from(block[1 + j] & 15)] * scale;
            out[j + HALF] = Self::TABLE[usize::from(block[1 + j] >> 4)] * scale;
        }
    }
}

/// Values `j` and `j + 16` of a block with a fifth bit.
#[inline(always)]
fn five_bits(nibbles: u8, fifth: u32, j: usize) -> (i32, i32) {
    let low = u32::from(nibbles & 15) | ((fifth >> j) & 1) << 4;
    let high = u32::from(nibbles >> 4) | ((fifth >> (j + HALF)) & 1) << 4;
    (low as i32, high as i32)
}
