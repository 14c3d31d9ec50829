// Q6_K: blocks of 256 values `nibbles[128], upper pairs of bits[64], 16 scales: i8, d`; value d scale (q - 32).
// Each half of 128 values is four groups of 32: group g takes its nibbles from 32 bytes number g % 2, the low halves for g < 2,
// and bits 2 g, 2 g + 1 of the half's 32 bytes of upper bits. A scale covers 16 values.
fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    let block = row + column / 256u * 210u;
    let half = column % 256u / 128u;
    let quarter = column % 128u / 32u;
    let i = column % 32u;
    let q = fields(word_at(block + 64u * half + 32u * (quarter % 2u) + i), 4u * (quarter / 2u), 15u)
        + 16u * fields(word_at(block + 128u + 32u * half + i), 2u * quarter, 3u);
    let scale = half_at(block + 208u) * signed_byte_at(block + 192u + column % 256u / 16u);
    return (vec4<f32>(q) - 32.0) * scale;
}
