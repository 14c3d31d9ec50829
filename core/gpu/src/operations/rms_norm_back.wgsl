// The gradient of rms_norm: dx = r (g - x r^2 mean(g x)) with r = 1 / sqrt(mean(x^2) + eps) and g = w dy, added to what dx holds
// if ACCUMULATE. All [T, n]; a workgroup does one group of `width` values.
struct Parameters {
    x: Matrix,
    dy: Matrix,
    w: Matrix,
    dx: Matrix,
    width: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Parameters;

fn weighted(row: u32, first: u32, i: u32) -> f32 {
    let dy = load(DY, p.dy, row, first + i);
    if WEIGHTED {
        return dy * load(W, p.w, 0u, i);
    }
    return dy;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * p.width;
    var squares = 0.0;
    var products = 0.0;
    for (var i = lane; i < p.width; i += LANES) {
        let x = load(X, p.x, group.y, first + i);
        squares = fma(x, x, squares);
        products = fma(x, weighted(group.y, first, i), products);
    }
    let n = f32(p.width);
    let r = 1.0 / sqrt(sum_of_lanes(lane, squares) / n + p.eps);
    let along = r * r * r * (sum_of_lanes(lane, products) / n);
    for (var i = lane; i < p.width; i += LANES) {
        var dx = r * weighted(group.y, first, i) - along * load(X, p.x, group.y, first + i);
        if ACCUMULATE {
            dx += load(DX, p.dx, group.y, first + i);
        }
        store(DX, p.dx, group.y, first + i, dx);
    }
}
