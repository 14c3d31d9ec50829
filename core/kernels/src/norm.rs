//! Root-mean-square norm with its weight, and its gradient added to the residual stream's.

use crate::error::{ShapeError, same};
use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut};

/// `y = w ⊙ x / √(mean(x²) + eps)`, row by row (arXiv 1910.07467): x and y `[T, n]`, w of n.
///
/// # Errors
/// For shapes that [`check_rms_norm`] refuses, which leave `y` untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `y`
/// meanwhile.
pub unsafe fn rms_norm(x: Rows, w: &[f32], eps: f32, y: RowsMut, part: Part) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { rms_norm_on(Kernels::current(), x, w, eps, y, part) }
}

/// `dx += n'(x) · (w ⊙ dy)` for [`rms_norm`]'s gradient `dy`; all `[T, n]`. With `n = x · r`, `r = 1/√(mean(x²) + eps)` and
/// `g = w ⊙ dy`, that is `r · (g − x · r² · mean(g ⊙ x))`.
///
/// # Errors
/// For shapes that [`check_rms_norm`] refuses, with `dy` for `x` too, which leave `dx` untouched.
///
/// # Safety
/// As for [`rms_norm`], with `dx` for `y`.
pub unsafe fn rms_norm_back(
    x: Rows,
    w: &[f32],
    eps: f32,
    dy: Rows,
    dx: RowsMut,
    part: Part,
) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { rms_norm_back_on(Kernels::current(), x, w, eps, dy, dx, part) }
}

/// Whether the shapes fit for [`rms_norm`].
pub fn check_rms_norm(x: &Rows, w: &[f32], y: &RowsMut) -> Result<(), ShapeError> {
    const OP: &str = "rms_norm";
    same(OP, "length of the weight", x.n_cols(), w.len())?;
    same(OP, "rows of y", x.n_rows(), y.n_rows())?;
    same(OP, "columns of y", x.n_cols(), y.n_cols())
}

/// # Safety
/// As for [`rms_norm`], and the machine must have the instructions of `kernels`.
unsafe fn rms_norm_on(
    kernels: &Kernels,
    x: Rows,
    w: &[f32],
    eps: f32,
    y: RowsMut,
    part: Part,
) -> Result<(), ShapeError> {
    check_rms_norm(&x, w, &y)?;
    for row in part.range(x.n_rows()) {
        let x = x.row(row);
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe { (kernels.rms_norm)(x, w, inverse_rms(kernels, x, eps), y.row_mut(row, 0..w.len())) };
    }
    Ok(())
}

/// # Safety
/// As for [`rms_norm_back`], and the machine must have the instructions of `kernels`.
unsafe fn rms_norm_back_on(
    kernels: &Kernels,
    x: Rows,
    w: &[f32],
    eps: f32,
    dy: Rows,
    dx: RowsMut,
    part: Part,
) -> Result<(), ShapeError> {
    check_rms_norm(&x, w, &dx)?;
    check_rms_norm(&dy, w, &dx)?;
    for row in part.range(x.n_rows()) {
        let (x, dy) = (x.row(row), dy.row(row));
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe {
            let r = inverse_rms(kernels, x, eps);
            (kernels.rms_norm_back)(x, w, dy, r, dx.row_mut(row, 0..w.len()));
        }
    }
    Ok(())
}

/// `1 / √(mean(x²) + eps)`.
///
/// # Safety
/// The machine must have the instructions of `kernels`.
unsafe fn inverse_rms(kernels: &Kernels, x: &[f32], eps: f32) -> f32 {
    // SAFETY: the caller's promise.
    let squares = unsafe { (kernels.dot)(x, x) };
    1.0 / (squares / x.len() as f32 + eps).sqrt()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Tier;
    use crate::weights::reference::Random;

    const EPS: f32 = 1e-5;

    fn exact(x: &[f32], w: &[f32]) -> Vec<f64> {
        let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
        let root = 1.0 / (squares / x.len() as f64 + f64::from(EPS)).sqrt();
        x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w) * root).collect()
    }

    #[test]
    fn forward_and_backward_agree_with_double_precision_on_every_tier() {
        for (n_rows, n) in [(1, 1), (5, 37), (3, 576)] {
            let mut random = Random::new(n as u64);
            let (x, w) = (random.floats(n_rows * n), random.floats(n));
            let (dy, dx) = (random.floats(n_rows * n), random.floats(n_rows * n));
            let rows = |values| Rows::new(values, n_rows, n, n).unwrap();
            let mut results = Vec::new();
            for (tier, count) in Tier::available().into_iter().flat_map(|tier| [(tier, 1), (tier, 3)]) {
                let kernels = Kernels::of(tier).unwrap();
                let (mut y, mut sum) = (vec![f32::NAN; n_rows * n], dx.clone());
                let y_rows = RowsMut::new(&mut y, n_rows, n, n).unwrap();
                let sum_rows = RowsMut::new(&mut sum, n_rows, n, n).unwrap();
                for index in 0..count {
                    let part = Part { index, count };
                    // SAFETY: the tier is available, each part is run once, and nothing else touches the results.
                    unsafe {
                        rms_norm_on(kernels, rows(&x), &w, EPS, y_rows, part).unwrap();
                        rms_norm_back_on(kernels, rows(&x), &w, EPS, rows(&dy), sum_rows, part).unwrap();
                    }
                }
                results.push((y, sum));
            }
            let (y, sum) = results[0].clone();
            assert!(results.iter().all(|other| *other == results[0]));
            for row in 0..n_rows {
                let range = row * n..(row + 1) * n;
                let x = &x[range.clone()];
                for (got, want) in y[range.clone()].iter().zip(exact(x, &w)) {
                    assert!((f64::from(*got) - want).abs() < 1e-6 * (1.0 + want.abs()));
                }
                // Directional derivatives along each axis, from the closed form in double precision.
                let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
                let root = 1.0 / (squares / n as f64 + f64::from(EPS)).sqrt();
                let g: Vec<f64> = (0..n).map(|i| f64::from(w[i]) * f64::from(dy[range.start + i])).collect();
                let mean = g.iter().zip(x).map(|(g, x)| g * f64::from(*x)).sum::<f64>() / n as f64;
                for i in 0..n {
                    let want =
                        f64::from(dx[range.start + i]) + root * (g[i] - f64::from(x[i]) * root * root * mean);
                    let got = f64::from(sum[range.start + i]);
                    assert!((got - want).abs() < 2e-6 * (1.0 + root) * (1.0 + want.abs()), "{got} {want}");
                }
            }
        }
    }
}
