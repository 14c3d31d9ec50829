// y[t, j] = addend[t, j] + sum_r x[t, r] w[r, j], for few rows of w, as the factors of adapters have: x [T, rank], w [rank, n] of
// floats, y [T, n]. A workgroup does 64 columns of 4 rows.
struct Parameters {
    x: Matrix,
    w: Matrix,
    addend: Matrix,
    y: Matrix,
    // Of this dispatch.
    first_line: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;

const ROWS: u32 = 4u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.y.n_cols {
        return;
    }
    let first = (p.first_line + id.y) * ROWS;
    var sums = array<f32, ROWS>();
    for (var r = 0u; r < p.w.n_rows; r++) {
        let w = load(W, p.w, r, id.x);
        for (var i = 0u; i < ROWS; i++) {
            // Rows behind the last one are not stored.
            sums[i] = fma(load(X, p.x, min(first + i, p.x.n_rows - 1u), r), w, sums[i]);
        }
    }
    for (var i = 0u; i < min(ROWS, p.y.n_rows - first); i++) {
        store(Y, p.y, first + i, id.x, sums[i] + addend(first + i, id.x));
    }
}
