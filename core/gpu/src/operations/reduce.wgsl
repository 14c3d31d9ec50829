// Reductions over the 64 invocations of a workgroup, in a fixed order: half of them take up the other half until one is left. All
// invocations must call them, and get the result.

const LANES: u32 = 64u;

var<workgroup> partial: array<f32, LANES>;
var<workgroup> partial_index: array<u32, LANES>;

fn sum_of_lanes(lane: u32, value: f32) -> f32 {
    partial[lane] = value;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            partial[lane] += partial[lane + half];
        }
    }
    return workgroupUniformLoad(&partial[0]);
}

struct Largest {
    value: f32,
    index: u32,
}

// The largest value and its index; of equal ones, the lowest index. A value that is no number is never the largest.
fn largest_of_lanes(lane: u32, value: f32, index: u32) -> Largest {
    partial[lane] = value;
    partial_index[lane] = index;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            let other = partial[lane + half];
            let other_index = partial_index[lane + half];
            let is_larger = other > partial[lane];
            let is_earlier = other == partial[lane] && other_index < partial_index[lane];
            if is_larger || is_earlier {
                partial[lane] = other;
                partial_index[lane] = other_index;
            }
        }
    }
    return Largest(workgroupUniformLoad(&partial[0]), workgroupUniformLoad(&partial_index[0]));
}
