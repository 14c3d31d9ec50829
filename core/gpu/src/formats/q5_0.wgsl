// Q5_0: blocks of 32 values `d, fifth bits: u32, nibbles[16]`; value d (q - 16). Low nibbles are values 0 to 15.
fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    let block = row + column / 32u * 22u;
    let i = column % 32u;
    let q = fields(word_at(block + 6u + i % 16u), 4u * (i / 16u), 15u)
        + 16u * flags(word_at(block + 2u), i);
    return (vec4<f32>(q) - 16.0) * half_at(block);
}
