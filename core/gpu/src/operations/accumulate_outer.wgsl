// grad[r, j] += sum_t u[t, r] x[t, j]: u [T, rank], x [T, n], grad [rank, n]. A workgroup does 64 columns of 8 rows.
struct Parameters {
    u: Matrix,
    x: Matrix,
    grad: Matrix,
    // Of this dispatch.
    first_line: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;

const COLUMNS: u32 = 64u;
const ROWS: u32 = 8u;
// Tokens that are summed before the sum goes on.
const BLOCK: u32 = 32u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = (p.first_line + group.y) * COLUMNS + lane;
    if column >= p.grad.n_cols {
        return;
    }
    let first = group.x * ROWS;
    var sums = array<f32, ROWS>();
    for (var start = 0u; start < p.x.n_rows; start += BLOCK) {
        var block = array<f32, ROWS>();
        for (var t = start; t < min(p.x.n_rows, start + BLOCK); t++) {
            let x = load(X, p.x, t, column);
            for (var i = 0u; i < ROWS; i++) {
                // Rows behind the last one are not stored.
                let r = min(first + i, p.u.n_cols - 1u);
                block[i] = fma(load(U, p.u, t, r), x, block[i]);
            }
        }
        for (var i = 0u; i < ROWS; i++) {
            sums[i] += block[i];
        }
    }
    for (var i = 0u; i < min(ROWS, p.grad.n_rows - first); i++) {
        store(GRAD, p.grad, first + i, column, load(GRAD, p.grad, first + i, column) + sums[i]);
    }
}
