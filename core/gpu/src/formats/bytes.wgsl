// The bytes of weights, which lie as in their file: `w: array<u32>`, little-endian.

fn byte_at(at: u32) -> u32 {
    return (w[at / 4u] >> (8u * (at % 4u))) & 255u;
}

fn signed_byte_at(at: u32) -> f32 {
    return f32(bitcast<i32>(byte_at(at) << 24u) >> 24u);
}

// Four bytes from any place on, the first one lowest.
fn word_at(at: u32) -> u32 {
    let shift = 8u * (at % 4u);
    let low = w[at / 4u] >> shift;
    if (shift == 0u) {
        return low;
    }
    return low | (w[at / 4u + 1u] << (32u - shift));
}

// 16 bits from an even place on.
fn pair_at(at: u32) -> u32 {
    return (w[at / 4u] >> (8u * (at % 4u))) & 0xffffu;
}

// Half precision from an even place on, as the CPU reads it. It is done with integers: devices may take subnormal halves, which
// scales often are, for zero.
fn half_at(at: u32) -> f32 {
    let bits = pair_at(at);
    let magnitude = bits & 0x7fffu;
    // The difference of the exponents' biases.
    let moved = (magnitude << 13u) + 0x38000000u;
    // Zero or subnormal: an integer number of 2^-24. Infinite or no number: the exponent is all ones on both sides.
    let subnormal = bitcast<u32>(f32(magnitude) * 5.9604644775390625e-8);
    let normal = select(moved, moved + 0x38000000u, magnitude >= 0x7c00u);
    let absolute = select(normal, subnormal, magnitude < 0x0400u);
    return bitcast<f32>(((bits & 0x8000u) << 16u) | absolute);
}

// The same field of each byte of a word.
fn fields(word: u32, shift: u32, mask: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> (vec4<u32>(0u, 8u, 16u, 24u) + shift)) & vec4<u32>(mask);
}

// Four bits of a word, one after the other.
fn flags(word: u32, first: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> (vec4<u32>(0u, 1u, 2u, 3u) + first)) & vec4<u32>(1u);
}

// Four signed bytes of a table of 16, which are looked up by numbers below 16.
fn looked_up(table: vec4<u32>, index: vec4<u32>) -> vec4<f32> {
    let words = vec4<u32>(table[index.x / 4u], table[index.y / 4u], table[index.z / 4u], table[index.w / 4u]);
    let bytes = (words >> (8u * (index % 4u))) << vec4<u32>(24u);
    return vec4<f32>(bitcast<vec4<i32>>(bytes) >> vec4<u32>(24u));
}
