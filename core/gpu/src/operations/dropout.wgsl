// y[t, i] = x[t, i] factor if a hash of the key, t and i is below limit / 2^24, else 0; both [T, n]. The hash is the CPU's, bit for
// bit: a seed of 64 bits for each row, here in two words, the lower one first, and then 32 bits for each value.
struct Parameters {
    x: Matrix,
    y: Matrix,
    key: vec2<u32>,
    limit: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> p: Parameters;

fn sum(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn product(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    // The lower words as halves.
    let a0 = a.x & 0xffffu;
    let a1 = a.x >> 16u;
    let b0 = b.x & 0xffffu;
    let b1 = b.x >> 16u;
    let middle = ((a0 * b0) >> 16u) + ((a0 * b1) & 0xffffu) + ((a1 * b0) & 0xffffu);
    let carried = a1 * b1 + ((a0 * b1) >> 16u) + ((a1 * b0) >> 16u) + (middle >> 16u);
    return vec2<u32>(a.x * b.x, carried + a.x * b.y + a.y * b.x);
}

fn shifted(word: vec2<u32>, n: u32) -> vec2<u32> {
    return vec2<u32>((word.x >> n) | (word.y << (32u - n)), word.y >> n);
}

// SplitMix64 (Steele, Lea, Flood 2014) of the key and the row.
fn row_seed(row: u32) -> vec2<u32> {
    var word = sum(p.key, product(vec2<u32>(row + 1u, 0u), vec2<u32>(0x7f4a7c15u, 0x9e3779b9u)));
    word = product(word ^ shifted(word, 30u), vec2<u32>(0x1ce4e5b9u, 0xbf58476du));
    word = product(word ^ shifted(word, 27u), vec2<u32>(0x133111ebu, 0x94d049bbu));
    return word ^ shifted(word, 31u);
}

fn mix(input: u32) -> u32 {
    var word = (input ^ (input >> 16u)) * 0x7feb352du;
    word = (word ^ (word >> 15u)) * 0x846ca68bu;
    return word ^ (word >> 16u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.y.n_cols {
        return;
    }
    let seed = row_seed(id.y);
    let hash = mix(mix((id.x * 0x9e3779b9u) ^ seed.x) + seed.y);
    let x = load(X, p.x, id.y, id.x);
    store(Y, p.y, id.y, id.x, select(0.0, x * p.factor, (hash >> 8u) < p.limit));
}
