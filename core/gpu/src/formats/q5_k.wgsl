// Q5_K: as Q4_K, with 32 bytes of fifth bits before the nibbles: bit g of byte i belongs to value i of group g.
fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    let block = row + column / 256u * 176u;
    let group = column % 256u / 32u;
    let i = column % 32u;
    let scales = scale_and_minimum(block, group);
    let q = fields(word_at(block + 48u + group / 2u * 32u + i), 4u * (group % 2u), 15u)
        + 16u * fields(word_at(block + 16u + i), group, 1u);
    return vec4<f32>(q) * scales.x - scales.y;
}
