// x = cap tanh(scale x / cap), or scale x if not CAPPED; [T, n_vocab].
struct Parameters {
    x: Matrix,
    scale: f32,
    cap: f32,
}

@group(0) @binding(0) var<uniform> p: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.x.n_cols {
        return;
    }
    var logit = load(X, p.x, id.y, id.x) * p.scale;
    if CAPPED {
        logit = capped(logit, p.cap);
    }
    store(X, p.x, id.y, id.x, logit);
}
