// y[t, r] = addend[t, r] + scale sum_i x[t, i] w[r, i], for few rows of w, as the factors of adapters have: x [T, n], w [rank, n] of
// floats, y [T, rank]. A workgroup does 8 columns of one row.
struct Parameters {
    x: Matrix,
    w: Matrix,
    addend: Matrix,
    y: Matrix,
    scale: f32,
    // Of this dispatch.
    first_line: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;

const COLUMNS: u32 = 8u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * COLUMNS;
    let row = p.first_line + group.y;
    var sums = array<f32, COLUMNS>();
    for (var i = lane; i < p.x.n_cols; i += LANES) {
        let x = load(X, p.x, row, i);
        for (var j = 0u; j < COLUMNS; j++) {
            // Columns behind the last one are not stored.
            sums[j] = fma(x, load(W, p.w, min(first + j, p.w.n_rows - 1u), i), sums[j]);
        }
    }
    for (var j = 0u; j < COLUMNS; j++) {
        let sum = sum_of_lanes(lane, sums[j]);
        let column = first + j;
        if lane == 0u && column < p.y.n_cols {
            store(Y, p.y, row, column, fma(p.scale, sum, addend(row, column)));
        }
    }
}
