//! Products of rows rounded to 8 bits with weights stored as small integers.
//!
//! A row is rounded in groups of 32 values with one scale each, as ggml does for inference (`Q8_0`); the weights are what
//! their format says, exactly. With `w = a·p + m` in a group (`p` the stored integer) and `x ≈ s·q`, a group contributes
//! `s·a·Σ q·p + s·m·Σ q`: the first sum is one of bytes, exact in 32 bits. What is lost is the rounding of `x`.

use std::ops::Range;

use super::Start;
use super::split::{Split, blocks};
use crate::isa::{Kernels, MAX_ROWS, QuantizedTile, WIDTH};
use crate::matrix::{Part, Rows, RowsMut, ShapeError, same};
use crate::scratch;
use crate::weights::{GROUP, Weights};

/// Groups of a panel of the weights: `[groups][32 values][32 columns]` bytes stay in the second cache.
const GROUPS: usize = 64;
/// Groups that are transposed together.
const BUNDLE: usize = 4;

/// 32 rounded values of a row.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Group {
    /// The rounded values.
    pub q: [i8; GROUP],
    /// Of one unit of `q`.
    pub scale: f32,
    /// `scale · Σ q`.
    pub sum: f32,
    /// `−128 Σ q` of either half.
    pub offsets: [i32; 2],
    unused: [u32; 4],
}

/// Floats that a [`Group`] takes in a matrix of floats.
const GROUP_FLOATS: usize = size_of::<Group>() / size_of::<f32>();

/// Rows rounded to 8 bits, in the memory of a matrix of floats.
#[derive(Clone, Copy, Debug)]
pub struct QuantizedRows<'a> {
    groups: &'a [Group],
    n_rows: usize,
    n_cols: usize,
}

impl<'a> QuantizedRows<'a> {
    /// Columns of a matrix of floats that holds rows of `n` values, rounded; `None` if `n` is not a multiple of 32.
    pub fn columns(n: usize) -> Option<usize> {
        n.is_multiple_of(GROUP).then(|| n / GROUP * GROUP_FLOATS)
    }

    /// The rows that [`quantize_rows`] wrote to `memory`, of `n_cols` values each; `None` if that cannot be: another
    /// width, or rows with gaps.
    pub fn new(memory: Rows<'a>, n_cols: usize) -> Option<Self> {
        let width = Self::columns(n_cols)?;
        let fits = memory.n_cols() == width && memory.stride() == width;
        let values = if fits { memory.block(0..memory.n_rows(), 0..width)? } else { return None };
        // SAFETY: a group is made of numbers of which every pattern of bits is one.
        let (before, groups, after) = unsafe { values.align_to::<Group>() };
        let whole = before.is_empty() && after.is_empty();
        whole.then_some(Self { groups, n_rows: memory.n_rows(), n_cols })
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of values of a row.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// The groups `groups` of row `row` and all that follows them.
    fn from(&self, row: usize, group: usize) -> &'a [Group] {
        &self.groups[row * self.n_groups() + group..]
    }

    fn n_groups(&self) -> usize {
        self.n_cols / GROUP
    }
}

/// Rounds the rows of `x` `[T, n]` to 8 bits; `out` is `[T, QuantizedRows::columns(n)]`.
///
/// A value that is not a number makes its group's scale not one, and so all results of its row.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `out`
/// meanwhile.
pub unsafe fn quantize_rows(x: Rows, out: RowsMut, part: Part) {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { quantize_rows_on(Kernels::current(), x, out, part) }
}

/// Whether the shapes fit for [`quantize_rows`].
pub fn check_quantize_rows(x: &Rows, out: &RowsMut) -> Result<(), ShapeError> {
    const OP: &str = "quantize_rows";
    same(OP, "columns in groups of 32", x.n_cols().next_multiple_of(GROUP), x.n_cols())?;
    same(OP, "columns of the result", x.n_cols() / GROUP * GROUP_FLOATS, out.n_cols())?;
    same(OP, "rows of the result", x.n_rows(), out.n_rows())
}

/// # Safety
/// As for [`quantize_rows`], and the machine must have the instructions of `kernels`.
pub(super) unsafe fn quantize_rows_on(kernels: &Kernels, x: Rows, out: RowsMut, part: Part) {
    if check_quantize_rows(&x, &out).is_err() {
        debug_assert!(false, "{:?}", check_quantize_rows(&x, &out));
        return;
    }
    for row in part.range(x.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest; a group is plain numbers.
        unsafe {
            let (_, groups, _) = out.row_mut(row, 0..out.n_cols()).align_to_mut::<Group>();
            (kernels.quantize)(x.row(row), groups);
        }
    }
}

/// Whether the products of this matrix can be made of bytes.
pub(super) fn check(w: &Weights, x: &QuantizedRows, y: &RowsMut) -> Result<(), ShapeError> {
    const OP: &str = "quantized linear";
    same(OP, "a matrix of small integers", 1, usize::from(w.kind().is_integer()))?;
    same(OP, "columns of x", w.n_cols(), x.n_cols())?;
    same(OP, "columns of y", w.n_rows(), y.n_cols())?;
    same(OP, "rows of y", x.n_rows(), y.n_rows())
}

/// `y = start + x · wᵀ`, this part of it.
///
/// # Safety
/// The shapes must fit, the machine must have the instructions of `kernels`, each part must be run exactly once, and
/// nothing else may touch `y` meanwhile.
pub(super) unsafe fn product(
    kernels: &Kernels,
    w: &Weights,
    x: &QuantizedRows,
    start: Start,
    y: RowsMut,
    part: Part,
) {
    let split = Split::new(y.n_rows(), y.n_cols(), part);
    let n_groups = x.n_groups();
    let block = n_groups.min(GROUPS).next_multiple_of(BUNDLE);
    // Four bytes are one float of memory.
    let sections = [block * GROUP / 4 * WIDTH, 2 * block * WIDTH, block * WIDTH];
    scratch::with(sections, |[bytes, scales, minima]| {
        split.for_each(|rows, panels| {
            for columns in panels.columns() {
                let mut start = start;
                for groups in blocks(0..n_groups, GROUPS) {
                    let panel = IntegerPanel { bytes, scales, minima };
                    // SAFETY: the caller promises the instructions.
                    unsafe {
                        (kernels.panel_integers)(
                            w.kind(),
                            w.source(),
                            columns.clone(),
                            groups.clone(),
                            panel,
                        );
                    }
                    let panel = IntegerPanel { bytes, scales, minima };
                    let block = Block { w, x, rows: rows.clone(), columns: columns.clone(), groups, start };
                    // SAFETY: parts share no (rows, columns); the caller promises the rest.
                    unsafe { block.multiply(kernels, &panel, y) };
                    start = Start::Itself;
                }
            }
        });
    });
}

/// Weights of 32 columns as integers.
pub(crate) struct IntegerPanel<'a> {
    /// `[group][8][column][4]` bytes: four consecutive values of a column beside each other, each plus 128.
    pub bytes: &'a mut [f32],
    /// `[group][half][column]`.
    pub scales: &'a mut [f32],
    /// `[group][column]`.
    pub minima: &'a mut [f32],
}

struct Block<'a> {
    w: &'a Weights<'a>,
    x: &'a QuantizedRows<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    groups: Range<usize>,
    start: Start<'a>,
}

impl Block<'_> {
    /// # Safety
    /// The rows and columns must be inside `y` and nobody else's; the machine must have the instructions.
    unsafe fn multiply(&self, kernels: &Kernels, panel: &IntegerPanel, y: RowsMut) {
        let mut sums = Sums([0.0; MAX_ROWS * WIDTH]);
        let n_tiles = self.rows.len().div_ceil(kernels.quantized_rows);
        let kind = self.w.kind();
        for tile in 0..n_tiles {
            let rows = Part { index: tile, count: n_tiles }.range(self.rows.len());
            let rows = self.rows.start + rows.start..self.rows.start + rows.end;
            for (row, sums) in rows.clone().zip(sums.0.chunks_exact_mut(WIDTH)) {
                let sums = &mut sums[..self.columns.len()];
                match &self.start {
                    Start::Zero => sums.fill(0.0),
                    // SAFETY: the place is inside `y` and nobody else's.
                    Start::Itself => sums.copy_from_slice(unsafe { y.row_mut(row, self.columns.clone()) }),
                    Start::From(matrix) => sums.copy_from_slice(&matrix.row(row)[self.columns.clone()]),
                }
            }
            let tile = QuantizedTile {
                rows: rows.len(),
                groups: self.groups.len(),
                x: self.x.from(rows.start, self.groups.start),
                x_stride: self.x.n_groups(),
                panel: panel.bytes,
                scales: panel.scales,
                minima: kind.has_minima().then_some(&*panel.minima),
                by_halves: kind.has_scales_of_halves(),
                sums: &mut sums.0,
            };
            // SAFETY: the caller promises the instructions.
            unsafe { (kernels.quantized_tile)(tile) };
            for (row, sums) in rows.zip(sums.0.chunks_exact(WIDTH)) {
                // SAFETY: the place is inside `y` and nobody else's.
                let y = unsafe { y.row_mut(row, self.columns.clone()) };
                y.copy_from_slice(&sums[..self.columns.len()]);
            }
        }
    }
}

/// Sums of one tile, aligned for any vector.
#[repr(C, align(64))]
struct Sums([f32; MAX_ROWS * WIDTH]);
