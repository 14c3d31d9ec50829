// Q4_K: blocks of 256 values `d, dmin, 12 bytes of scales and minima, nibbles[128]`; value d scale q - dmin minimum.
// Groups of 32 values 2 p and 2 p + 1 share 32 bytes of nibbles: low halves, then high halves.
fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    let block = row + column / 256u * 144u;
    let group = column % 256u / 32u;
    let scales = scale_and_minimum(block, group);
    let q = fields(word_at(block + 16u + group / 2u * 32u + column % 32u), 4u * (group % 2u), 15u);
    return vec4<f32>(q) * scales.x - scales.y;
}
