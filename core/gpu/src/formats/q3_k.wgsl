// Q3_K: blocks of 256 values `third bits[32], pairs of bits[64], 12 bytes of 6-bit scales, d`; value d (scale - 32) (q - 4).
// Pairs of bits lie as in Q2_K; bit g of byte i of the third bits belongs to value i of group g. A scale covers 16 values: scale s
// has its low nibble in the low half of byte s, or, from 8 on, the high half of byte s - 8, and its upper two bits in byte
// 8 + s % 4, from bit 2 (s / 4) on.
fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    let block = row + column / 256u * 110u;
    let half = column % 256u / 128u;
    let i = column % 32u;
    let q = fields(word_at(block + 32u + 32u * half + i), 2u * (column % 128u / 32u), 3u)
        + 4u * fields(word_at(block + i), column % 256u / 32u, 1u);
    let s = column % 256u / 16u;
    let low = (byte_at(block + 96u + s % 8u) >> (4u * (s / 8u))) & 15u;
    let high = (byte_at(block + 104u + s % 4u) >> (2u * (s / 4u))) & 3u;
    let scale = half_at(block + 108u) * (f32(low | (high << 4u)) - 32.0);
    return (vec4<f32>(q) - 4.0) * scale;
}
