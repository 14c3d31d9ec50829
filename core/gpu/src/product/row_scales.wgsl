// For each row of x [T, n] a power of two that brings its largest magnitude to at least 1 and below 2, and what undoes it:
// scales [T, 2]. A workgroup does one row.
struct Parameters {
    x: Matrix,
    scales: Matrix,
}

@group(0) @binding(0) var<uniform> p: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var largest = 0.0;
    for (var i = lane; i < p.x.n_cols; i += LANES) {
        largest = max(largest, abs(load(X, p.x, group.y, i)));
    }
    largest = largest_of_lanes(lane, largest, lane).value;
    if lane == 0u {
        // The sign and the digits away, the next lower power of two is left. Zeros, subnormals and what is not finite stay.
        let exponent = bitcast<u32>(largest) & 0x7f800000u;
        let is_scaled = exponent > 0x01000000u && exponent < 0x7e000000u;
        let power = select(1.0, bitcast<f32>(exponent), is_scaled);
        store(SCALES, p.scales, group.y, 0u, 1.0 / power);
        store(SCALES, p.scales, group.y, 1u, power);
    }
}
