// Operands in workgroup memory are in half precision, which is half of the memory; sums are not. Half precision reaches from 6e-8 to
// 65504: each row of x is brought near 1 by a power of two, of which row_scales.wgsl has made a row of factors for each token.

alias Operand = f16;

@group(0) @binding(4) var<storage, read_write> scales: array<f32>;

// What a row of x is multiplied with before, and its results afterwards.
fn x_factor(token: u32) -> f32 {
    return scales[p.scales_first + 2u * token];
}

fn y_factor(token: u32) -> f32 {
    return scales[p.scales_first + 2u * token + 1u];
}
