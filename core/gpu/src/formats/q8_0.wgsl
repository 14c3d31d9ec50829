// Q8_0: blocks of 32 values `d, q[32]: i8`; value d q.
fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    let block = row + column / 32u * 34u;
    let bytes = vec4<u32>(word_at(block + 2u + column % 32u)) << vec4<u32>(24u, 16u, 8u, 0u);
    return vec4<f32>(bitcast<vec4<i32>>(bytes) >> vec4<u32>(24u)) * half_at(block);
}
