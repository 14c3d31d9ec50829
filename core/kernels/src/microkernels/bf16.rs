//! Rounds rows to bfloat16, and turns them back into floats.

/// Rounds `x`, two values to a float of `out`: value `i` is its lower half, value `i + out.len()` its upper half.
#[inline(always)]
pub(crate) fn to_bf16(x: &[f32], out: &mut [f32]) {
    let (low, high) = x.split_at(out.len());
    let paired = high.len();
    for i in 0..paired {
        out[i] = f32::from_bits(rounded_bits(low[i]) >> 16 | rounded_bits(high[i]) & 0xffff_0000);
    }
    // An odd row's middle value stands alone.
    for i in paired..out.len() {
        out[i] = f32::from_bits(rounded_bits(low[i]) >> 16);
    }
}

/// Undoes [`to_bf16`], but for the rounding.
#[inline(always)]
pub(crate) fn from_bf16(x: &[f32], out: &mut [f32]) {
    let (low, high) = out.split_at_mut(x.len());
    for (low, x) in low.iter_mut().zip(x) {
        *low = f32::from_bits(x.to_bits() << 16);
    }
    for (high, x) in high.iter_mut().zip(x) {
        *high = f32::from_bits(x.to_bits() & 0xffff_0000);
    }
}

/// Rounds in place: [`to_bf16`] and then [`from_bf16`] give the same values.
#[inline(always)]
pub(crate) fn round_to_bf16(x: &mut [f32]) {
    for x in x {
        *x = f32::from_bits(rounded_bits(*x) & 0xffff_0000);
    }
}

/// The bits of a float whose upper half is the value rounded, ties to even; what is not a number stays so.
#[inline(always)]
fn rounded_bits(value: f32) -> u32 {
    const QUIET: u32 = 0x0040_0000;
    let bits = value.to_bits();
    let even = (bits >> 16) & 1;
    let nearest = bits.wrapping_add(0x7fff + even);
    if value.is_nan() { bits | QUIET } else { nearest }
}
