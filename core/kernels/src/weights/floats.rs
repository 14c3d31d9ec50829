//! Formats without blocks: 32-bit, 16-bit and brain floats. Rows may have any length.

use super::format::{Format, GROUP, Half};

/// 32-bit floats, little-endian.
pub(crate) struct F32;

impl Format for F32 {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        match row.get(group * size_of_val(out)..).and_then(<[u8]>::first_chunk::<{ 4 * GROUP }>) {
            Some(values) if cfg!(target_endian = "little") => {
                // SAFETY: any bytes are floats. Element by element, the compiler would copy one after the other.
                *out = unsafe { values.as_ptr().cast::<[f32; GROUP]>().read_unaligned() };
            }
            _ => convert(row, group, out, f32::from_le_bytes),
        }
    }
}

/// IEEE half precision.
pub(crate) struct F16;

impl Format for F16 {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        convert(row, group, out, half_to_f32);
    }
}

/// The upper 16 bits of a 32-bit float.
pub(crate) struct Bf16;

impl Format for Bf16 {
    #[inline(always)]
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]) {
        convert(row, group, out, |bytes: [u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16));
    }
}

#[inline(always)]
fn convert<const N: usize>(row: &[u8], group: usize, out: &mut [f32; GROUP], value: impl Fn([u8; N]) -> f32) {
    let values = &row.as_chunks::<N>().0[group * GROUP..];
    if let Some(values) = values.first_chunk::<GROUP>() {
        for (out, bytes) in out.iter_mut().zip(values) {
            *out = value(*bytes);
        }
    } else {
        *out = [0.0; GROUP];
        for (out, bytes) in out.iter_mut().zip(values) {
            *out = value(*bytes);
        }
    }
}

/// Half precision by integer arithmetic, for machines without an instruction for it.
pub(crate) struct PortableHalf;

impl Half for PortableHalf {
    #[inline(always)]
    fn to_f32(bytes: [u8; 2]) -> f32 {
        half_to_f32(bytes)
    }
}

/// Half precision to single, exactly, by integer arithmetic: the same on every machine and easy to vectorize.
#[inline(always)]
pub(super) fn half_to_f32(bytes: [u8; 2]) -> f32 {
    const EXPONENT_BIAS_DIFFERENCE: u32 = (127 - 15) << 23;
    let bits = u32::from(u16::from_le_bytes(bytes));
    let sign = (bits & 0x8000) << 16;
    let magnitude = bits & 0x7fff;
    let moved = (magnitude << 13) + EXPONENT_BIAS_DIFFERENCE;
    let absolute = if magnitude < 0x0400 {
        // Zero or subnormal: an integer number of 2^-24.
        (magnitude as f32 * f32::from_bits((127 - 24) << 23)).to_bits()
    } else if magnitude >= 0x7c00 {
        // Infinity or not a number: the exponent is all ones on both sides.
        moved + EXPONENT_BIAS_DIFFERENCE
    } else {
        moved
    };
    f32::from_bits(sign | absolute)
}
