// The gradient of attention for the queries: dq = sum_j ds_j k_j with p_j = exp(s_j - lse), ds_j = p_j (dout v_j - delta) ds/d(q k_j)
// and delta = sum dout out (Dao et al. 2022, appendix B.4), which is kept for the keys: delta [T, n_head]. A workgroup does one head
// of one query, 64 keys at a time.
struct Parameters {
    q: Matrix,
    k: Matrix,
    v: Matrix,
    starts: Matrix,
    out: Matrix,
    dout: Matrix,
    dq: Matrix,
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

var<workgroup> query: array<f32, HEAD_DIM>;
var<workgroup> dout: array<f32, HEAD_DIM>;
var<workgroup> gradients: array<f32, LANES>;
var<workgroup> first: u32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let t = p.first_line + group.y;
    let of_query = head * HEAD_DIM;
    let of_key = head / p.group * HEAD_DIM;
    var delta = 0.0;
    for (var i = lane; i < HEAD_DIM; i += LANES) {
        query[i] = load(Q, p.q, t, of_query + i);
        let gradient = load(DOUT, p.dout, t, of_query + i);
        dout[i] = gradient;
        delta = fma(gradient, load(OUT, p.out, t, of_query + i), delta);
    }
    delta = sum_of_lanes(lane, delta);
    if lane == 0u {
        store(DELTA, p.delta, t, head, delta);
        first = first_key(t);
    }
    let lse = load(OUT, p.out, t, p.q.n_cols + head);
    var sums = array<f32, PER_LANE>();
    for (var start = workgroupUniformLoad(&first); start <= t; start += LANES) {
        let key = start + lane;
        var gradient = 0.0;
        if key <= t {
            var dot = 0.0;
            var dp = 0.0;
            for (var i = 0u; i < HEAD_DIM; i++) {
                dot = fma(query[i], load(K, p.k, key, of_key + i), dot);
                dp = fma(dout[i], load(V, p.v, key, of_key + i), dp);
            }
            let score = score_of(dot);
            gradient = exp_f32(score - lse) * (dp - delta) * slope_of(score);
        }
        gradients[lane] = gradient;
        workgroupBarrier();
        let n_keys = min(LANES, t + 1u - start);
        for (var i = 0u; i < PER_LANE; i++) {
            let column = lane + i * LANES;
            if column < HEAD_DIM {
                for (var j = 0u; j < n_keys; j++) {
                    sums[i] = fma(gradients[j], load(K, p.k, start + j, of_key + column), sums[i]);
                }
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < PER_LANE; i++) {
        let column = lane + i * LANES;
        if column < HEAD_DIM {
            store(DQ, p.dq, t, of_query + column, sums[i]);
        }
    }
}
