// y[t, i] (+)= scale · Σ_o x[t, o] w[o, i]: x [n_tokens, n_rows], w [n_rows, n_cols], y [n_tokens, n_cols]
// It is the gradient of `linear` for its x, whose place y takes here.

fn n_outputs() -> u32 {
    return p.n_cols;
}

// Rows start.. of w, columns first_output.., to w_tile: four columns of a row at a time.
fn stage_weights(thread: u32, first_output: u32, start: u32) {
    for (var i = thread; i < DEPTH * TILE_OUTPUTS / 4u; i += THREADS) {
        let row = i / (TILE_OUTPUTS / 4u);
        let column = i % (TILE_OUTPUTS / 4u) * 4u;
        var values = vec4<f32>(0.0);
        if (start + row < p.end_term && first_output + column < p.n_cols) {
            values = weights4(p.w_first + (start + row) * p.row_bytes, first_output + column, p.n_cols);
        }
        let at = row * W_LINE + column;
        w_tile[at] = Operand(values.x);
        w_tile[at + 1u] = Operand(values.y);
        w_tile[at + 2u] = Operand(values.z);
        w_tile[at + 3u] = Operand(values.w);
    }
}
