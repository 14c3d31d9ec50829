// F16: a row of n_cols halves, of any number.
fn weights4(row: u32, column: u32, n_cols: u32) -> vec4<f32> {
    var values = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i++) {
        if (column + i < n_cols) {
            values[i] = half_at(row + 2u * (column + i));
        }
    }
    return values;
}
