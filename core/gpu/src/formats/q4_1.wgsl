// Q4_1: blocks of 32 values `d, m, nibbles[16]`; value d q + m. Low nibbles are values 0 to 15.
fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    let block = row + column / 32u * 20u;
    let i = column % 32u;
    let q = fields(word_at(block + 4u + i % 16u), 4u * (i / 16u), 15u);
    return vec4<f32>(q) * half_at(block) + half_at(block + 2u);
}
