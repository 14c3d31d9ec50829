// What both products are given. The matrix of floats and the result may be in one buffer, so both are declared as written to.

struct Parameters {
    n_tokens: u32,
    // Of the weights.
    n_rows: u32,
    n_cols: u32,
    // Bytes from one row of weights to the next.
    row_bytes: u32,
    // The byte of `w` where the weights begin, and the floats of `x` and `y` where the others do.
    w_first: u32,
    x_first: u32,
    y_first: u32,
    // Floats from one row to the next.
    x_stride: u32,
    y_stride: u32,
    // Where this dispatch begins, in tokens and outputs.
    first_token: u32,
    first_output: u32,
    // Whether the result is added to what is there: 0 or 1.
    accumulate: u32,
    scale: f32,
    // The terms of this dispatch.
    first_term: u32,
    end_term: u32,
    // The float of `scales` where the factors of the rows begin, if there are some.
    scales_first: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
