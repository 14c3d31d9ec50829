// The loss of a row of products z [T, n_vocab] and its gradient, in place. With logits l = cap tanh(scale z / cap), or scale z if
// not CAPPED, and a row's target: loss = log sum exp l - l[target], and z = (softmax(l) - onehot(target)) dl/dz. loss [T, 2] gets
// that and 1 if the target is the first largest, else 0; all is 0 for a negative target. A workgroup does one row.
struct Parameters {
    z: Matrix,
    targets: Matrix,
    loss: Matrix,
    scale: f32,
    cap: f32,
    // Of this dispatch.
    first_line: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;

// Values that are summed before the sum goes on, for each invocation: keeps the error independent of the vocabulary.
const BLOCK: u32 = 64u;

fn logit(z: f32) -> f32 {
    if CAPPED {
        return capped(z * p.scale, p.cap);
    }
    return z * p.scale;
}

// exp(l - largest); the difference is rounded once.
fn weight(z: f32, largest: f32) -> f32 {
    if CAPPED {
        return exp_f32(logit(z) - largest);
    }
    return exp_f32(fma(z, p.scale, -largest));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = p.first_line + group.y;
    let n = p.z.n_cols;
    var largest = -3.4028234e38;
    var index = 0xffffffffu;
    for (var i = lane; i < n; i += LANES) {
        let z = load(Z, p.z, row, i);
        if z > largest {
            largest = z;
            index = i;
        }
    }
    let found = largest_of_lanes(lane, largest, index);
    largest = logit(found.value);
    var sum = 0.0;
    for (var start = lane; start < n; start += BLOCK * LANES) {
        var block = 0.0;
        for (var i = start; i < min(n, start + BLOCK * LANES); i += LANES) {
            block += weight(load(Z, p.z, row, i), largest);
        }
        sum += block;
    }
    sum = sum_of_lanes(lane, sum);
    let wanted = load_integer(TARGETS, p.targets, row);
    let is_supervised = wanted >= 0;
    let own = u32(max(wanted, 0));
    if lane == 0u {
        let loss = log_f32(sum) + largest - logit(load(Z, p.z, row, own));
        let is_hit = is_supervised && found.index == own;
        store(LOSS, p.loss, row, 0u, select(0.0, loss, is_supervised));
        store(LOSS, p.loss, row, 1u, select(0.0, 1.0, is_hit));
    }
    // The target's product is overwritten below.
    storageBarrier();
    workgroupBarrier();
    for (var i = lane; i < n; i += LANES) {
        let z = load(Z, p.z, row, i);
        var slope = p.scale;
        if CAPPED {
            let tanh = logit(z) / p.cap;
            slope *= 1.0 - tanh * tanh;
        }
        let gradient = (weight(z, largest) / sum - select(0.0, 1.0, i == own)) * slope;
        store(Z, p.z, row, i, select(0.0, gradient, is_supervised));
    }
}
