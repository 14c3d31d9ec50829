// y[t, o] (+)= scale · Σ_i x[t, i] w[o, i], as in linear.wgsl: outputs are rows of w, and four terms follow each other in one.

fn n_outputs() -> u32 {
    return p.n_rows;
}

// The o-th output of an invocation, in its tile: neighbours take neighbouring ones.
fn output_of(thread: u32, o: u32) -> u32 {
    return thread + o * THREADS;
}

// For each output of an invocation, its weights of four terms.
fn terms_of_outputs(first_output: u32, thread: u32, start: u32) -> array<vec4<f32>, THREAD_OUTPUTS> {
    var weights: array<vec4<f32>, THREAD_OUTPUTS>;
    for (var o = 0u; o < THREAD_OUTPUTS; o++) {
        let row = first_output + output_of(thread, o);
        if (row < p.n_rows) {
            weights[o] = weights4(p.w_first + row * p.row_bytes, start, p.n_cols);
        }
    }
    return weights;
}
