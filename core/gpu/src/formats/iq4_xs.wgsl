// IQ4_XS: blocks of 256 values `d, upper two bits of 8 scales: u16, their nibbles[4], nibbles[128]`; value
// d (scale - 32) TABLE[q], with the table of IQ4_NL. A group of 32 values has 16 bytes of nibbles, low ones first.
const TABLE = vec4<u32>(0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u);

fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    let block = row + column / 256u * 136u;
    let group = column % 256u / 32u;
    let i = column % 32u;
    let low = (byte_at(block + 4u + group / 2u) >> (4u * (group % 2u))) & 15u;
    let high = (pair_at(block + 2u) >> (2u * group)) & 3u;
    let scale = half_at(block) * (f32(low | (high << 4u)) - 32.0);
    let q = fields(word_at(block + 8u + 16u * group + i % 16u), 4u * (i / 16u), 15u);
    return looked_up(TABLE, q) * scale;
}
