// Products of matrices of 8 by 8 with matrix units and nothing else: in each of the four subgroups of 32 lanes eight independent sums,
// as many as keep the units busy.

struct Parameters {
    factor: f32,
}

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

var<workgroup> operand: array<f32, 64>;
var<workgroup> sums: array<f32, 2048>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    if (thread < 64u) {
        operand[thread] = p.factor;
    }
    workgroupBarrier();
    let left = coopLoad<coop_mat8x8<f32, A>>(&operand[0], 8u);
    let right = coopLoadT<coop_mat8x8<f32, B>>(&operand[0], 8u);
    var a = coop_mat8x8<f32, C>();
    var b = coop_mat8x8<f32, C>();
    var c = coop_mat8x8<f32, C>();
    var d = coop_mat8x8<f32, C>();
    var e = coop_mat8x8<f32, C>();
    var f = coop_mat8x8<f32, C>();
    var g = coop_mat8x8<f32, C>();
    var h = coop_mat8x8<f32, C>();
    for (var turn = 0u; turn < 256u; turn++) {
        a = coopMultiplyAdd(left, right, a);
        b = coopMultiplyAdd(left, right, b);
        c = coopMultiplyAdd(left, right, c);
        d = coopMultiplyAdd(left, right, d);
        e = coopMultiplyAdd(left, right, e);
        f = coopMultiplyAdd(left, right, f);
        g = coopMultiplyAdd(left, right, g);
        h = coopMultiplyAdd(left, right, h);
    }
    let first = thread / 32u * 512u;
    coopStoreT(a, &sums[first], 8u);
    coopStoreT(b, &sums[first + 64u], 8u);
    coopStoreT(c, &sums[first + 128u], 8u);
    coopStoreT(d, &sums[first + 192u], 8u);
    coopStoreT(e, &sums[first + 256u], 8u);
    coopStoreT(f, &sums[first + 320u], 8u);
    coopStoreT(g, &sums[first + 384u], 8u);
    coopStoreT(h, &sums[first + 448u], 8u);
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < 16u; i++) {
        sum += sums[16u * thread + i];
    }
    y[128u * group.x + thread] = sum;
}
