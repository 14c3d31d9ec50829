//! One row of the root-mean-square norm, forward and backward.

use super::dot_of_three;

/// `y = w ⊙ x · r` with `r = 1 / √(mean(x²) + eps)`.
#[inline(always)]
pub(crate) fn rms_norm(x: &[f32], w: &[f32], r: f32, y: &mut [f32]) {
    let n = y.len();
    let (x, w) = (&x[..n], &w[..n]);
    for i in 0..n {
        y[i] = x[i] * r * w[i];
    }
}

/// `dx += r · (g − x · r² · mean(g ⊙ x))` with `g = w ⊙ dy`.
#[inline(always)]
pub(crate) fn rms_norm_back(x: &[f32], w: &[f32], dy: &[f32], r: f32, dx: &mut [f32]) {
    let n = dx.len();
    let (x, w, dy) = (&x[..n], &w[..n], &dy[..n]);
    let mean = dot_of_three(x, w, dy) / n as f32;
    let along = r * r * r * mean;
    for i in 0..n {
        dx[i] += r * (w[i] * dy[i]) - along * x[i];
    }
}
