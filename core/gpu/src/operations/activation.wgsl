// y = f(gate) up (arXiv 2002.05202), or y = f(gate) if not GATED; all [T, n].
struct Parameters {
    gate: Matrix,
    up: Matrix,
    y: Matrix,
}

@group(0) @binding(0) var<uniform> p: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.y.n_cols {
        return;
    }
    var y = value_and_slope(load(GATE, p.gate, id.y, id.x)).x;
    if GATED {
        y *= load(UP, p.up, id.y, id.x);
    }
    store(Y, p.y, id.y, id.x, y);
}
