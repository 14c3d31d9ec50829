//! Matrix products with weights in any format, in both directions.
//!
//! A product goes through the right-hand matrix in panels `[depth][32]`. Each is dequantized into cache once for some hundred
//! rows of the left-hand one, as floats (`blocked`) or as 16-bit integers (`int16`). In a sum of several products
//! ([`sum_of_products`]) one of little depth, such as a low-rank branch, is added while the sums of the first are at hand
//! (`epilogue`); others lengthen the depth. The factors of an adapter by themselves have loops of their own (`low_rank`).

mod accumulator;
mod blocked;
mod epilogue;
mod int16;
mod low_rank;
mod operands;
mod split;
#[cfg(test)]
mod tests;

use crate::error::{KernelError, ShapeError, same};
use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut};
use crate::weights::Weights;
pub use accumulator::Accumulator;
use epilogue::LowRankEpilogue;
pub use int16::{Direction, Int16Product, Int16Rows, check_quantize_rows_int16, quantize_rows_int16};
pub use operands::F32Product;
use operands::Operands;
use split::Split;

/// The type of the numbers that a product multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComputeType {
    /// Single precision.
    F32,
    /// 16-bit integers, to which both sides are quantized: their sums are exact.
    Int16,
}

/// Computes `y = accumulator + int16 + Σ products`, of which at least one product must be there.
///
/// # Errors
/// For shapes that [`check_sum_of_products`] refuses, which leave `y` untouched; [`KernelError::OutOfMemory`].
///
/// # Safety
/// As for [`linear`].
pub unsafe fn sum_of_products(
    int16: Option<Int16Product>,
    products: &[F32Product],
    accumulator: Accumulator,
    y: RowsMut,
    part: Part,
) -> Result<(), KernelError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { sum_of_products_on(Kernels::current(), int16, products, accumulator, y, part) }
}

/// Whether there is a product, and the shapes fit for [`sum_of_products`].
pub fn check_sum_of_products(
    int16: Option<&Int16Product>,
    products: &[F32Product],
    accumulator: &Accumulator,
    y: &RowsMut,
) -> Result<(), ShapeError> {
    const OP: &str = "sum_of_products";
    if let Some(product) = int16 {
        int16::check(product, y)?;
    } else {
        same(OP, "number of products", products.len().max(1), products.len())?;
    }
    for product in products {
        match product {
            F32Product::Linear { w, x, .. } => check_linear(w, x, y)?,
            F32Product::Transposed { w, dy } => check_linear_transposed(w, dy, y)?,
        }
    }
    match accumulator {
        Accumulator::Zero | Accumulator::Existing => Ok(()),
        Accumulator::Matrix(matrix) => {
            same(OP, "rows of the accumulator", y.n_rows(), matrix.n_rows())?;
            same(OP, "columns of the accumulator", y.n_cols(), matrix.n_cols())
        }
        Accumulator::Row(values) => same(OP, "columns of the accumulator", y.n_cols(), values.len()),
    }
}

/// Floats of working memory that products with foreign formats take besides.
pub(crate) const DECODED_FLOATS: usize = if blocked::DECODED_FLOATS > int16::DECODED_FLOATS {
    blocked::DECODED_FLOATS
} else {
    int16::DECODED_FLOATS
};

/// Floats of working memory for so many rows; products of 16-bit integers take less.
pub(crate) fn scratch_floats(n_rows: usize) -> usize {
    blocked::scratch_floats(n_rows)
}

/// `y[t, o] (+)= Σ_i x[t, i] · w[o, i]`, that is `Y = X Wᵀ`: x `[T, n_in]`, w `[n_out, n_in]`, y `[T, n_out]`.
///
/// With `accumulate` the result is added to what `y` holds.
///
/// # Errors
/// For shapes that [`check_linear`] refuses, which leave `y` untouched; [`KernelError::OutOfMemory`].
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `y`
/// meanwhile.
pub unsafe fn linear(
    w: Weights,
    x: Rows,
    y: RowsMut,
    accumulate: bool,
    part: Part,
) -> Result<(), KernelError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { linear_on(Kernels::current(), w, x, y, accumulate, part) }
}

/// `dx[t, i] (+)= Σ_o dy[t, o] · w[o, i]`, that is `dX = dY W`: dy `[T, n_out]`, w `[n_out, n_in]`, dx `[T, n_in]`.
///
/// With `accumulate` the result is added to what `dx` holds.
///
/// # Errors
/// For shapes that [`check_linear_transposed`] refuses, which leave `dx` untouched; [`KernelError::OutOfMemory`].
///
/// # Safety
/// As for [`linear`], with `dx` for `y`.
pub unsafe fn linear_transposed(
    w: Weights,
    dy: Rows,
    dx: RowsMut,
    accumulate: bool,
    part: Part,
) -> Result<(), KernelError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { linear_transposed_on(Kernels::current(), w, dy, dx, accumulate, part) }
}

/// `grad[r, j] += Σ_t u[t, r] · x[t, j]`, that is `G += Uᵀ X`: u `[T, rank]`, x `[T, n]`, grad `[rank, n]`.
///
/// # Errors
/// For shapes that [`check_accumulate_outer`] refuses, which leave `grad` untouched; [`KernelError::OutOfMemory`].
///
/// # Safety
/// As for [`linear`], with `grad` for `y`.
pub unsafe fn accumulate_outer(u: Rows, x: Rows, grad: RowsMut, part: Part) -> Result<(), KernelError> {
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
unsafe fn linear_on(
    kernels: &Kernels,
    w: Weights,
    x: Rows,
    y: RowsMut,
    accumulate: bool,
    part: Part,
) -> Result<(), KernelError> {
    // SAFETY: the caller's promise.
    unsafe {
        let product = F32Product::Linear { w, x, scale: 1.0 };
        sum_of_products_on(kernels, None, &[product], accumulator(accumulate), y, part)
    }
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
) -> Result<(), KernelError> {
    // SAFETY: the caller's promise.
    unsafe {
        let product = F32Product::Transposed { w, dy };
        sum_of_products_on(kernels, None, &[product], accumulator(accumulate), dx, part)
    }
}

/// # Safety
/// As for [`sum_of_products`], and the machine must have the instructions of `kernels`.
unsafe fn sum_of_products_on(
    kernels: &Kernels,
    int16: Option<Int16Product>,
    products: &[F32Product],
    accumulator: Accumulator,
    y: RowsMut,
    part: Part,
) -> Result<(), KernelError> {
    check_sum_of_products(int16.as_ref(), products, &accumulator, &y)?;
    if let (None, [F32Product::Linear { w, x, scale }]) = (int16, products) {
        // SAFETY: the shapes fit; the rest is the caller's promise.
        if unsafe { low_rank::try_linear(kernels, (w, x, *scale), &accumulator, &y, part) } {
            return Ok(());
        }
    }
    let terms: Vec<&dyn Operands> = products.iter().map(|product| product as &dyn Operands).collect();
    // Products of little depth become epilogues of the first one, unless they are all there is.
    let n_main = usize::from(int16.is_none());
    let (epilogues, rest): (Vec<_>, Vec<_>) = terms
        .iter()
        .skip(n_main)
        .map(|term| (LowRankEpilogue::new(*term, y.n_rows()), *term))
        .partition(|(epilogue, _)| epilogue.is_some());
    let epilogues: Vec<LowRankEpilogue> =
        epilogues.into_iter().filter_map(|(epilogue, _)| epilogue).collect();
    let mut main = terms[..n_main].to_vec();
    main.extend(rest.into_iter().map(|(_, term)| term));
    let row = match int16 {
        Some(product) => product.x.n_cols() * size_of::<i16>(),
        None => main.first().map_or(0, |term| term.depth() * size_of::<f32>()),
    };
    let split = Split::new(y.n_rows(), y.n_cols(), y.n_rows() * row, part);
    if let Some(product) = int16 {
        // SAFETY: the shapes fit; the rest is the caller's promise.
        unsafe { int16::product(kernels, &product, &epilogues, accumulator, y, &split)? };
        if main.is_empty() {
            return Ok(());
        }
        // SAFETY: as above; the split is the same in both products.
        return unsafe { blocked::product(kernels, &main, &[], Accumulator::Existing, y, &split) };
    }
    // SAFETY: as above.
    unsafe { blocked::product(kernels, &main, &epilogues, accumulator, y, &split) }
}

/// # Safety
/// As for [`accumulate_outer`], and the machine must have the instructions of `kernels`.
unsafe fn accumulate_outer_on(
    kernels: &Kernels,
    u: Rows,
    x: Rows,
    grad: RowsMut,
    part: Part,
) -> Result<(), KernelError> {
    check_accumulate_outer(&u, &x, &grad)?;
    // SAFETY: the shapes fit; the rest is the caller's promise.
    unsafe { low_rank::accumulate_outer(kernels, &u, &x, &grad, part) }
}

fn accumulator(accumulate: bool) -> Accumulator<'static> {
    if accumulate { Accumulator::Existing } else { Accumulator::Zero }
}
