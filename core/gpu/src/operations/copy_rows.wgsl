// y[to] = x[from] for pairs of rows: pairs is a row of 2 n integers, from and to in turn. An invocation copies a value.
struct Parameters {
    x: Matrix,
    y: Matrix,
    pairs: Matrix,
}

@group(0) @binding(0) var<uniform> p: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < p.y.n_cols {
        let source = u32(load_integer(PAIRS, p.pairs, 2u * id.y));
        let target_row = u32(load_integer(PAIRS, p.pairs, 2u * id.y + 1u));
        store_word(Y, place_of(p.y, target_row, id.x), load_word(X, place_of(p.x, source, id.x)));
    }
}
