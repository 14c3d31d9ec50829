//! One group of values of the root-mean-square norm, forward and backward.

use super::{dot, dot_of_three};

/// `y = w ⊙ x · r` with `r = 1 / √(mean(x²) + eps)`, or without `w`.
#[inline(always)]
pub(crate) fn rms_norm(x: &[f32], w: Option<&[f32]>, r: f32, y: &mut [f32]) {
    let n = y.len();
    let x = &x[..n];
    match w {
        Some(w) => {
            let w = &w[..n];
            for i in 0..n {
                y[i] = x[i] * r * w[i];
            }
        }
        None => {
            for i in 0..n {
                y[i] = x[i] * r;
            }
        }
    }
}

/// `dx += r · (g − x · r² · mean(g ⊙ x))` with `g = w ⊙ dy`, or `g = dy` without `w`.
#[inline(always)]
pub(crate) fn rms_norm_back(x: &[f32], w: Option<&[f32]>, dy: &[f32], r: f32, dx: &mut [f32]) {
    let n = dx.len();
    let (x, dy) = (&x[..n], &dy[..n]);
    let along = |mean: f32| r * r * r * mean;
    match w {
        Some(w) => {
            let w = &w[..n];
            let along = along(dot_of_three(x, w, dy) / n as f32);
            for i in 0..n {
                dx[i] += r * (w[i] * dy[i]) - along * x[i];
            }
        }
        None => {
            let along = along(dot(x, dy) / n as f32);
            for i in 0..n {
                dx[i] += r * dy[i] - along * x[i];
            }
        }
    }
}
