// y[t, i] (+)= scale · Σ_o x[t, o] w[o, i], as in linear_transposed.wgsl: terms are rows of w, and four outputs follow each other in
// one.

fn n_outputs() -> u32 {
    return p.n_cols;
}

// The o-th output of an invocation, in its tile: it has fours of them, and neighbours take neighbouring fours.
fn output_of(thread: u32, o: u32) -> u32 {
    return 4u * (thread + o / 4u * THREADS) + o % 4u;
}

// For each output of an invocation, its weights of four terms.
fn terms_of_outputs(first_output: u32, thread: u32, start: u32) -> array<vec4<f32>, THREAD_OUTPUTS> {
    var weights: array<vec4<f32>, THREAD_OUTPUTS>;
    for (var o = 0u; o < THREAD_OUTPUTS; o += 4u) {
        let column = first_output + output_of(thread, o);
        for (var i = 0u; i < 4u; i++) {
            if (start + i < p.end_term && column < p.n_cols) {
                let values = weights4(p.w_first + (start + i) * p.row_bytes, column, p.n_cols);
                weights[o][i] = values.x;
                weights[o + 1u][i] = values.y;
                weights[o + 2u][i] = values.z;
                weights[o + 3u][i] = values.w;
            }
        }
    }
    return weights;
}
