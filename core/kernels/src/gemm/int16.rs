//! Products of 16-bit integers: rows and weights are quantized, sums are exact.
//!
//! A block of up to 256 values of a row is quantized to integers of at most ±4095 with a scale of its own, a block of a column
//! of the right-hand matrix to at most ±2047 with one. The sum of the products of two blocks then fits 32 bits and is exact,
//! whatever the order; it is multiplied by both scales and added in single precision. Quantizing changes a product by about a
//! thousandth of its length, four times less than with 8 bits for activations; for pairs of 16 bits many processors have a
//! multiply-add that is faster than that of floats, in either direction and for weights in any format.

use std::ops::Range;

use super::accumulator::Accumulator;
use super::epilogue::LowRankEpilogue;
use super::split::{Split, blocks, even_block};
use crate::error::{KernelError, ShapeError, same};
use crate::isa::{Kernels, copy_row};
use crate::matrix::{Part, Rows, RowsMut};
use crate::scratch;
use crate::tile::{Int16Tile, PAIR, WIDTH};
use crate::weights::{DecodedBlocks, GROUP, WeightType, Weights};

/// The most values that share a scale: `BLOCK · ROW_Q_MAX · COLUMN_Q_MAX` is below 2^31.
const BLOCK: usize = 256;
/// The largest magnitude of a quantized value of a row.
const ROW_Q_MAX: f32 = 4095.0;
/// The largest magnitude of a quantized value of a column.
const COLUMN_Q_MAX: f32 = 2047.0;
/// Rows whose sums are kept at once.
const ROWS: usize = 504;
/// Panels that a block of the depth of these rows is multiplied with while it is in the cache; their sums take 256 KiB.
const PANELS: usize = 4;

/// Rows quantized to 16-bit integers, in the memory of a matrix of floats: `[n / 2]` pairs, then the blocks' scales.
#[derive(Clone, Copy, Debug)]
pub struct Int16Rows<'a> {
    memory: Rows<'a>,
    n_cols: usize,
}

impl<'a> Int16Rows<'a> {
    /// The columns of a matrix of floats that holds quantized rows of `n` values; `None` if `n` is not a multiple of 32, or 0.
    pub fn columns(n: usize) -> Option<usize> {
        (n > 0 && n.is_multiple_of(GROUP)).then(|| (n / PAIR + n.div_ceil(block_len(n))).next_multiple_of(16))
    }

    /// The rows that [`quantize_rows_int16`] wrote to `memory`, of `n_cols` values each; `None` for another width.
    pub fn new(memory: Rows<'a>, n_cols: usize) -> Option<Self> {
        (Self::columns(n_cols)? == memory.n_cols()).then_some(Self { memory, n_cols })
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.memory.n_rows()
    }

    /// Number of values of a row.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// The scales of block `index` of the rows `rows`.
    fn scales(&self, index: usize, rows: Range<usize>, scales: &mut [f32]) {
        for (row, scale) in rows.zip(scales) {
            *scale = self.memory.row(row)[self.n_cols / PAIR + index];
        }
    }
}

/// A product of a matrix with quantized rows.
#[derive(Clone, Copy)]
pub struct Int16Product<'a> {
    /// The matrix, `[n_out, n_in]`.
    pub w: Weights<'a>,
    /// The rows: of `n_in` values, or, transposed, of `n_out`.
    pub x: Int16Rows<'a>,
    /// Which side of the matrix the rows are multiplied with.
    pub direction: Direction,
}

/// Which side of a matrix is multiplied with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `x · wᵀ`.
    Linear,
    /// `dy · w`.
    Transposed,
}

/// Quantizes the rows of `x` `[T, n]`; `out` is `[T, Int16Rows::columns(n)]`.
///
/// A value that is not finite makes its block's scale not a number, and so all results of its row.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `out`
/// meanwhile.
pub unsafe fn quantize_rows_int16(x: Rows, out: RowsMut, part: Part) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { quantize_rows_int16_on(Kernels::current(), x, out, part) }
}

/// Whether the shapes fit for [`quantize_rows_int16`].
pub fn check_quantize_rows_int16(x: &Rows, out: &RowsMut) -> Result<(), ShapeError> {
    const OP: &str = "quantize_rows_int16";
    same(OP, "columns in groups of 32", x.n_cols() / GROUP * GROUP, x.n_cols())?;
    same(OP, "columns of the result", Int16Rows::columns(x.n_cols()).unwrap_or(0), out.n_cols())?;
    same(OP, "rows of the result", x.n_rows(), out.n_rows())
}

/// # Safety
/// What [`quantize_rows_int16`] asks holds, and the machine must have the instructions of `kernels`.
pub(super) unsafe fn quantize_rows_int16_on(
    kernels: &Kernels,
    x: Rows,
    out: RowsMut,
    part: Part,
) -> Result<(), ShapeError> {
    check_quantize_rows_int16(&x, &out)?;
    let n = x.n_cols();
    for row in part.range(x.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        let (pairs, scales) =
            unsafe { (out.row_mut(row, 0..n / PAIR), out.row_mut(row, n / PAIR..out.n_cols())) };
        let x = x.row(row).chunks(block_len(n));
        for ((x, pairs), scale) in x.zip(pairs.chunks_mut(block_len(n) / PAIR)).zip(scales) {
            // SAFETY: the caller promises the instructions.
            *scale = unsafe { (kernels.quantize_row)(x, ROW_Q_MAX, pairs) };
        }
    }
    Ok(())
}

/// Floats of working memory for decoded blocks.
pub(super) const DECODED_FLOATS: usize = DecodedBlocks::floats(BLOCK);

/// Whether the shapes of a product fit.
pub(super) fn check(product: &Int16Product, y: &RowsMut) -> Result<(), ShapeError> {
    const OP: &str = "int16 product";
    let Int16Product { w, x, direction } = product;
    let (n_in, n_out) = match direction {
        Direction::Linear => (w.n_cols(), w.n_rows()),
        Direction::Transposed => (w.n_rows(), w.n_cols()),
    };
    same(OP, "columns of the rows", n_in, x.n_cols())?;
    same(OP, "columns of y", n_out, y.n_cols())?;
    same(OP, "rows of y", x.n_rows(), y.n_rows())
}

/// Computes this part of `y = accumulator + product + Σ epilogues`. The sums of a panel stay together until all is added.
///
/// # Safety
/// The shapes and `split` must fit, the machine must have the instructions of `kernels`, each part must be run exactly once,
/// and nothing else may touch `y` meanwhile.
pub(super) unsafe fn product(
    kernels: &Kernels,
    product: &Int16Product,
    epilogues: &[LowRankEpilogue],
    accumulator: Accumulator,
    y: RowsMut,
    split: &Split,
) -> Result<(), KernelError> {
    let n = product.x.n_cols();
    let block = block_len(n);
    let rows_at_once = even_block(split.chunk_rows(), ROWS, 1);
    let floats = epilogues.iter().map(LowRankEpilogue::panel_len).max().unwrap_or(0).max(block * WIDTH);
    let panel_sums = rows_at_once * WIDTH;
    let decoded = if product.shares_blocks() { DecodedBlocks::floats(block) } else { 0 };
    let lengths = [floats, block / PAIR * WIDTH, WIDTH, rows_at_once, PANELS * panel_sums, decoded];
    scratch::with(lengths, |[floats, pairs, scales, row_scales, kept, decoded]| {
        split.for_each(|chunk_rows, panels| {
            for rows in blocks(chunk_rows, rows_at_once) {
                for panels in panels.blocks(PANELS) {
                    let mut sums = panels.columns().zip(kept.chunks_exact_mut(panel_sums));
                    let sums: [_; PANELS] = std::array::from_fn(|_| {
                        let (columns, kept) = sums.next()?;
                        Some(Sums { rows: rows.clone(), columns, accumulator, y, kept: kept.as_mut_ptr() })
                    });
                    for (index, depth) in blocks(0..n, block).enumerate() {
                        product.x.scales(index, rows.clone(), row_scales);
                        let mut decoded = DecodedBlocks::new(decoded);
                        for sums in sums.iter().flatten() {
                            let floats = &mut floats[..depth.len() * WIDTH];
                            // SAFETY: parts share no (rows, columns); the caller promises the instructions.
                            unsafe {
                                let columns = sums.columns.clone();
                                product.pack_rhs(kernels, depth.clone(), columns, &mut decoded, floats);
                                (kernels.quantize_panel)(floats, COLUMN_Q_MAX, pairs, scales);
                                let ends = (sums.from(index == 0), sums.to(depth.end == n));
                                let panel = Panel { pairs, scales, row_scales };
                                panel.multiply(kernels, &product.x, rows.clone(), depth.clone(), ends);
                            }
                        }
                    }
                    for sums in sums.iter().flatten() {
                        for epilogue in epilogues {
                            let panel = &mut floats[..epilogue.panel_len()];
                            // SAFETY: the caller promises the instructions, and where the sums are there is room.
                            unsafe {
                                epilogue.pack_rhs(kernels, sums.columns.clone(), panel);
                                epilogue.add(kernels, rows.clone(), panel, sums.to(true), WIDTH);
                            }
                        }
                        // SAFETY: as above.
                        unsafe { sums.finish() };
                    }
                }
            }
        });
    })
}

impl Int16Product<'_> {
    /// Whether panels of the same depth share blocks that are decoded for them.
    fn shares_blocks(&self) -> bool {
        self.direction == Direction::Transposed && matches!(self.w.kind(), WeightType::Foreign(_))
    }

    /// Writes rows `depth` and columns `columns` of the right-hand matrix to `panel: [depth][WIDTH]`, as floats.
    ///
    /// # Safety
    /// The machine must have the instructions of `kernels`.
    unsafe fn pack_rhs(
        &self,
        kernels: &Kernels,
        depth: Range<usize>,
        columns: Range<usize>,
        decoded: &mut DecodedBlocks,
        panel: &mut [f32],
    ) {
        let (kind, source) = (self.w.kind(), self.w.raw_rows());
        // SAFETY: the caller promises the instructions.
        unsafe {
            match self.direction {
                Direction::Linear => {
                    let groups = depth.start / GROUP..depth.end / GROUP;
                    (kernels.dequantize_panel_transposed)(kind, source, columns, groups, panel);
                }
                Direction::Transposed => {
                    let group = columns.start / WIDTH;
                    match kind {
                        WeightType::Foreign(format) => {
                            decoded.fill_panel(format, source, depth, group, panel)
                        }
                        _ => (kernels.dequantize_panel)(kind, source, depth, group, panel),
                    }
                }
            }
        }
    }
}

/// A quantized panel of the right-hand matrix for a block of the depth, and the scales of that block of the rows.
struct Panel<'a> {
    pairs: &'a [f32],
    scales: &'a [f32],
    row_scales: &'a [f32],
}

impl Panel<'_> {
    /// Adds the products of rows `rows`, columns `depth` with this panel to what is at `from`, and writes them to `to`.
    ///
    /// # Safety
    /// The machine must have the instructions, and `from` and `to` must be valid for the rows and [`WIDTH`] columns.
    unsafe fn multiply(
        &self,
        kernels: &Kernels,
        x: &Int16Rows,
        rows: Range<usize>,
        depth: Range<usize>,
        (from, to): (Option<(*const f32, usize)>, (*mut f32, usize)),
    ) {
        let depth = depth.start / PAIR..depth.end / PAIR;
        let n_tiles = rows.len().div_ceil(kernels.max_rows);
        for tile in 0..n_tiles {
            let local = Part { index: tile, count: n_tiles }.range(rows.len());
            let rows = rows.start + local.start..rows.start + local.end;
            let tile = Int16Tile {
                rows: rows.len(),
                pairs: depth.len(),
                x: x.memory.block(rows, depth.clone()).unwrap_or(&[]),
                x_stride: x.memory.stride(),
                x_scales: &self.row_scales[local.clone()],
                panel: self.pairs,
                scales: self.scales,
                from: from.map(|(from, stride)| (from.wrapping_add(local.start * stride), stride)),
                to: (to.0.wrapping_add(local.start * to.1), to.1),
            };
            // SAFETY: the caller's promise, for some of the rows.
            unsafe { (kernels.int16_tile)(tile) };
        }
    }
}

/// The sums of some rows of the result, and at most 32 columns: what they are added to, where they are kept between blocks of
/// the depth, and where they go. Where there are fewer columns than a tile has, they begin and end where they are kept.
struct Sums<'a> {
    rows: Range<usize>,
    columns: Range<usize>,
    accumulator: Accumulator<'a>,
    y: RowsMut<'a>,
    /// `[rows][WIDTH]`
    kept: *mut f32,
}

impl Sums<'_> {
    fn are_kept(&self) -> bool {
        self.columns.len() < WIDTH
    }

    /// A pointer to the sums so far, if they are not 0, and the distance between rows.
    ///
    /// # Safety
    /// The rows and columns must be inside `y` and the accumulator, and nobody else's.
    unsafe fn from(&self, is_first: bool) -> Option<(*const f32, usize)> {
        let kept = (self.kept.cast_const(), WIDTH);
        if !is_first {
            return Some(kept);
        }
        if let Accumulator::Zero = self.accumulator {
            return None;
        }
        let from = self.accumulator.apart(self.rows.start, self.columns.start).unwrap_or_else(|| {
            // SAFETY: the caller's promise.
            let (result, stride) = unsafe { self.in_result() };
            (result.cast_const(), stride)
        });
        if !self.are_kept() {
            return Some(from);
        }
        // SAFETY: the caller's promise.
        unsafe { self.copy(from, (self.kept, WIDTH)) };
        Some(kept)
    }

    /// A pointer to where the next sums go, and the distance between rows.
    ///
    /// # Safety
    /// As for [`Sums::from`].
    unsafe fn to(&self, is_last: bool) -> (*mut f32, usize) {
        match is_last && !self.are_kept() {
            // SAFETY: the caller's promise.
            true => unsafe { self.in_result() },
            false => (self.kept, WIDTH),
        }
    }

    /// Brings the sums into the result once all is added.
    ///
    /// # Safety
    /// As for [`Sums::from`].
    unsafe fn finish(&self) {
        if self.are_kept() {
            // SAFETY: the caller's promise.
            unsafe { self.copy((self.kept.cast_const(), WIDTH), self.in_result()) };
        }
    }

    /// # Safety
    /// As for [`Sums::from`].
    unsafe fn in_result(&self) -> (*mut f32, usize) {
        // SAFETY: the caller's promise.
        (unsafe { self.y.at(self.rows.start, self.columns.start) }, self.y.stride())
    }

    /// # Safety
    /// Both must be valid for the rows and the columns.
    unsafe fn copy(&self, from: (*const f32, usize), to: (*mut f32, usize)) {
        for row in 0..self.rows.len() {
            // SAFETY: the caller's promise.
            unsafe { copy_row(from.0.add(row * from.1), to.0.add(row * to.1), self.columns.len()) };
        }
    }
}

/// The length of equal blocks of `n` values.
fn block_len(n: usize) -> usize {
    even_block(n, BLOCK, GROUP)
}
