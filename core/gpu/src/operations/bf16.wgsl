// Rounding to bfloat16, the upper half of a float, to the nearest, ties to even.

// The bits whose upper half is the value rounded; what is no number stays so.
fn rounded_bits(bits: u32) -> u32 {
    let nearest = bits + 0x7fffu + ((bits >> 16u) & 1u);
    return select(nearest, bits | 0x00400000u, (bits & 0x7fffffffu) > 0x7f800000u);
}
