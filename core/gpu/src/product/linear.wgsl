// y[t, o] (+)= scale · Σ_i x[t, i] w[o, i]: x [n_tokens, n_cols], w [n_rows, n_cols], y [n_tokens, n_rows]

fn n_outputs() -> u32 {
    return p.n_rows;
}

// Rows first_output.. of w, columns start.., to w_tile: four columns of a row at a time.
fn stage_weights(thread: u32, first_output: u32, start: u32) {
    for (var i = thread; i < TILE_OUTPUTS * DEPTH / 4u; i += THREADS) {
        let row = i / (DEPTH / 4u);
        let column = i % (DEPTH / 4u) * 4u;
        var values = vec4<f32>(0.0);
        if (first_output + row < p.n_rows && start + column < p.end_term) {
            values = weights4(p.w_first + (first_output + row) * p.row_bytes, start + column, p.n_cols);
        }
        w_tile[column * W_LINE + row] = Operand(values.x);
        w_tile[(column + 1u) * W_LINE + row] = Operand(values.y);
        w_tile[(column + 2u) * W_LINE + row] = Operand(values.z);
        w_tile[(column + 3u) * W_LINE + row] = Operand(values.w);
    }
}
