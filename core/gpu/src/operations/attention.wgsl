// Causal soft-max attention inside segments: out = sum_j p_j v_j over the keys j that a query attends to, p = softmax(s) and
// s_j = scale q k_j, perhaps soft-capped; then log sum exp s. q [T, n_head HEAD_DIM], k and v [T, n_head_kv HEAD_DIM], out
// [T, n_head HEAD_DIM + n_head]. A workgroup does one head of one query, 64 keys at a time, with the largest score so far taken off
// (Dao et al. 2022, algorithm 1).
struct Parameters {
    q: Matrix,
    k: Matrix,
    v: Matrix,
    starts: Matrix,
    out: Matrix,
    // Heads that share a key head.
    group: u32,
    window: u32,
    scale: f32,
    cap: f32,
    // Of this dispatch.
    first_line: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;

var<workgroup> query: array<f32, HEAD_DIM>;
var<workgroup> weights: array<f32, LANES>;
var<workgroup> first: u32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let t = p.first_line + group.y;
    let of_query = head * HEAD_DIM;
    let of_key = head / p.group * HEAD_DIM;
    for (var i = lane; i < HEAD_DIM; i += LANES) {
        query[i] = load(Q, p.q, t, of_query + i);
    }
    if lane == 0u {
        first = first_key(t);
    }
    var sums = array<f32, PER_LANE>();
    var largest = -3.4028234e38;
    var total = 0.0;
    // Behind the barrier of this load all of the query is there.
    for (var start = workgroupUniformLoad(&first); start <= t; start += LANES) {
        let key = start + lane;
        let attends = key <= t;
        var score = -3.4028234e38;
        if attends {
            var dot = 0.0;
            for (var i = 0u; i < HEAD_DIM; i++) {
                dot = fma(query[i], load(K, p.k, key, of_key + i), dot);
            }
            score = score_of(dot);
        }
        let before = largest;
        largest = max(largest, largest_of_lanes(lane, score, lane).value);
        let weight = select(0.0, exp_f32(score - largest), attends);
        weights[lane] = weight;
        let factor = exp_f32(before - largest);
        // Behind the barriers of this sum all weights are there.
        total = fma(total, factor, sum_of_lanes(lane, weight));
        let n_keys = min(LANES, t + 1u - start);
        for (var i = 0u; i < PER_LANE; i++) {
            let column = lane + i * LANES;
            if column < HEAD_DIM {
                var sum = sums[i] * factor;
                for (var j = 0u; j < n_keys; j++) {
                    sum = fma(weights[j], load(V, p.v, start + j, of_key + column), sum);
                }
                sums[i] = sum;
            }
        }
    }
    for (var i = 0u; i < PER_LANE; i++) {
        let column = lane + i * LANES;
        if column < HEAD_DIM {
            store(OUT, p.out, t, of_query + column, sums[i] / total);
        }
    }
    if lane == 0u {
        store(OUT, p.out, t, p.q.n_cols + head, largest + log_f32(total));
    }
}
