// TQ2_0: blocks of 256 values `pairs of bits[64], d`; value d (q - 1).
// Each half of 128 values is four groups, of which group g takes bits 2 g, 2 g + 1 of the half's 32 bytes.
fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    let block = row + column / 256u * 66u;
    let half = column % 256u / 128u;
    let q = fields(word_at(block + 32u * half + column % 32u), 2u * (column % 128u / 32u), 3u);
    return (vec4<f32>(q) - 1.0) * half_at(block + 64u);
}
