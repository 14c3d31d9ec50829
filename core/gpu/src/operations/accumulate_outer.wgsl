// grad[r, j] += sum_t u[t, r] x[t, j]: u [T, rank], x [T, n], grad [rank, n]. A workgroup does 64 columns of 8 rows.
struct Parameters {
    u: Matrix,
    x: Matrix,
    grad: Matrix,
}

@group(0) @binding(0) var<uniform> p: Parameters;

const ROWS: u32 = 8u;
// Tokens that are summed before the sum goes on.
const BLOCK: u32 = 32u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.grad.n_cols {
        return;
    }
    let first = id.y * ROWS;
    var sums = array<f32, ROWS>();
    for (var start = 0u; start < p.x.n_rows; start += BLOCK) {
        var block = array<f32, ROWS>();
        for (var t = start; t < min(p.x.n_rows, start + BLOCK); t++) {
            let x = load(X, p.x, t, id.x);
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
        store(GRAD, p.grad, first + i, id.x, load(GRAD, p.grad, first + i, id.x) + sums[i]);
    }
}
