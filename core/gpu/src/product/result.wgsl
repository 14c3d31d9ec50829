// Writes one sum of a product to its place, if it has one.
fn store_result(token: u32, output: u32, sum: f32) {
    if (token < p.n_tokens && output < n_outputs()) {
        let at = p.y_first + token * p.y_stride + output;
        let value = p.scale * y_factor(token) * sum;
        if (p.accumulate == 1u) {
            y[at] += value;
        } else {
            y[at] = value;
        }
    }
}
