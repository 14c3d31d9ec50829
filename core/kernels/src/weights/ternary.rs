//! Formats of 256 values of -1, 0 or 1 per block, with one scale.

use super::format::{Format, GROUP, Half};

/// `five to a byte[48], four to a byte[4], d`; value `d * (t - 1)`.
///
/// A byte is a fraction of 256 in which its values are digits of base 3, the first one in front: digit `n` is what a third
/// digit of `byte * 3^n`, without what is above 8 bits, comes to. Bytes 0 to 31 hold values `32 n + byte` for `n < 5`, bytes 32
/// to 47 values `160 + 16 n + byte`, bytes 48 to 51 values `240 + 4 n + byte` for `n < 4`.
pub(crate) struct Tq1_0;

impl Tq1_0 {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
}

impl Format for Tq1_0 {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 54] = &row.as_chunks().0[group / 8];
        let scale = H::to_f32([block[52], block[53]]);
        match group % 8 {
            n @ 0..5 => {
                for i in 0..GROUP {
                    out[i] = f32::from(digit(block[i], Self::POWERS[n])) * scale;
                }
            }
            group => {
                // Two runs of 16 values, of which the last one is the four bytes.
                for i in 0..GROUP {
                    let n = 2 * (group - 5) + i / 16;
                    let value = if n < 5 {
                        digit(block[32 + i % 16], Self::POWERS[n])
                    } else {
                        digit(block[48 + i % 4], Self::POWERS[i % 16 / 4])
                    };
                    out[i] = f32::from(value) * scale;
                }
            }
        }
    }
}

/// A digit of a byte, less 1.
#[inline(always)]
fn digit(byte: u8, power: u8) -> i8 {
    let digits = byte.wrapping_mul(power);
    ((u16::from(digits) * 3) >> 8) as i8 - 1
}

/// `pairs of bits[64], d`; value `d * (q - 1)`.
///
/// Each half of 128 values is four groups, of which group `g` takes bits `2 g, 2 g + 1` of the half's 32 bytes.
pub(crate) struct Tq2_0;

impl Format for Tq2_0 {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let block: &[u8; 66] = &row.as_chunks().0[group / 8];
        let (half, shift) = (group % 8 / 4, 2 * (group % 4));
        let scale = H::to_f32([block[64], block[65]]);
        let pairs = &block.as_chunks::<GROUP>().0[half];
        for i in 0..GROUP {
            out[i] = f32::from(((pairs[i] >> shift) & 3) as i8 - 1) * scale;
        }
    }
}
