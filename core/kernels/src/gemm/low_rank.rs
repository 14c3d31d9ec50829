//! Products with the low-rank factors of an adapter: the projection to a few columns, and the gradient of a few rows. Both
//! read the long rows of activations in place, once.

use super::accumulator::Accumulator;
use super::split::blocks;
use crate::error::KernelError;
use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut};
use crate::scratch;
use crate::tile::{CHAIN, WIDTH};
use crate::weights::Weights;

/// A matrix with no more rows is taken for a factor of an adapter.
const MAX_RANK: usize = 64;
/// Rows of activations that are multiplied at a time.
const ROWS: usize = 16;
/// Sums of gradients that stay in the nearest cache.
const MAX_SUMS: usize = 4096;

/// Computes this part of `y = accumulator + scale · x · wᵀ` if `w` is a matrix of few rows of floats; returns whether it is.
///
/// # Safety
/// The shapes must fit, the machine must have the instructions of `kernels`, each part must be run exactly once, and
/// nothing else may touch `y` meanwhile.
pub(super) unsafe fn try_linear(
    kernels: &Kernels,
    (w, x, scale): (&Weights, &Rows, f32),
    accumulator: &Accumulator,
    y: &RowsMut,
    part: Part,
) -> bool {
    let Some(factor) = w.floats().filter(|_| w.n_rows() <= MAX_RANK) else { return false };
    let row_of_sums = |row| {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        let y = unsafe { y.row_mut(row, 0..w.n_rows()) };
        match accumulator {
            Accumulator::Zero => y.fill(0.0),
            Accumulator::Existing => {}
            Accumulator::Matrix(matrix) => y.copy_from_slice(matrix.row(row)),
            Accumulator::Row(values) => y.copy_from_slice(values),
        }
        y
    };
    for rows in blocks(part.range(x.n_rows()), ROWS) {
        let (mut xs, mut ys): ([&[f32]; ROWS], [&mut [f32]; ROWS]) =
            ([&[][..]; ROWS], std::array::from_fn(|_| Default::default()));
        for ((row, x_row), y_row) in rows.clone().zip(&mut xs).zip(&mut ys) {
            (*x_row, *y_row) = (x.row(row), row_of_sums(row));
        }
        // SAFETY: the caller promises the instructions.
        unsafe { (kernels.dots)(&xs[..rows.len()], factor, scale, &mut ys[..rows.len()]) };
    }
    true
}

/// Computes this part of `grad[r, j] += Σ_t u[t, r] · x[t, j]`, in chains of [`CHAIN`] tokens, which are added up.
///
/// # Safety
/// They are those of [`try_linear`], with `grad` for `y`.
pub(super) unsafe fn accumulate_outer(
    kernels: &Kernels,
    u: &Rows,
    x: &Rows,
    grad: &RowsMut,
    part: Part,
) -> Result<(), KernelError> {
    let (n_rows, n_tokens, n_cols) = (grad.n_rows(), x.n_rows(), grad.n_cols());
    if n_rows == 0 {
        return Ok(());
    }
    let panels = part.range(n_cols.div_ceil(WIDTH));
    let most = (MAX_SUMS / n_rows / WIDTH).clamp(1, 16);
    scratch::with([n_rows * most * WIDTH], |[sums]| {
        for panels in blocks(panels, most) {
            let columns = panels.start * WIDTH..(panels.end * WIDTH).min(n_cols);
            let sums = &mut sums[..n_rows * columns.len()];
            for tokens in blocks(0..n_tokens, CHAIN) {
                sums.fill(0.0);
                let (u, x) =
                    (u.row_range(tokens.clone()), x.row_range(tokens).columns(columns.start, columns.len()));
                // SAFETY: the caller promises the instructions.
                unsafe { (kernels.outer)(u, x, sums) };
                for (row, sums) in sums.chunks_exact(columns.len()).enumerate() {
                    // SAFETY: the columns are this part's alone.
                    let grad = unsafe { grad.row_mut(row, columns.clone()) };
                    for (grad, sum) in grad.iter_mut().zip(sums) {
                        *grad += sum;
                    }
                }
            }
        }
    })
}
