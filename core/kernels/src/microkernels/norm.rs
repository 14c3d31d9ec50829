//! One row of the root-mean-square norm, forward and backward.

use super::dot_of_three;

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
