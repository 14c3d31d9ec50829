//! Products with the factors of adapters, whose rows are few, and the gradients of these. No dispatch has more than `most` multiply-adds,
//! but a line of workgroups at least.

use super::call::{Call, LANES, LineWork, WITHOUT_TILES};
use crate::{BufferRows, Device, Dispatch, Error};

const REDUCE: &str = include_str!("reduce.wgsl");
const ADDEND: &str = include_str!("addend.wgsl");

/// What a product is added to.
#[derive(Clone, Copy)]
pub(crate) enum Addend<'a> {
    /// Nothing.
    Zero,
    /// What the result holds already.
    Existing,
    /// Another matrix, or one row for all rows.
    Rows(BufferRows<'a>),
}

/// `y = addend + scale · x · wᵀ`: x `[T, n]`, w `[rank, n]`, y `[T, rank]`.
pub(crate) fn adapter_linear<'a>(
    device: &Device,
    [w, x, y]: [BufferRows<'a>; 3],
    scale: f32,
    addend: Addend<'a>,
    most: u64,
) -> Result<Vec<Dispatch>, Error> {
    /// Columns of `y` that a workgroup computes.
    const COLUMNS: u32 = 8;
    let call = Call::new("adapter_linear", &[REDUCE, ADDEND, include_str!("adapter_linear.wgsl")]);
    let call = addend.add_to(call.matrix("X", x).matrix("W", w), y).matrix("Y", y).float(scale);
    let groups = y.n_cols().div_ceil(COLUMNS);
    call.lines(device, [groups, y.n_rows()], line_work([groups * COLUMNS, x.n_cols()], most))
}

/// `y = addend + x · w`: x `[T, rank]`, w `[rank, n]`, y `[T, n]`.
pub(crate) fn adapter_transposed<'a>(
    device: &Device,
    [w, x, y]: [BufferRows<'a>; 3],
    addend: Addend<'a>,
    most: u64,
) -> Result<Vec<Dispatch>, Error> {
    /// Rows of `y` that an invocation computes.
    const ROWS: u32 = 4;
    let call = Call::new("adapter_transposed", &[ADDEND, include_str!("adapter_transposed.wgsl")]);
    let call = addend.add_to(call.matrix("X", x).matrix("W", w), y).matrix("Y", y);
    let lines = [y.n_cols().div_ceil(LANES), y.n_rows().div_ceil(ROWS)];
    call.lines(device, lines, line_work([ROWS * x.n_cols(), y.n_cols()], most))
}

/// `grad += uᵀ · x`: u `[T, rank]`, x `[T, n]`, grad `[rank, n]`.
pub(crate) fn accumulate_outer(
    device: &Device,
    u: BufferRows,
    x: BufferRows,
    grad: BufferRows,
    most: u64,
) -> Result<Vec<Dispatch>, Error> {
    /// Rows of `grad` that an invocation computes.
    const ROWS: u32 = 8;
    let call = Call::new("accumulate_outer", &[include_str!("accumulate_outer.wgsl")]);
    let call = call.matrix("U", u).matrix("X", x).matrix("GRAD", grad);
    let lines = [grad.n_rows().div_ceil(ROWS), grad.n_cols().div_ceil(LANES)];
    call.lines(device, lines, line_work([LANES * grad.n_rows(), x.n_rows()], most))
}

/// A line of workgroups that has so many sums of so many terms.
fn line_work([sums, terms]: [u32; 2], most: u64) -> LineWork {
    LineWork { of_line: WITHOUT_TILES * u64::from(sums) * u64::from(terms), most }
}

impl<'a> Addend<'a> {
    /// The operand and the number of `addend.wgsl`; `y` stands for a matrix where there is none.
    fn add_to(self, call: Call<'a>, y: BufferRows<'a>) -> Call<'a> {
        let (kind, call) = match self {
            Addend::Zero => (0, call.matrix("ADDEND", y)),
            Addend::Existing => (1, call.matrix("ADDEND", y)),
            Addend::Rows(row) if row.n_rows() == 1 => (2, call.row("ADDEND", row)),
            Addend::Rows(matrix) => (2, call.matrix("ADDEND", matrix)),
        };
        call.constant("ADDEND_KIND", kind)
    }
}
