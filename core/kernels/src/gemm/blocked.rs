//! The loops around the tile: blocks of rows, of columns and of depth, sized for the caches.

use std::ops::Range;

use super::accumulator::Accumulator;
use super::epilogue::LowRankEpilogue;
use super::operands::{Operands, Strided};
use super::split::{Split, blocks, even_block};
use crate::error::KernelError;
use crate::isa::Kernels;
use crate::matrix::{Part, RowsMut};
use crate::scratch;
use crate::tile::{CHAIN, MAX_DEPTH, MAX_ROWS, PACKED_STRIDE, Tile, WIDTH};
use crate::weights::{DecodedBlocks, GROUP};

/// Rows of `A` packed at a time: with `MAX_DEPTH` columns, 1 MiB.
const ROWS: usize = 504;
/// Panels that reuse packed rows before the next block of depth: bounds the part of `C` that is revisited.
const PANELS: usize = 32;

/// The most rows of a panel whose blocks are decoded for several panels.
const DECODED_DEPTH: usize = 2 * CHAIN;

/// Floats of working memory for decoded blocks.
pub(super) const DECODED_FLOATS: usize = DecodedBlocks::floats(DECODED_DEPTH);

/// Floats of working memory for so many rows and epilogues of a depth of up to 32.
pub(super) fn scratch_floats(n_rows: usize) -> usize {
    n_rows.min(ROWS) * PACKED_STRIDE + MAX_DEPTH * WIDTH + PANELS * WIDTH * GROUP
}

/// Computes this part of `C = accumulator + Σ A · B`, over the terms in their order, then the epilogues.
///
/// # Safety
/// The terms, `accumulator` and `split` must fit `c`, the machine must have the instructions of `kernels`, each part must be
/// run exactly once, and nothing else may touch `c` meanwhile.
pub(super) unsafe fn product(
    kernels: &Kernels,
    terms: &[&dyn Operands],
    epilogues: &[LowRankEpilogue],
    accumulator: Accumulator,
    c: RowsMut,
    split: &Split,
) -> Result<(), KernelError> {
    if c.n_rows() == 0 || c.n_cols() == 0 {
        return Ok(());
    }
    let row_block = even_block(split.chunk_rows(), ROWS, 1);
    let depth_block = |term: &dyn Operands| {
        let most = if term.shares_blocks() { DECODED_DEPTH } else { MAX_DEPTH };
        even_block(term.depth(), most, CHAIN)
    };
    let decoded_floats = if terms.iter().any(|term| term.shares_blocks()) { DECODED_FLOATS } else { 0 };
    let batch = |term: &dyn Operands| (MAX_DEPTH / depth_block(term)).clamp(1, PANELS);
    let memory = terms.iter().map(|term| batch(*term) * depth_block(*term) * WIDTH).max().unwrap_or(0);
    let epilogue_len: usize = epilogues.iter().map(LowRankEpilogue::panel_len).sum();

    scratch::with(
        [row_block * PACKED_STRIDE, memory, PANELS * epilogue_len, decoded_floats],
        |[packed, memory, epilogue_memory, decoded]| {
            split.for_each(|chunk_rows, panels| {
                for rows in blocks(chunk_rows, row_block) {
                    let mut packed_now = None;
                    for panels in panels.blocks(PANELS) {
                        let mut accumulator = accumulator;
                        for (index, term) in terms.iter().enumerate() {
                            for sums in blocks_or_empty(0..term.depth(), depth_block(*term)) {
                                let lhs = term.lhs(rows.clone(), sums.clone()).unwrap_or_else(|| {
                                    if packed_now.replace((index, sums.start)) != Some((index, sums.start)) {
                                        term.pack_lhs(rows.clone(), sums.clone(), packed);
                                    }
                                    Strided { values: packed, stride: PACKED_STRIDE }
                                });
                                let mut decoded = DecodedBlocks::new(decoded);
                                for panels in panels.blocks(batch(*term)) {
                                    let (rows, depth) = (rows.clone(), sums.clone());
                                    let is_last = index + 1 == terms.len() && depth.end == term.depth();
                                    let epilogues = if is_last { epilogues } else { &[] };
                                    let columns = panels.all_columns();
                                    let block = Block { lhs, rows, columns, depth, accumulator, epilogues };
                                    // SAFETY: parts share no (rows, panel), so no two touch the same element of `c`; the
                                    // caller promises the instructions.
                                    unsafe {
                                        let memory = [&mut *memory, &mut *epilogue_memory];
                                        block.multiply(kernels, *term, memory, &mut decoded, c);
                                    };
                                }
                                accumulator = Accumulator::Existing;
                            }
                        }
                    }
                }
            });
        },
    )
}

/// A block of left-hand rows, and the columns and the depth for which they are multiplied.
struct Block<'a> {
    lhs: Strided<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    depth: Range<usize>,
    accumulator: Accumulator<'a>,
    /// What is added to the sums once they are there.
    epilogues: &'a [LowRankEpilogue<'a>],
}

impl Block<'_> {
    /// # Safety
    /// The rows and columns must be inside `c` and nobody else's; the machine must have the instructions.
    unsafe fn multiply(
        &self,
        kernels: &Kernels,
        operands: &dyn Operands,
        [memory, epilogue_memory]: [&mut [f32]; 2],
        decoded: &mut DecodedBlocks,
        c: RowsMut,
    ) {
        let panel_len = self.depth.len().next_multiple_of(WIDTH) * WIDTH;
        let panels = || blocks(self.columns.clone(), WIDTH);
        for (columns, panel) in panels().zip(memory.chunks_mut(panel_len.max(WIDTH))) {
            // SAFETY: the caller promises the instructions.
            unsafe { operands.pack_rhs(kernels, self.depth.clone(), columns, decoded, panel) };
        }
        let epilogue_floats: usize = self.epilogues.iter().map(LowRankEpilogue::panel_len).sum();
        for (index, columns) in panels().enumerate() {
            let mut memory = &mut epilogue_memory[index * epilogue_floats..][..epilogue_floats];
            for epilogue in self.epilogues {
                let (panel, rest) = memory.split_at_mut(epilogue.panel_len());
                // SAFETY: the caller promises the instructions.
                unsafe { epilogue.pack_rhs(kernels, columns.clone(), panel) };
                memory = rest;
            }
        }
        let n_tiles = self.rows.len().div_ceil(kernels.max_rows);
        for tile in 0..n_tiles {
            let rows = Part { index: tile, count: n_tiles }.range(self.rows.len());
            let last = (rows.end - 1) * self.lhs.stride + self.depth.len();
            let x = &self.lhs.values[rows.start * self.lhs.stride..last];
            for (index, columns) in panels().enumerate() {
                let panel = &memory[index * panel_len..][..panel_len];
                let (row, column) = (self.rows.start + rows.start, columns.start);
                let tile = Tile {
                    rows: rows.len(),
                    width: width(columns.len()),
                    depth: self.depth.len(),
                    x: x.as_ptr(),
                    x_stride: self.lhs.stride,
                    panel: panel.as_ptr(),
                    panel_stride: WIDTH,
                    // SAFETY: the rows and columns are inside `c` by the caller's promise.
                    c: unsafe { c.at(row, column) },
                    c_stride: c.stride(),
                    accumulate: !matches!(self.accumulator, Accumulator::Zero),
                };
                let in_result = (tile.c.cast_const(), tile.c_stride);
                let from = self.accumulator.apart(row, column).unwrap_or(in_result);
                // SAFETY: the rows and columns are inside `c` and a matrix of its shape; `x` was cut to the rows, the
                // panel has the depth and at least the columns; the caller promises the rest.
                unsafe { run(kernels, tile, from, columns.len()) };
                let mut panels = &epilogue_memory[index * epilogue_floats..][..epilogue_floats];
                for epilogue in self.epilogues {
                    let (panel, rest) = panels.split_at(epilogue.panel_len());
                    let rows = row..row + tile.rows;
                    let add = |c, stride| {
                        // SAFETY: as above, for a place as wide as the tile.
                        unsafe { epilogue.add(kernels, rows, panel, (c, stride), tile.width) };
                    };
                    match columns.len() == tile.width {
                        true => add(tile.c, tile.c_stride),
                        // SAFETY: as above.
                        false => unsafe { at_edge(&tile, Some((tile.c, tile.c_stride)), columns.len(), add) },
                    }
                    panels = rest;
                }
            }
        }
    }
}

/// Runs a tile of which only `n_cols` columns exist in `c`, and in `from`, what the sums are added to.
///
/// # Safety
/// As for the tile, except that `c` and `from` have `n_cols` columns.
unsafe fn run(kernels: &Kernels, tile: Tile, from: (*const f32, usize), n_cols: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if n_cols == tile.width {
            kernels.product_from(tile, from);
        } else {
            let from = tile.accumulate.then_some(from);
            at_edge(&tile, from, n_cols, |c, c_stride| kernels.product(Tile { c, c_stride, ..tile }));
        }
    }
}

/// Calls `work` with a place as wide as the tile for the `n_cols` columns of its result that exist, and its stride: first
/// filled from elsewhere, if asked for, then copied to `c`.
///
/// # Safety
/// `c` and `from` must be valid for the tile's rows and `n_cols` columns.
unsafe fn at_edge(
    tile: &Tile,
    from: Option<(*const f32, usize)>,
    n_cols: usize,
    work: impl FnOnce(*mut f32, usize),
) {
    // Room for `MAX_ROWS >= max_rows` whole rows.
    let mut edge = [0.0f32; MAX_ROWS * WIDTH];
    if let Some((from, stride)) = from {
        for row in 0..tile.rows {
            for column in 0..n_cols {
                // SAFETY: inside `from` by the caller's promise.
                edge[row * WIDTH + column] = unsafe { *from.add(row * stride + column) };
            }
        }
    }
    work(edge.as_mut_ptr(), WIDTH);
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

/// The [`blocks`] of a range, but one empty block for an empty range: sums of nothing are 0 and have to be stored.
fn blocks_or_empty(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let empty = range.is_empty().then_some(range.clone());
    blocks(range, size).chain(empty)
}
