// IQ4_NL: blocks of 32 values `d, nibbles[16]`; value d TABLE[q]. Low nibbles are values 0 to 15.
// TABLE is -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113, as bytes.
const TABLE = vec4<u32>(0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u);

fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    let block = row + column / 32u * 18u;
    let i = column % 32u;
    let q = fields(word_at(block + 2u + i % 16u), 4u * (i / 16u), 15u);
    return looked_up(TABLE, q) * half_at(block);
}
