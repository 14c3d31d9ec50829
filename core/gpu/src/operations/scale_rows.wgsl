// x[t, i] = factors[t] x[t, i]: x [T, n], factors [T, 1].
struct Parameters {
    x: Matrix,
    factors: Matrix,
}

@group(0) @binding(0) var<uniform> p: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < p.x.n_cols {
        store(X, p.x, id.y, id.x, load(X, p.x, id.y, id.x) * load(FACTORS, p.factors, id.y, 0u));
    }
}
