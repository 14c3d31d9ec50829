// MXFP4: blocks of 32 values `e, nibbles[16]`; value 2^(e - 128) TABLE[q]. Low nibbles are values 0 to 15.
// TABLE is 0, 1, 2, 3, 4, 6, 8, 12 and the same below zero, as bytes: floats of two bits of exponent and one of mantissa, doubled.
const TABLE = vec4<u32>(0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu);

fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    let block = row + column / 32u * 17u;
    let i = column % 32u;
    let exponent = byte_at(block);
    // The lowest two are subnormal numbers.
    let scale = select((exponent - 1u) << 23u, 1u << (21u + exponent), exponent < 2u);
    let q = fields(word_at(block + 1u + i % 16u), 4u * (i / 16u), 15u);
    return looked_up(TABLE, q) * bitcast<f32>(scale);
}
