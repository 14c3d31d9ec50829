//! Dropout of one row.

/// `y[i] = x[i] / keep` if a hash of `seed` and `i`, seen as a number in 0 .. 1, is below `keep`; else 0.
#[inline(always)]
pub(crate) fn dropout(x: &[f32], y: &mut [f32], keep: f32, seed: u64) {
    let (low, high) = (seed as u32, (seed >> 32) as u32);
    // In units of 2^-24; 1.0 keeps everything.
    let limit = (keep * 16_777_216.0) as u32;
    let factor = 1.0 / keep;
    for (i, (x, y)) in x.iter().zip(y).enumerate() {
        let hash = mix((i as u32).wrapping_mul(0x9e37_79b9) ^ low).wrapping_add(high);
        let kept = mix(hash) >> 8 < limit;
        *y = if kept { x * factor } else { 0.0 };
    }
}

/// A bijection of 32-bit words in which every input bit changes every output bit about half of the time.
#[inline(always)]
fn mix(mut word: u32) -> u32 {
    word = (word ^ (word >> 16)).wrapping_mul(0x7feb_352d);
    word = (word ^ (word >> 15)).wrapping_mul(0x846c_a68b);
    word ^ (word >> 16)
}
