// The scale and the minimum of a group of Q4_K and Q5_K, multiplied by the block's d and dmin.
//
// Six bits each, packed in 12 bytes from byte 4 of the block on: groups 0 to 3 have theirs in the low bits of bytes g and 4 + g;
// groups 4 to 7 have the low nibbles in byte 4 + g and the upper two bits in the top of bytes g - 4 and g.
fn scale_and_minimum(block: u32, group: u32) -> vec2<f32> {
    let packed = block + 4u;
    var both = vec2<u32>(byte_at(packed + group % 4u), byte_at(packed + group % 4u + 4u));
    if (group < 4u) {
        both = both & vec2<u32>(63u);
    } else {
        let low = byte_at(packed + group + 4u);
        both = vec2<u32>(low & 15u, low >> 4u) | ((both >> vec2<u32>(6u)) << vec2<u32>(4u));
    }
    return vec2<f32>(both) * vec2<f32>(half_at(block), half_at(block + 2u));
}
