// y = a + scale b, all [T, n]; y may be a or b.
struct Parameters {
    a: Matrix,
    b: Matrix,
    y: Matrix,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < p.y.n_cols {
        store(Y, p.y, id.y, id.x, load(A, p.a, id.y, id.x) + p.scale * load(B, p.b, id.y, id.x));
    }
}
