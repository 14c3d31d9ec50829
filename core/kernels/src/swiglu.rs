//! The gated activation of the feed-forward part (SwiGLU, arXiv 2002.05202), forward and backward.

use crate::error::{ShapeError, same};
use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut};

/// `y = silu(gate) ⊙ up` with `silu(v) = v / (1 + exp(−v))`; all `[T, n]`.
///
/// # Errors
/// For shapes that [`check_swiglu`] refuses, which leave `y` untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `y`
/// meanwhile.
pub unsafe fn swiglu(gate: Rows, up: Rows, y: RowsMut, part: Part) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { swiglu_on(Kernels::current(), gate, up, y, part) }
}

/// The gradients of [`swiglu`], each in the place of what it needs: `gate` and `up` become their gradients, and `dy`, the
/// gradient of `y`, becomes `y` itself, which the gradient of the next matrix's adapter needs. All `[T, n]`.
///
/// # Errors
/// For shapes that [`check_swiglu_back`] refuses, which leave everything untouched.
///
/// # Safety
/// As for [`swiglu`], with all three for `y`; they must be apart.
pub unsafe fn swiglu_back(gate: RowsMut, up: RowsMut, dy: RowsMut, part: Part) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { swiglu_back_on(Kernels::current(), gate, up, dy, part) }
}

/// Whether the shapes fit for [`swiglu`].
pub fn check_swiglu(gate: &Rows, up: &Rows, y: &RowsMut) -> Result<(), ShapeError> {
    const OP: &str = "swiglu";
    same(OP, "rows of up", gate.n_rows(), up.n_rows())?;
    same(OP, "columns of up", gate.n_cols(), up.n_cols())?;
    same(OP, "rows of y", gate.n_rows(), y.n_rows())?;
    same(OP, "columns of y", gate.n_cols(), y.n_cols())
}

/// Whether the shapes fit for [`swiglu_back`].
pub fn check_swiglu_back(gate: &RowsMut, up: &RowsMut, dy: &RowsMut) -> Result<(), ShapeError> {
    const OP: &str = "swiglu_back";
    for other in [up, dy] {
        same(OP, "rows", gate.n_rows(), other.n_rows())?;
        same(OP, "columns", gate.n_cols(), other.n_cols())?;
    }
    Ok(())
}

/// # Safety
/// As for [`swiglu`], and the machine must have the instructions of `kernels`.
unsafe fn swiglu_on(
    kernels: &Kernels,
    gate: Rows,
    up: Rows,
    y: RowsMut,
    part: Part,
) -> Result<(), ShapeError> {
    check_swiglu(&gate, &up, &y)?;
    for row in part.range(gate.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe { (kernels.swiglu)(gate.row(row), up.row(row), y.row_mut(row, 0..gate.n_cols())) };
    }
    Ok(())
}

/// # Safety
/// As for [`swiglu_back`], and the machine must have the instructions of `kernels`.
unsafe fn swiglu_back_on(
    kernels: &Kernels,
    gate: RowsMut,
    up: RowsMut,
    dy: RowsMut,
    part: Part,
) -> Result<(), ShapeError> {
    check_swiglu_back(&gate, &up, &dy)?;
    let columns = 0..gate.n_cols();
    for row in part.range(gate.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe {
            let [gate, up, dy] = [gate, up, dy].map(|matrix| matrix.row_mut(row, columns.clone()));
            (kernels.swiglu_back)(gate, up, dy);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Tier;
    use crate::weights::reference::Random;

    #[test]
    fn forward_and_backward_agree_with_double_precision_on_every_tier() {
        let (n_rows, n) = (5, 53);
        let mut random = Random::new(3);
        let mut gate: Vec<f32> = random.floats(n_rows * n).iter().map(|v| 8.0 * v).collect();
        gate[..4].copy_from_slice(&[-200.0, 200.0, -88.5, 0.0]);
        let (up, dy) = (random.floats(n_rows * n), random.floats(n_rows * n));
        let rows = |values| Rows::new(values, n_rows, n, n).unwrap();
        let mut results = Vec::new();
        for (tier, count) in Tier::available().into_iter().flat_map(|tier| [(tier, 1), (tier, 3)]) {
            let kernels = Kernels::of(tier).unwrap();
            let (mut y, mut again) = (vec![f32::NAN; n_rows * n], dy.clone());
            let (mut dgate, mut dup) = (gate.clone(), up.clone());
            let [y_rows, dy_rows, dgate_rows, dup_rows] = [&mut y, &mut again, &mut dgate, &mut dup]
                .map(|values| RowsMut::new(values, n_rows, n, n).unwrap());
            for index in 0..count {
                let part = Part { index, count };
                // SAFETY: the tier is available, each part is run once, and nothing else touches the results.
                unsafe {
                    swiglu_on(kernels, rows(&gate), rows(&up), y_rows, part).unwrap();
                    swiglu_back_on(kernels, dgate_rows, dup_rows, dy_rows, part).unwrap();
                }
            }
            assert_eq!(y, again);
            results.push((y, dgate, dup));
        }
        assert!(results.iter().all(|other| *other == results[0]));
        let (y, dgate, dup) = &results[0];
        for i in 0..n_rows * n {
            let (v, u, d) = (f64::from(gate[i]), f64::from(up[i]), f64::from(dy[i]));
            let sigmoid = 1.0 / (1.0 + (-v).exp());
            for (got, want) in [
                (y[i], v * sigmoid * u),
                (dgate[i], d * u * sigmoid * (1.0 + v * (1.0 - sigmoid))),
                (dup[i], d * v * sigmoid),
            ] {
                assert!((f64::from(got) - want).abs() < 1e-6 * (1.0 + want.abs()), "{v}: {got} {want}");
            }
        }
    }
}
