//! Formats of 256 values per block: eight groups of 32, each with scales of their own.

use super::blocks::Iq4Nl;
use super::format::{Format, GROUP, Half};

/// `16 bytes of a 4-bit scale and a 4-bit minimum, pairs of bits[64], d, dmin`; value `d * scale * q - dmin * minimum`.
///
/// Each half of 128 values is four groups, of which group `g` takes bits `2 g, 2 g + 1` of the half's 32 bytes. A scale and a
/// minimum, in the upper half of their byte, cover 16 values.
pub(crate) struct Q2K;

impl Format for Q2K {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 84] = &row.as_chunks().0[group / 8];
        let (half, shift) = (group % 8 / 4, 2 * (group % 4));
        let (d, dmin) = (H::to_f32([block[80], block[81]]), H::to_f32([block[82], block[83]]));
        let packed = block.as_chunks::<2>().0[group % 8];
        let scales = packed.map(|byte| d * f32::from(byte & 15));
        let minima = packed.map(|byte| dmin * f32::from(byte >> 4));
        let pairs = &block[16..].as_chunks::<GROUP>().0[half];
        for i in 0..GROUP {
            out[i] = scales[i / 16] * f32::from((pairs[i] >> shift) & 3) - minima[i / 16];
        }
    }
}

/// `third bits[32], pairs of bits[64], 12 bytes of 6-bit scales, d`; value `d * (scale - 32) * (q - 4)`.
///
/// Pairs of bits lie as in [`Q2K`]; bit `g` of byte `i` of the third bits belongs to value `i` of group `g`. A scale covers 16
/// values: scale `s` has its low nibble in the low half of byte `s`, or, from 8 on, the high half of byte `s - 8`, and its upper
/// two bits in byte `8 + s % 4`, from bit `2 (s / 4)` on.
pub(crate) struct Q3K;

impl Format for Q3K {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 110] = &row.as_chunks().0[group / 8];
        let group = group % 8;
        let (half, shift) = (group / 4, 2 * (group % 4));
        let d = H::to_f32([block[108], block[109]]);
        let packed = &block[96..108];
        let scales = [2 * group, 2 * group + 1].map(|s| {
            let low = (packed[s % 8] >> (4 * (s / 8))) & 15;
            let high = (packed[8 + s % 4] >> (2 * (s / 4))) & 3;
            d * f32::from((low | high << 4) as i8 - 32)
        });
        let parts = block.as_chunks::<GROUP>().0;
        let (third, pairs) = (&parts[0], &parts[1 + half]);
        for i in 0..GROUP {
            let q = ((pairs[i] >> shift) & 3) | ((third[i] >> group) & 1) << 2;
            out[i] = scales[i / 16] * f32::from(q as i8 - 4);
        }
    }
}

/// `d, dmin, 12 bytes of 6-bit scales and minima, nibbles[128]`; value `d * scale * q - dmin * minimum`.
///
/// Groups `2 p` and `2 p + 1` share 32 bytes of nibbles: low halves, then high halves.
pub(crate) struct Q4K;

impl Format for Q4K {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 144] = &row.as_chunks().0[group / 8];
        let group = group % 8;
        let (scale, minimum) = scale_and_minimum::<H>(block, group);
        let nibbles = &block[16..].as_chunks::<GROUP>().0[group / 2];
        let shift = 4 * (group % 2);
        for i in 0..GROUP {
            let q = (nibbles[i] >> shift) & 15;
            out[i] = scale * f32::from(q) - minimum;
        }
    }
}

/// The layout is that of [`Q4K`] with 32 bytes of fifth bits before the nibbles: bit `g` of byte `i` belongs to value `i` of group `g`.
pub(crate) struct Q5K;

impl Format for Q5K {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 176] = &row.as_chunks().0[group / 8];
        let group = group % 8;
        let (scale, minimum) = scale_and_minimum::<H>(block, group);
        let parts = block[16..].as_chunks::<GROUP>().0;
        let (fifth, nibbles) = (&parts[0], &parts[1 + group / 2]);
        let shift = 4 * (group % 2);
        for i in 0..GROUP {
            let q = ((nibbles[i] >> shift) & 15) | ((fifth[i] >> group) & 1) << 4;
            out[i] = scale * f32::from(q) - minimum;
        }
    }
}

/// `nibbles[128], upper pairs of bits[64], 16 scales: i8, d`; value `d * scale * (q - 32)`.
///
/// Each half of 128 values is four groups: group `g` takes its nibbles from 32 bytes number `g % 2`, the low halves
/// for `g < 2`, and bits `2 g, 2 g + 1` of the half's 32 bytes of upper bits. A scale covers 16 values.
pub(crate) struct Q6K;

impl Format for Q6K {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 210] = &row.as_chunks().0[group / 8];
        let (half, quarter) = (group % 8 / 4, group % 4);
        let nibbles = &block.as_chunks::<GROUP>().0[2 * half + quarter % 2];
        let upper = &block[128..].as_chunks::<GROUP>().0[half];
        let (low_shift, high_shift) = (4 * (quarter / 2), 2 * quarter);
        let d = H::to_f32([block[208], block[209]]);
        let scales = &block[192..].as_chunks::<2>().0[4 * half + quarter];
        let scales = scales.map(|scale| d * f32::from(scale as i8));
        for i in 0..GROUP {
            let q = ((nibbles[i] >> low_shift) & 15) | ((upper[i] >> high_shift) & 3) << 4;
            out[i] = scales[i / 16] * f32::from(q as i8 - 32);
        }
    }
}

/// `d, upper two bits of 8 scales: u16, their nibbles[4], nibbles[128]`; value `d * (scale - 32) * TABLE[q]`, with the table of
/// [`Iq4Nl`].
///
/// A group has 16 bytes of nibbles, which lie as in formats of 32 values.
pub(crate) struct Iq4Xs;

impl Format for Iq4Xs {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 136] = &row.as_chunks().0[group / 8];
        let group = group % 8;
        let low = (block[4 + group / 2] >> (4 * (group % 2))) & 15;
        let high = (u16::from_le_bytes([block[2], block[3]]) >> (2 * group)) as u8 & 3;
        let scale = H::to_f32([block[0], block[1]]) * f32::from((low | high << 4) as i8 - 32);
        let nibbles = &block[8..].as_chunks::<{ GROUP / 2 }>().0[group];
        for j in 0..GROUP / 2 {
            out[j] = scale * Iq4Nl::TABLE[usize::from(nibbles[j] & 15)];
            out[j + GROUP / 2] = scale * Iq4Nl::TABLE[usize::from(nibbles[j] >> 4)];
        }
    }
}

/// The scale and the minimum of a group, multiplied by the block's `d` and `dmin`.
///
/// Six bits each, packed in 12 bytes: groups 0 to 3 have theirs in the low bits of bytes `g` and `4 + g`; groups 4
/// to 7 have the low nibbles in byte `4 + g` and the upper two bits in the top of bytes `g - 4` and `g`.
#[inline(always)]
fn scale_and_minimum<H: Half>(block: &[u8], group: usize) -> (f32, f32) {
    let d = H::to_f32([block[0], block[1]]);
    let dmin = H::to_f32([block[2], block[3]]);
    let packed = &block[4..16];
    let (scale, minimum) = if group < 4 {
        (packed[group] & 63, packed[4 + group] & 63)
    } else {
        let low = packed[4 + group];
        ((low & 15) | packed[group - 4] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4)
    };
    (d * f32::from(scale), dmin * f32::from(minimum))
}
