// y = the values that to_bf16 rounded: x [T, ceil(n / 2)], y [T, n].
struct Parameters {
    x: Matrix,
    y: Matrix,
}

@group(0) @binding(0) var<uniform> p: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.y.n_cols {
        return;
    }
    let is_upper = id.x >= p.x.n_cols;
    let word = load_word(X, place_of(p.x, id.y, select(id.x, id.x - p.x.n_cols, is_upper)));
    store_word(Y, place_of(p.y, id.y, id.x), select(word << 16u, word & 0xffff0000u, is_upper));
}
