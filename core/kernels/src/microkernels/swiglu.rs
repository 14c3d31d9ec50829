//! One row of the gated activation, forward and backward.

use super::exp::exp;

/// `y = silu(gate) ⊙ up`.
#[inline(always)]
pub(crate) fn swiglu(gate: &[f32], up: &[f32], y: &mut [f32]) {
    let n = y.len();
    let (gate, up) = (&gate[..n], &up[..n]);
    for i in 0..n {
        y[i] = gate[i] * sigmoid(gate[i]) * up[i];
    }
}

/// `gate` and `up` become their gradients, and `dy` becomes `y`.
#[inline(always)]
pub(crate) fn swiglu_back(gate: &mut [f32], up: &mut [f32], dy: &mut [f32]) {
    let n = dy.len();
    let (gate, up) = (&mut gate[..n], &mut up[..n]);
    for i in 0..n {
        let (v, s) = (gate[i], sigmoid(gate[i]));
        let (u, d, silu) = (up[i], dy[i], v * s);
        gate[i] = d * u * silu.mul_add(1.0 - s, s);
        up[i] = d * silu;
        dy[i] = silu * u;
    }
}

#[inline(always)]
fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + exp(-v))
}
