//! Root-mean-square norm, over whole rows or over each head of them, and its gradient.

use crate::error::{ShapeError, same};
use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut};

/// The norm of each group of `width` consecutive values of a row.
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm<'a> {
    /// `width` factors of the values, the same for all groups; all 1 without.
    pub weight: Option<&'a [f32]>,
    /// Values of a group: a whole row, or a head of it.
    pub width: usize,
    /// Added to the mean square.
    pub eps: f32,
}

/// `y = w ⊙ x / √(mean(x²) + eps)` for each group of each row (arXiv 1910.07467): x and y `[T, n]`, n a multiple of the
/// norm's width.
///
/// # Errors
/// For shapes that [`check_rms_norm`] refuses, which leave `y` untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `y`
/// meanwhile.
pub unsafe fn rms_norm(norm: RmsNorm, x: Rows, y: RowsMut, part: Part) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { rms_norm_on(Kernels::current(), norm, x, y, part) }
}

/// `dx = n'(x) · (w ⊙ dy)` for [`rms_norm`]'s gradient `dy`, or with `accumulate` that added to `dx`; all `[T, n]`. With
/// `n = x · r`, `r = 1/√(mean(x²) + eps)` and `g = w ⊙ dy`, it is `r · (g − x · r² · mean(g ⊙ x))`.
///
/// # Errors
/// For shapes that [`check_rms_norm`] refuses, with `dy` for `x` too, which leave `dx` untouched.
///
/// # Safety
/// As for [`rms_norm`], with `dx` for `y`.
pub unsafe fn rms_norm_back(
    norm: RmsNorm,
    x: Rows,
    dy: Rows,
    dx: RowsMut,
    accumulate: bool,
    part: Part,
) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { rms_norm_back_on(Kernels::current(), norm, x, dy, dx, accumulate, part) }
}

/// Whether the shapes fit for [`rms_norm`].
pub fn check_rms_norm(norm: &RmsNorm, x: &Rows, y: &RowsMut) -> Result<(), ShapeError> {
    const OP: &str = "rms_norm";
    let width = norm.width.max(1);
    same(OP, "width of a group", width, norm.width)?;
    same(OP, "length of the weight", width, norm.weight.map_or(width, <[f32]>::len))?;
    same(OP, "columns of whole groups", x.n_cols() / width * width, x.n_cols())?;
    same(OP, "rows of y", x.n_rows(), y.n_rows())?;
    same(OP, "columns of y", x.n_cols(), y.n_cols())
}

/// # Safety
/// As for [`rms_norm`], and the machine must have the instructions of `kernels`.
unsafe fn rms_norm_on(
    kernels: &Kernels,
    norm: RmsNorm,
    x: Rows,
    y: RowsMut,
    part: Part,
) -> Result<(), ShapeError> {
    check_rms_norm(&norm, &x, &y)?;
    for row in part.range(x.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        let y = unsafe { y.row_mut(row, 0..x.n_cols()) };
        for (x, y) in x.row(row).chunks_exact(norm.width).zip(y.chunks_exact_mut(norm.width)) {
            // SAFETY: the caller promises the instructions.
            unsafe { (kernels.rms_norm)(x, norm.weight, inverse_rms(kernels, x, norm.eps), y) };
        }
    }
    Ok(())
}

/// # Safety
/// As for [`rms_norm_back`], and the machine must have the instructions of `kernels`.
unsafe fn rms_norm_back_on(
    kernels: &Kernels,
    norm: RmsNorm,
    x: Rows,
    dy: Rows,
    dx: RowsMut,
    accumulate: bool,
    part: Part,
) -> Result<(), ShapeError> {
    check_rms_norm(&norm, &x, &dx)?;
    check_rms_norm(&norm, &dy, &dx)?;
    for row in part.range(x.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        let dx = unsafe { dx.row_mut(row, 0..x.n_cols()) };
        if !accumulate {
            dx.fill(0.0);
        }
        let groups = x.row(row).chunks_exact(norm.width).zip(dy.row(row).chunks_exact(norm.width));
        for ((x, dy), dx) in groups.zip(dx.chunks_exact_mut(norm.width)) {
            // SAFETY: the caller promises the instructions.
            unsafe {
                let r = inverse_rms(kernels, x, norm.eps);
                (kernels.rms_norm_back)(x, norm.weight, dy, r, dx);
            }
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

    /// `y`, and `dx` added to what it is given, in double precision, of one group.
    fn exact(x: &[f32], w: &[f64], dy: &[f32], dx: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let n = x.len();
        let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
        let root = 1.0 / (squares / n as f64 + f64::from(EPS)).sqrt();
        let y = x.iter().zip(w).map(|(x, w)| f64::from(*x) * w * root).collect();
        let g: Vec<f64> = w.iter().zip(dy).map(|(w, dy)| w * f64::from(*dy)).collect();
        let mean = g.iter().zip(x).map(|(g, x)| g * f64::from(*x)).sum::<f64>() / n as f64;
        let gradient = |i: usize| root * (g[i] - f64::from(x[i]) * root * root * mean);
        (y, (0..n).map(|i| f64::from(dx[i]) + gradient(i)).collect())
    }

    #[test]
    fn forward_and_backward_agree_with_double_precision_on_every_tier() {
        for (n_rows, n, width) in [(1, 1, 1), (5, 37, 37), (3, 576, 576), (4, 96, 24), (2, 160, 80)] {
            let mut random = Random::new(n as u64);
            let (x, w) = (random.floats(n_rows * n), random.floats(width));
            let (dy, dx) = (random.floats(n_rows * n), random.floats(n_rows * n));
            let rows = |values| Rows::new(values, n_rows, n, n).unwrap();
            for (weight, accumulate) in [(true, true), (true, false), (false, true), (false, false)] {
                let norm = RmsNorm { weight: weight.then_some(&w[..]), width, eps: EPS };
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
                            rms_norm_on(kernels, norm, rows(&x), y_rows, part).unwrap();
                            rms_norm_back_on(kernels, norm, rows(&x), rows(&dy), sum_rows, accumulate, part)
                                .unwrap();
                        }
                    }
                    results.push((y, sum));
                }
                let (y, sum) = results[0].clone();
                assert!(results.iter().all(|other| *other == results[0]));
                let factors: Vec<f64> = w.iter().map(|w| if weight { f64::from(*w) } else { 1.0 }).collect();
                let before = if accumulate { dx.clone() } else { vec![0.0; dx.len()] };
                for first in (0..n_rows * n).step_by(width) {
                    let group = first..first + width;
                    let squares: f64 = x[group.clone()].iter().map(|x| f64::from(*x).powi(2)).sum();
                    let root = 1.0 / (squares / width as f64 + f64::from(EPS)).sqrt();
                    let (want_y, want_dx) =
                        exact(&x[group.clone()], &factors, &dy[group.clone()], &before[group.clone()]);
                    for i in 0..width {
                        let (got, want) = (f64::from(y[first + i]), want_y[i]);
                        assert!((got - want).abs() < 1e-6 * (1.0 + want.abs()), "{got} {want}");
                        let (got, want) = (f64::from(sum[first + i]), want_dx[i]);
                        assert!(
                            (got - want).abs() < 2e-6 * (1.0 + root) * (1.0 + want.abs()),
                            "{got} {want}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let (x, w) = ([1.0; 12], [1.0; 6]);
        let mut y = [7.0; 12];
        let y = RowsMut::new(&mut y, 2, 6, 6).unwrap();
        let x = Rows::new(&x, 2, 6, 6).unwrap();
        for (weight, width) in [(None, 0), (None, 4), (None, 12), (Some(&w[..]), 3), (Some(&w[..5]), 6)] {
            assert!(check_rms_norm(&RmsNorm { weight, width, eps: EPS }, &x, &y).is_err(), "{width}");
        }
        assert!(check_rms_norm(&RmsNorm { weight: Some(&w), width: 6, eps: EPS }, &x, &y).is_ok());
    }
}
