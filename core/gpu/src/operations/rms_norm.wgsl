// y = w x / sqrt(mean(x^2) + eps) of each group of `width` values of each row of x [T, n]; w [1, width], or 1 if not WEIGHTED
// (arXiv 1910.07467). A workgroup does one group.
struct Parameters {
    x: Matrix,
    w: Matrix,
    y: Matrix,
    width: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * p.width;
    var squares = 0.0;
    for (var i = lane; i < p.width; i += LANES) {
        let x = load(X, p.x, group.y, first + i);
        squares = fma(x, x, squares);
    }
    let r = 1.0 / sqrt(sum_of_lanes(lane, squares) / f32(p.width) + p.eps);
    for (var i = lane; i < p.width; i += LANES) {
        var y = load(X, p.x, group.y, first + i) * r;
        if WEIGHTED {
            y *= load(W, p.w, 0u, i);
        }
        store(Y, p.y, group.y, first + i, y);
    }
}
