// F32: a row of n_cols floats, of any number.
fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    var values = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i++) {
        if (column + i < n_cols) {
            values[i] = bitcast<f32>(w[row / 4u + column + i]);
        }
    }
    return values;
}
