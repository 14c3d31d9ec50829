// x rounded to bfloat16 in place, [T, n].
struct Parameters {
    x: Matrix,
}

@group(0) @binding(0) var<uniform> p: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < p.x.n_cols {
        let place = place_of(p.x, id.y, id.x);
        store_word(X, place, rounded_bits(load_word(X, place)) & 0xffff0000u);
    }
}
