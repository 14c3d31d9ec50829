// Rotates the first values of each head of x [T, heads * head_dim] by the angles of table [T, 2 n_pairs], the cosines of a token's
// pairs and then their sines: (a, b) = (a cos - b sin, a sin + b cos), the other way with BACK, which is the gradient. A pair is
// two neighbours if INTERLEAVED, else values i and i + n_pairs.
struct Parameters {
    x: Matrix,
    table: Matrix,
    head_dim: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let n_pairs = p.table.n_cols / 2u;
    let head = id.x / n_pairs;
    let pair = id.x % n_pairs;
    if (head + 1u) * p.head_dim > p.x.n_cols {
        return;
    }
    let cosine = load(TABLE, p.table, id.y, pair);
    let positive = load(TABLE, p.table, id.y, n_pairs + pair);
    let sine = select(positive, -positive, BACK);
    let first = head * p.head_dim;
    let at_a = first + select(pair, 2u * pair, INTERLEAVED);
    let at_b = first + select(pair + n_pairs, 2u * pair + 1u, INTERLEAVED);
    let a = load(X, p.x, id.y, at_a);
    let b = load(X, p.x, id.y, at_b);
    store(X, p.x, id.y, at_a, a * cosine - b * sine);
    store(X, p.x, id.y, at_b, a * sine + b * cosine);
}
