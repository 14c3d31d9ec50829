//! Rows of the gated activation and of the norm.

use super::{dot_of_three, exp::exp};

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

/// `y = w ⊙ x · factor`.
#[inline(always)]
pub(crate) fn scaled(x: &[f32], w: &[f32], factor: f32, y: &mut [f32]) {
    let n = y.len();
    let (x, w) = (&x[..n], &w[..n]);
    for i in 0..n {
        y[i] = x[i] * factor * w[i];
    }
}

/// `dx += root · (g − x · root² · mean(g ⊙ x))` with `g = w ⊙ dy`.
#[inline(always)]
pub(crate) fn norm_back(x: &[f32], w: &[f32], dy: &[f32], root: f32, dx: &mut [f32]) {
    let n = dx.len();
    let (x, w, dy) = (&x[..n], &w[..n], &dy[..n]);
    let mean = dot_of_three(x, w, dy) / n as f32;
    let along = root * root * root * mean;
    for i in 0..n {
        dx[i] += root * (w[i] * dy[i]) - along * x[i];
    }
}

#[inline(always)]
fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + exp(-v))
}
