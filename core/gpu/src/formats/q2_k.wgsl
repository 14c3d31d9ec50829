// Q2_K: blocks of 256 values `16 bytes of a 4-bit scale and a 4-bit minimum, pairs of bits[64], d, dmin`; value
// d scale q - dmin minimum. Each half of 128 values is four groups, of which group g takes bits 2 g, 2 g + 1 of the half's 32
// bytes. A scale and a minimum, in the upper half of their byte, cover 16 values.
fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    let block = row + column / 256u * 84u;
    let half = column % 256u / 128u;
    let q = fields(word_at(block + 16u + 32u * half + column % 32u), 2u * (column % 128u / 32u), 3u);
    let packed = byte_at(block + column % 256u / 16u);
    let scale = half_at(block + 80u) * f32(packed & 15u);
    return vec4<f32>(q) * scale - half_at(block + 82u) * f32(packed >> 4u);
}
