//! The gated activation of the feed-forward part (SwiGLU, arXiv 2002.05202), forward and backward.

use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut, ShapeError, same};

/// `y = silu(gate) ⊙ up` with `silu(v) = v / (1 + exp(−v))`; all `[T, n]`.
///
/// Shapes that [`check_swiglu`] refuses leave `y` untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `y`
/// meanwhile.
pub unsafe fn swiglu(gate: Rows, up: Rows, y: RowsMut, part: Part) {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { swiglu_on(Kernels::current(), gate, up, y, part) }
}

/// The gradients of [`swiglu`] in the place of their values: `dgate_dup` `[T, 2 n]` gets that for `gate`, then that for `up`,
/// and `dy` `[T, n]`, the gradient of `y`, becomes `y` itself, which the gradient of the next matrix's adapter needs.
///
/// Shapes that [`check_swiglu_back`] refuses leave everything untouched.
///
/// # Safety
/// As for [`swiglu`], with both results for `y`.
pub unsafe fn swiglu_back(gate: Rows, up: Rows, dy: RowsMut, dgate_dup: RowsMut, part: Part) {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { swiglu_back_on(Kernels::current(), gate, up, dy, dgate_dup, part) }
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
pub fn check_swiglu_back(
    gate: &Rows,
    up: &Rows,
    dy: &RowsMut,
    dgate_dup: &RowsMut,
) -> Result<(), ShapeError> {
    check_swiglu(gate, up, dy)?;
    same("swiglu_back", "rows of the gradients", gate.n_rows(), dgate_dup.n_rows())?;
    same("swiglu_back", "columns of the gradients", gate.n_cols().saturating_mul(2), dgate_dup.n_cols())
}

/// # Safety
/// As for [`swiglu`], and the machine must have the instructions of `kernels`.
unsafe fn swiglu_on(kernels: &Kernels, gate: Rows, up: Rows, y: RowsMut, part: Part) {
    if check_swiglu(&gate, &up, &y).is_err() {
        debug_assert!(false, "{:?}", check_swiglu(&gate, &up, &y));
        return;
    }
    for row in part.range(gate.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe { (kernels.swiglu)(gate.row(row), up.row(row), y.row_mut(row, 0..gate.n_cols())) };
    }
}

/// # Safety
/// As for [`swiglu_back`], and the machine must have the instructions of `kernels`.
unsafe fn swiglu_back_on(
    kernels: &Kernels,
    gate: Rows,
    up: Rows,
    dy: RowsMut,
    dgate_dup: RowsMut,
    part: Part,
) {
    if check_swiglu_back(&gate, &up, &dy, &dgate_dup).is_err() {
        debug_assert!(false, "{:?}", check_swiglu_back(&gate, &up, &dy, &dgate_dup));
        return;
    }
    let n = gate.n_cols();
    for row in part.range(gate.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe {
            let (dgate, dup) = (dgate_dup.row_mut(row, 0..n), dgate_dup.row_mut(row, n..2 * n));
            (kernels.swiglu_back)(gate.row(row), up.row(row), dy.row_mut(row, 0..n), dgate, dup);
        }
    }
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
            let mut gradients = vec![f32::NAN; 2 * n_rows * n];
            let y_rows = RowsMut::new(&mut y, n_rows, n, n).unwrap();
            let dy_rows = RowsMut::new(&mut again, n_rows, n, n).unwrap();
            let gradient_rows = RowsMut::new(&mut gradients, n_rows, 2 * n, 2 * n).unwrap();
            for index in 0..count {
                let part = Part { index, count };
                // SAFETY: the tier is available, each part is run once, and nothing else touches the results.
                unsafe {
                    swiglu_on(kernels, rows(&gate), rows(&up), y_rows, part);
                    swiglu_back_on(kernels, rows(&gate), rows(&up), dy_rows, gradient_rows, part);
                }
            }
            assert_eq!(y, again);
            results.push((y, gradients));
        }
        assert!(results.iter().all(|other| *other == results[0]));
        let (y, gradients) = &results[0];
        for i in 0..n_rows * n {
            let (v, u, d) = (f64::from(gate[i]), f64::from(up[i]), f64::from(dy[i]));
            let sigmoid = 1.0 / (1.0 + (-v).exp());
            let place = i / n * 2 * n + i % n;
            for (got, want) in [
                (y[i], v * sigmoid * u),
                (gradients[place], d * u * sigmoid * (1.0 + v * (1.0 - sigmoid))),
                (gradients[place + n], d * v * sigmoid),
            ] {
                assert!((f64::from(got) - want).abs() < 1e-6 * (1.0 + want.abs()), "{v}: {got} {want}");
            }
        }
    }
}
