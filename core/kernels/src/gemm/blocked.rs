//! The loops around the tile: blocks of rows, of columns and of depth, sized for the caches.

use std::ops::Range;

use super::Start;
use super::operands::{Operands, Strided};
use super::split::{Split, blocks, even_block};
use crate::isa::{CHAIN, DEPTH, Kernels, MAX_ROWS, PACKED, Tile, WIDTH};
use crate::matrix::{Part, RowsMut};
use crate::scratch;

/// Rows of `A` packed at a time: with `DEPTH` columns, 1 MiB.
const ROWS: usize = 504;
/// Panels that reuse packed rows before the next block of depth: bounds the part of `C` that is revisited.
const PANELS: usize = 32;
/// A panel that so few tiles use is not worth a copy, if it can be used where it lies.
const REUSES: usize = 4;

/// `C = start + Σ A · B`, this part of it, over the terms in their order.
///
/// # Safety
/// The terms and `start` must fit `c`, the machine must have the instructions of `kernels`, each part must be run exactly
/// once, and nothing else may touch `c` meanwhile.
pub(super) unsafe fn product(
    kernels: &Kernels,
    terms: &[&dyn Operands],
    start: Start,
    c: RowsMut,
    part: Part,
) {
    let (n_rows, n_cols) = (c.n_rows(), c.n_cols());
    if n_rows == 0 || n_cols == 0 {
        return;
    }
    let split = Split::new(n_rows, n_cols, part);
    let row_block = even_block(split.chunk_rows(), ROWS, 1);
    let few_rows = row_block <= REUSES * kernels.max_rows;
    let depth_block = |term: &dyn Operands| match term.lies_as_panels() && few_rows {
        // Values on the right are used a few times: read whole rows of them, and keep `C` in the nearest cache instead.
        true => CHAIN,
        false => even_block(term.depth(), DEPTH, CHAIN),
    };
    let batch = |term: &dyn Operands| (DEPTH / depth_block(term)).clamp(1, PANELS);
    let memory = terms.iter().map(|term| batch(*term) * depth_block(*term) * WIDTH).max().unwrap_or(0);

    scratch::with([row_block * PACKED, memory], |[packed, memory]| {
        split.for_each(|chunk_rows, panels| {
            for rows in blocks(chunk_rows, row_block) {
                let mut packed_now = None;
                for panels in panels.blocks(PANELS) {
                    let mut start = start;
                    for (index, term) in terms.iter().enumerate() {
                        for sums in blocks_or_empty(0..term.depth(), depth_block(*term)) {
                            let left = term.left(rows.clone(), sums.clone()).unwrap_or_else(|| {
                                if packed_now.replace((index, sums.start)) != Some((index, sums.start)) {
                                    term.pack(rows.clone(), sums.clone(), packed);
                                }
                                Strided { values: packed, stride: PACKED }
                            });
                            for panels in panels.blocks(batch(*term)) {
                                let (rows, depth) = (rows.clone(), sums.clone());
                                let block = Block { left, rows, columns: panels.all_columns(), depth, start };
                                // SAFETY: parts share no (rows, panel), so no two touch the same element of `c`; the
                                // caller promises the instructions.
                                unsafe { block.multiply(kernels, *term, memory, c) };
                            }
                            start = Start::Itself;
                        }
                    }
                }
            }
        });
    });
}

/// A block of rows on the left, and the columns and the depth for which they are multiplied.
struct Block<'a> {
    left: Strided<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    depth: Range<usize>,
    start: Start<'a>,
}

impl Block<'_> {
    /// # Safety
    /// The rows and columns must be inside `c` and nobody else's; the machine must have the instructions.
    unsafe fn multiply(&self, kernels: &Kernels, operands: &dyn Operands, memory: &mut [f32], c: RowsMut) {
        let panel_len = self.depth.len().next_multiple_of(WIDTH) * WIDTH;
        let panels = || blocks(self.columns.clone(), WIDTH);
        let in_place = |columns: &Range<usize>| {
            let fits = self.rows.len() <= REUSES * kernels.max_rows && width(columns.len()) == columns.len();
            if fits { operands.in_place(self.depth.clone(), columns.clone()) } else { None }
        };
        for (columns, panel) in panels().zip(memory.chunks_mut(panel_len.max(WIDTH))) {
            if in_place(&columns).is_none() {
                // SAFETY: the caller promises the instructions.
                unsafe { operands.panel(kernels, self.depth.clone(), columns, panel) };
            }
        }
        let n_tiles = self.rows.len().div_ceil(kernels.max_rows);
        for tile in 0..n_tiles {
            let rows = Part { index: tile, count: n_tiles }.range(self.rows.len());
            let last = (rows.end - 1) * self.left.stride + self.depth.len();
            let x = &self.left.values[rows.start * self.left.stride..last];
            for (index, columns) in panels().enumerate() {
                let packed = || Strided { values: &memory[index * panel_len..][..panel_len], stride: WIDTH };
                let panel = in_place(&columns).unwrap_or_else(packed);
                let (row, column) = (self.rows.start + rows.start, columns.start);
                let tile = Tile {
                    rows: rows.len(),
                    width: width(columns.len()),
                    depth: self.depth.len(),
                    x: x.as_ptr(),
                    x_stride: self.left.stride,
                    panel: panel.values.as_ptr(),
                    panel_stride: panel.stride,
                    // SAFETY: the rows and columns are inside `c` by the caller's promise.
                    c: unsafe { c.at(row, column) },
                    c_stride: c.stride(),
                    accumulate: !matches!(self.start, Start::Zero),
                };
                let from = match &self.start {
                    Start::From(matrix) => (matrix.row(row)[column..].as_ptr(), matrix.stride()),
                    Start::Zero | Start::Itself => (tile.c.cast_const(), tile.c_stride),
                };
                // SAFETY: the rows and columns are inside `c` and a matrix of its shape; `x` was cut to the rows, the
                // panel has the depth and at least the columns; the caller promises the rest.
                unsafe { run(kernels, tile, from, columns.len()) };
            }
        }
    }
}

/// Runs a tile of which only `n_cols` columns exist in `c`, and in `from`, what the sums start from.
///
/// # Safety
/// As for the tile, except that `c` and `from` have `n_cols` columns.
unsafe fn run(kernels: &Kernels, tile: Tile, from: (*const f32, usize), n_cols: usize) {
    if n_cols == tile.width {
        // SAFETY: the caller's promise.
        unsafe { kernels.product_from(tile, from) };
        return;
    }
    let mut edge = [0.0f32; MAX_ROWS * WIDTH];
    if tile.accumulate {
        for row in 0..tile.rows {
            for column in 0..n_cols {
                // SAFETY: inside `from` by the caller's promise.
                edge[row * WIDTH + column] = unsafe { *from.0.add(row * from.1 + column) };
            }
        }
    }
    // SAFETY: the caller's promise, with `edge` for `c`, which has room for `MAX_ROWS >= max_rows` full rows.
    unsafe { kernels.product(Tile { c: edge.as_mut_ptr(), c_stride: WIDTH, ..tile }) };
    for row in 0..tile.rows {
        for column in 0..n_cols {
            // SAFETY: inside `c` by the caller's promise.
            unsafe { *tile.c.add(row * tile.c_stride + column) = edge[row * WIDTH + column] };
        }
    }
}

/// The width of the tile for so many columns: 8, 16 or 32.
fn width(n_cols: usize) -> usize {
    if n_cols <= 8 { 8 } else { n_cols.next_multiple_of(16) }
}

/// As [`blocks`], but one empty block for an empty range: sums of nothing are 0 and have to be stored.
fn blocks_or_empty(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let empty = range.is_empty().then_some(range.clone());
    blocks(range, size).chain(empty)
}
