// y = x, word by word; a stride of 0 makes all rows of x the same one.
struct Parameters {
    x: Matrix,
    y: Matrix,
}

@group(0) @binding(0) var<uniform> p: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < p.y.n_cols {
        store_word(Y, place_of(p.y, id.y, id.x), load_word(X, place_of(p.x, id.y, id.x)));
    }
}
