// y = scale x, both [T, n].
struct Parameters {
    x: Matrix,
    y: Matrix,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < p.y.n_cols {
        store(Y, p.y, id.y, id.x, p.scale * load(X, p.x, id.y, id.x));
    }
}
