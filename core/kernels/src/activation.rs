//! The activation of the feed-forward part, gated by a second projection (arXiv 2002.05202) or not, forward and backward.

use crate::error::{ShapeError, same};
use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut};
use crate::microkernels::Activation;

/// `y = f(gate) ⊙ up`, or `y = f(gate)` without `up`; all `[T, n]`.
///
/// # Errors
/// For shapes that [`check_activation`] refuses, which leave `y` untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `y`
/// meanwhile.
pub unsafe fn activation(
    f: Activation,
    gate: Rows,
    up: Option<Rows>,
    y: RowsMut,
    part: Part,
) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { activation_on(Kernels::current(), f, gate, up, y, part) }
}

/// The gradients of [`activation`], each in the place of what it needs: `gate` and `up`, if there is one, become their
/// gradients, and `dy`, the gradient of `y`, becomes `y` itself, which the gradient of the next matrix's adapter needs. All
/// `[T, n]`.
///
/// # Errors
/// For shapes that [`check_activation_back`] refuses, which leave everything untouched.
///
/// # Safety
/// As for [`activation`], with all of them for `y`; they must be apart.
pub unsafe fn activation_back(
    f: Activation,
    gate: RowsMut,
    up: Option<RowsMut>,
    dy: RowsMut,
    part: Part,
) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { activation_back_on(Kernels::current(), f, gate, up, dy, part) }
}

/// Whether the shapes fit for [`activation`].
pub fn check_activation(gate: &Rows, up: Option<&Rows>, y: &RowsMut) -> Result<(), ShapeError> {
    const OP: &str = "activation";
    if let Some(up) = up {
        same(OP, "rows of up", gate.n_rows(), up.n_rows())?;
        same(OP, "columns of up", gate.n_cols(), up.n_cols())?;
    }
    same(OP, "rows of y", gate.n_rows(), y.n_rows())?;
    same(OP, "columns of y", gate.n_cols(), y.n_cols())
}

/// Whether the shapes fit for [`activation_back`].
pub fn check_activation_back(gate: &RowsMut, up: Option<&RowsMut>, dy: &RowsMut) -> Result<(), ShapeError> {
    const OP: &str = "activation_back";
    for other in up.into_iter().chain([dy]) {
        same(OP, "rows", gate.n_rows(), other.n_rows())?;
        same(OP, "columns", gate.n_cols(), other.n_cols())?;
    }
    Ok(())
}

/// # Safety
/// As for [`activation`], and the machine must have the instructions of `kernels`.
unsafe fn activation_on(
    kernels: &Kernels,
    f: Activation,
    gate: Rows,
    up: Option<Rows>,
    y: RowsMut,
    part: Part,
) -> Result<(), ShapeError> {
    check_activation(&gate, up.as_ref(), &y)?;
    for row in part.range(gate.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe {
            let y = y.row_mut(row, 0..gate.n_cols());
            match up {
                Some(up) => (kernels.gated)(f, gate.row(row), up.row(row), y),
                None => (kernels.activate)(f, gate.row(row), y),
            }
        }
    }
    Ok(())
}

/// # Safety
/// As for [`activation_back`], and the machine must have the instructions of `kernels`.
unsafe fn activation_back_on(
    kernels: &Kernels,
    f: Activation,
    gate: RowsMut,
    up: Option<RowsMut>,
    dy: RowsMut,
    part: Part,
) -> Result<(), ShapeError> {
    check_activation_back(&gate, up.as_ref(), &dy)?;
    let columns = 0..gate.n_cols();
    for row in part.range(gate.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe {
            let [gate, dy] = [gate, dy].map(|matrix| matrix.row_mut(row, columns.clone()));
            match up {
                Some(up) => (kernels.gated_back)(f, gate, up.row_mut(row, columns.clone()), dy),
                None => (kernels.activate_back)(f, gate, dy),
            }
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

    const ALL: [Activation; 3] = [Activation::Silu, Activation::GeluTanh, Activation::Gelu];
    /// Error of the result and its slope, of 1 and of their magnitude: some roundings of numbers of that size, and for GELU
    /// the approximation of the normal distribution.
    const TOLERANCE: f64 = 1e-6;

    /// The function and its slope in double precision.
    fn exact(f: Activation, v: f64) -> (f64, f64) {
        match f {
            Activation::Silu => {
                let s = 1.0 / (1.0 + (-v).exp());
                (v * s, s * (1.0 + v * (1.0 - s)))
            }
            Activation::GeluTanh => {
                let root = (2.0 / std::f64::consts::PI).sqrt();
                let tanh = (root * (v + 0.044_715 * v.powi(3))).tanh();
                let inner = root * (1.0 + 3.0 * 0.044_715 * v * v);
                (0.5 * v * (1.0 + tanh), 0.5 * (1.0 + tanh) + 0.5 * v * (1.0 - tanh * tanh) * inner)
            }
            Activation::Gelu => {
                let phi = 0.5 * libm::erfc(-v / std::f64::consts::SQRT_2);
                let density = (-0.5 * v * v).exp() / (2.0 * std::f64::consts::PI).sqrt();
                (v * phi, phi + v * density)
            }
        }
    }

    /// `y`, `dgate` and `dup` of one tier, with and without `up`.
    fn run(
        f: Activation,
        [gate, up, dy]: [&[f32]; 3],
        is_gated: bool,
        (tier, count): (Tier, usize),
    ) -> [Vec<f32>; 3] {
        let (n_rows, n) = (5, gate.len() / 5);
        let kernels = Kernels::of(tier).unwrap();
        let rows = |values| Rows::new(values, n_rows, n, n).unwrap();
        let (mut y, mut again) = (vec![f32::NAN; n_rows * n], dy.to_vec());
        let (mut dgate, mut dup) = (gate.to_vec(), up.to_vec());
        let [y_rows, dy_rows, dgate_rows, dup_rows] = [&mut y, &mut again, &mut dgate, &mut dup]
            .map(|values| RowsMut::new(values, n_rows, n, n).unwrap());
        for index in 0..count {
            let part = Part { index, count };
            let (up, dup) = (is_gated.then(|| rows(up)), is_gated.then_some(dup_rows));
            // SAFETY: the tier is available, each part is run once, and nothing else touches the results.
            unsafe {
                activation_on(kernels, f, rows(gate), up, y_rows, part).unwrap();
                activation_back_on(kernels, f, dgate_rows, dup, dy_rows, part).unwrap();
            }
        }
        assert_eq!(y, again);
        [y, dgate, dup]
    }

    #[test]
    fn forward_and_backward_agree_with_double_precision_on_every_tier() {
        let n = 5 * 53;
        let mut random = Random::new(3);
        let mut gate: Vec<f32> = random.floats(n).iter().map(|v| 8.0 * v).collect();
        gate[..6].copy_from_slice(&[-200.0, 200.0, -88.5, 0.0, 1e30, -1e30]);
        let (up, dy) = (random.floats(n), random.floats(n));
        for (f, is_gated) in ALL.into_iter().flat_map(|f| [(f, true), (f, false)]) {
            let tiers = Tier::available().into_iter().flat_map(|tier| [(tier, 1), (tier, 3)]);
            let results: Vec<_> = tiers.map(|tier| run(f, [&gate, &up, &dy], is_gated, tier)).collect();
            assert!(results.iter().all(|other| *other == results[0]));
            let [y, dgate, dup] = &results[0];
            for i in 0..n {
                let (v, d) = (f64::from(gate[i]), f64::from(dy[i]));
                let u = if is_gated { f64::from(up[i]) } else { 1.0 };
                let (value, slope) = exact(f, v);
                let mut wanted = vec![(y[i], value * u), (dgate[i], d * u * slope)];
                wanted.extend(is_gated.then_some((dup[i], d * value)));
                for (got, want) in wanted {
                    let error = (f64::from(got) - want).abs();
                    assert!(error < TOLERANCE * (1.0 + want.abs()), "{f:?} of {v}: {got} {want}");
                }
            }
        }
    }
}
