// TQ1_0: blocks of 256 values `five to a byte[48], four to a byte[4], d`; value d (t - 1).
// A byte is a fraction of 256 in which its values are digits of base 3, the first one in front: digit n is what a third digit of
// byte 3^n, without what is above 8 bits, comes to. Bytes 0 to 31 hold values 32 n + byte for n < 5, bytes 32 to 47 values
// 160 + 16 n + byte, bytes 48 to 51 values 240 + 4 n + byte for n < 4.
fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    let block = row + column / 256u * 54u;
    let i = column % 256u;
    var place = i % 32u;
    var digit = i / 32u;
    if (i >= 240u) {
        place = 48u;
        digit = (i - 240u) / 4u;
    } else if (i >= 160u) {
        place = 32u + i % 16u;
        digit = (i - 160u) / 16u;
    }
    // 1, 3, 9, 27, 81
    let power = select(1u, 9u, digit >= 2u) * select(1u, 9u, digit >= 4u) * select(1u, 3u, digit % 2u == 1u);
    let digits = (fields(word_at(block + place), 0u, 255u) * power) & vec4<u32>(255u);
    let t = (digits * 3u) >> vec4<u32>(8u);
    return (vec4<f32>(t) - 1.0) * half_at(block + 52u);
}
