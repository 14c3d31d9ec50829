// The gradients of attention for keys and values: dk = sum_i ds_i q_i and dv = sum_i p_i dout_i over the queries i that attend to
// the key, of all heads that share it, with p, ds and delta as for the queries. dkv [T, 2 n_head_kv HEAD_DIM]: that of the keys,
// then that of the values. A workgroup does one key of one head, 64 queries at a time.
struct Parameters {
    q: Matrix,
    k: Matrix,
    v: Matrix,
    starts: Matrix,
    out: Matrix,
    dout: Matrix,
    dkv: Matrix,
    delta: Matrix,
    // Heads that share a key head.
    group: u32,
    window: u32,
    scale: f32,
    cap: f32,
    // Of this dispatch.
    first_line: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;

var<workgroup> key_values: array<f32, HEAD_DIM>;
var<workgroup> values: array<f32, HEAD_DIM>;
var<workgroup> weights: array<f32, LANES>;
var<workgroup> gradients: array<f32, LANES>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let key = p.first_line + group.y;
    let of_key = group.x * HEAD_DIM;
    for (var i = lane; i < HEAD_DIM; i += LANES) {
        key_values[i] = load(K, p.k, key, of_key + i);
        values[i] = load(V, p.v, key, of_key + i);
    }
    // The last query that attends to the key: itself or a later one.
    var last = key;
    for (var t = key + lane; t < p.q.n_rows; t += LANES) {
        if first_key(t) <= key {
            last = t;
        }
    }
    // Indices of tokens are exact as floats.
    let end = u32(largest_of_lanes(lane, f32(last), lane).value) + 1u;
    var key_sums = array<f32, PER_LANE>();
    var value_sums = array<f32, PER_LANE>();
    for (var head = group.x * p.group; head < (group.x + 1u) * p.group; head++) {
        let of_query = head * HEAD_DIM;
        for (var start = key; start < end; start += LANES) {
            let t = start + lane;
            var weight = 0.0;
            var gradient = 0.0;
            if t < end && first_key(t) <= key {
                var dot = 0.0;
                var dp = 0.0;
                for (var i = 0u; i < HEAD_DIM; i++) {
                    dot = fma(load(Q, p.q, t, of_query + i), key_values[i], dot);
                    dp = fma(load(DOUT, p.dout, t, of_query + i), values[i], dp);
                }
                let score = score_of(dot);
                weight = exp_f32(score - load(OUT, p.out, t, p.q.n_cols + head));
                gradient = weight * (dp - load(DELTA, p.delta, t, head)) * slope_of(score);
            }
            weights[lane] = weight;
            gradients[lane] = gradient;
            workgroupBarrier();
            let n_queries = min(LANES, end - start);
            for (var i = 0u; i < PER_LANE; i++) {
                let column = lane + i * LANES;
                if column < HEAD_DIM {
                    for (var j = 0u; j < n_queries; j++) {
                        let at = of_query + column;
                        key_sums[i] = fma(gradients[j], load(Q, p.q, start + j, at), key_sums[i]);
                        value_sums[i] = fma(weights[j], load(DOUT, p.dout, start + j, at), value_sums[i]);
                    }
                }
            }
            workgroupBarrier();
        }
    }
    let n_columns = p.k.n_cols;
    for (var i = 0u; i < PER_LANE; i++) {
        let column = lane + i * LANES;
        if column < HEAD_DIM {
            store(DKV, p.dkv, key, of_key + column, key_sums[i]);
            store(DKV, p.dkv, key, n_columns + of_key + column, value_sums[i]);
        }
    }
}
