//! Matrix products with weights in any format, in both directions.
//!
//! All three are one loop (`blocked`): a panel `[depth][32]` of the right-hand matrix is dequantized into cache once and
//! multiplied with every row of the left-hand one. They differ in how the panel and the left-hand rows are packed.

mod blocked;
mod operands;
#[cfg(test)]
mod tests;

use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut, ShapeError, same};
use crate::weights::Weights;
use operands::{Linear, LinearTransposed, Outer};

/// `y[t, o] (+)= Σ_i x[t, i] · w[o, i]`, that is `Y = X Wᵀ`: x `[T, n_in]`, w `[n_out, n_in]`, y `[T, n_out]`.
///
/// With `accumulate` the result is added to what `y` holds. Shapes that [`check_linear`] refuses leave `y` untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `y`
/// meanwhile.
pub unsafe fn linear(w: Weights, x: Rows, y: RowsMut, accumulate: bool, part: Part) {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { linear_on(Kernels::current(), w, x, y, accumulate, part) }
}

/// `dx[t, i] (+)= Σ_o dy[t, o] · w[o, i]`, that is `dX = dY W`: dy `[T, n_out]`, w `[n_out, n_in]`, dx `[T, n_in]`.
///
/// With `accumulate` the result is added to what `dx` holds. Shapes that [`check_linear_transposed`] refuses leave `dx`
/// untouched.
///
/// # Safety
/// As for [`linear`], with `dx` for `y`.
pub unsafe fn linear_transposed(w: Weights, dy: Rows, dx: RowsMut, accumulate: bool, part: Part) {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { linear_transposed_on(Kernels::current(), w, dy, dx, accumulate, part) }
}

/// `grad[r, j] += Σ_t u[t, r] · x[t, j]`, that is `G += Uᵀ X`: u `[T, rank]`, x `[T, n]`, grad `[rank, n]`.
///
/// Shapes that [`check_accumulate_outer`] refuses leave `grad` untouched.
///
/// # Safety
/// As for [`linear`], with `grad` for `y`.
pub unsafe fn accumulate_outer(u: Rows, x: Rows, grad: RowsMut, part: Part) {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { accumulate_outer_on(Kernels::current(), u, x, grad, part) }
}

/// Whether the shapes fit for [`linear`].
pub fn check_linear(w: &Weights, x: &Rows, y: &RowsMut) -> Result<(), ShapeError> {
    same("linear", "columns of x", w.n_cols(), x.n_cols())?;
    same("linear", "columns of y", w.n_rows(), y.n_cols())?;
    same("linear", "rows of y", x.n_rows(), y.n_rows())
}

/// Whether the shapes fit for [`linear_transposed`].
pub fn check_linear_transposed(w: &Weights, dy: &Rows, dx: &RowsMut) -> Result<(), ShapeError> {
    same("linear_transposed", "columns of dy", w.n_rows(), dy.n_cols())?;
    same("linear_transposed", "columns of dx", w.n_cols(), dx.n_cols())?;
    same("linear_transposed", "rows of dx", dy.n_rows(), dx.n_rows())
}

/// Whether the shapes fit for [`accumulate_outer`].
pub fn check_accumulate_outer(u: &Rows, x: &Rows, grad: &RowsMut) -> Result<(), ShapeError> {
    same("accumulate_outer", "rows of x", u.n_rows(), x.n_rows())?;
    same("accumulate_outer", "rows of grad", u.n_cols(), grad.n_rows())?;
    same("accumulate_outer", "columns of grad", x.n_cols(), grad.n_cols())
}

/// # Safety
/// As for [`linear`], and the machine must have the instructions of `kernels`.
unsafe fn linear_on(kernels: &Kernels, w: Weights, x: Rows, y: RowsMut, accumulate: bool, part: Part) {
    if check_linear(&w, &x, &y).is_err() {
        debug_assert!(false, "{:?}", check_linear(&w, &x, &y));
        return;
    }
    // SAFETY: the shapes fit; the rest is the caller's promise.
    unsafe { blocked::product(kernels, &Linear { w, x }, y, accumulate, part) }
}

/// # Safety
/// As for [`linear_transposed`], and the machine must have the instructions of `kernels`.
unsafe fn linear_transposed_on(
    kernels: &Kernels,
    w: Weights,
    dy: Rows,
    dx: RowsMut,
    accumulate: bool,
    part: Part,
) {
    if check_linear_transposed(&w, &dy, &dx).is_err() {
        debug_assert!(false, "{:?}", check_linear_transposed(&w, &dy, &dx));
        return;
    }
    // SAFETY: the shapes fit; the rest is the caller's promise.
    unsafe { blocked::product(kernels, &LinearTransposed { w, dy }, dx, accumulate, part) }
}

/// # Safety
/// As for [`accumulate_outer`], and the machine must have the instructions of `kernels`.
unsafe fn accumulate_outer_on(kernels: &Kernels, u: Rows, x: Rows, grad: RowsMut, part: Part) {
    if check_accumulate_outer(&u, &x, &grad).is_err() {
        debug_assert!(false, "{:?}", check_accumulate_outer(&u, &x, &grad));
        return;
    }
    // SAFETY: the shapes fit; the rest is the caller's promise.
    unsafe { blocked::product(kernels, &Outer { u, x }, grad, true, part) }
}
