// y = x rounded to bfloat16, x [T, n], y [T, ceil(n / 2)]: value i of a row is the lower half of word i, value i + ceil(n / 2) the
// upper half.
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
    var word = rounded_bits(load_word(X, place_of(p.x, id.y, id.x))) >> 16u;
    let upper = id.x + p.y.n_cols;
    if upper < p.x.n_cols {
        word |= rounded_bits(load_word(X, place_of(p.x, id.y, upper))) & 0xffff0000u;
    }
    store_word(Y, place_of(p.y, id.y, id.x), word);
}
