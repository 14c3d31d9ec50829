//! The loops around the tile: blocks of rows, of columns and of depth, sized for the caches.

use std::ops::Range;

use super::operands::Operands;
use crate::isa::{DEPTH, Kernels, PACKED, Tile, WIDTH};
use crate::matrix::{Part, RowsMut};
use crate::scratch;

/// Rows of `A` packed at a time: with `DEPTH` columns, 1 MiB.
const ROWS: usize = 504;
/// Panels that reuse packed rows before the next block of depth: bounds the part of `C` that is revisited.
const PANELS: usize = 16;
/// What dequantizing a panel costs, in rows of the product; decides between splitting rows and columns.
const PANEL_COST: usize = 8;
/// The largest `max_rows` of any tier, for the tile that stands in for one at the right edge of `C`.
const EDGE_ROWS: usize = 16;

/// `C (+)= A · B`, this part of it.
///
/// # Safety
/// `operands` must fit `c`, the machine must have the instructions of `kernels`, each part must be run exactly once,
/// and nothing else may touch `c` meanwhile.
pub(super) unsafe fn product(
    kernels: &Kernels,
    operands: &impl Operands,
    c: RowsMut,
    accumulate: bool,
    part: Part,
) {
    let (n_rows, n_cols, depth) = (c.n_rows(), c.n_cols(), operands.depth());
    if n_rows == 0 || n_cols == 0 {
        return;
    }
    let n_panels = n_cols.div_ceil(WIDTH);
    let n_chunks = row_chunks(n_rows, n_panels, part.count);
    let share = part.range(n_chunks * n_panels);
    let depth_block = even_block(depth, DEPTH, WIDTH);
    let row_block = even_block(n_rows.div_ceil(n_chunks), ROWS, 1).min(ROWS);

    scratch::with([row_block * PACKED, depth_block * WIDTH], |[packed, panel]| {
        for chunk in 0..n_chunks {
            let panels = overlap(&share, chunk * n_panels, n_panels);
            if panels.is_empty() {
                continue;
            }
            let chunk_rows = Part { index: chunk, count: n_chunks }.range(n_rows);
            for rows in blocks(chunk_rows, row_block) {
                let mut packed_depth = None;
                for panels in blocks(panels.clone(), PANELS) {
                    for sums in blocks_or_empty(0..depth, depth_block) {
                        if packed_depth.replace(sums.start) != Some(sums.start) {
                            operands.pack(rows.clone(), sums.clone(), packed);
                        }
                        for index in panels.clone() {
                            let columns = index * WIDTH..((index + 1) * WIDTH).min(n_cols);
                            // SAFETY: the caller promises the instructions.
                            unsafe { operands.panel(kernels, sums.clone(), columns.clone(), panel) };
                            let block =
                                Block { packed, panel, depth: sums.len(), rows: rows.clone(), columns };
                            // SAFETY: parts share no (chunk, panel), so no two touch the same element of `c`.
                            unsafe { block.multiply(kernels, c, accumulate || sums.start > 0) };
                        }
                    }
                }
            }
        }
    });
}

/// A packed block of rows and the panel that it is multiplied with.
struct Block<'a> {
    packed: &'a [f32],
    panel: &'a [f32],
    depth: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Block<'_> {
    /// # Safety
    /// The rows and columns must be inside `c` and nobody else's; the machine must have the instructions.
    unsafe fn multiply(&self, kernels: &Kernels, c: RowsMut, accumulate: bool) {
        let n_cols = self.columns.len();
        let width = if n_cols <= 8 { 8 } else { n_cols.next_multiple_of(16) };
        let n_tiles = self.rows.len().div_ceil(kernels.max_rows);
        for tile in 0..n_tiles {
            let rows = Part { index: tile, count: n_tiles }.range(self.rows.len());
            // SAFETY: rows and columns are inside `c` by the caller's promise.
            let target = unsafe { c.at(self.rows.start + rows.start, self.columns.start) };
            let full = Tile {
                rows: rows.len(),
                width,
                depth: self.depth,
                x: self.packed[rows.start * PACKED..rows.end * PACKED].as_ptr(),
                panel: self.panel[..self.depth * WIDTH].as_ptr(),
                c: target,
                c_stride: c.stride(),
                accumulate,
            };
            if width == n_cols {
                // SAFETY: the tile's rows and columns are inside `c`, the packed rows and the panel were sliced to
                // its shape, and the caller promises the rest.
                unsafe { (kernels.tile)(full) };
                continue;
            }
            let mut edge = [0.0f32; EDGE_ROWS * WIDTH];
            for row in 0..rows.len() {
                for column in 0..n_cols {
                    // SAFETY: inside `c`, as above.
                    edge[row * WIDTH + column] = unsafe { *target.add(row * c.stride() + column) };
                }
            }
            // SAFETY: as above, with `edge` for `c`, which has room for `EDGE_ROWS >= max_rows` rows.
            unsafe { (kernels.tile)(Tile { c: edge.as_mut_ptr(), c_stride: WIDTH, ..full }) };
            for row in 0..rows.len() {
                for column in 0..n_cols {
                    // SAFETY: inside `c`, as above.
                    unsafe { *target.add(row * c.stride() + column) = edge[row * WIDTH + column] };
                }
            }
        }
    }
}

/// Into how many chunks to divide the rows, so that `count` threads finish (chunk, panel) pairs at about the same time
/// without dequantizing panels more often than that is worth.
fn row_chunks(n_rows: usize, n_panels: usize, count: usize) -> usize {
    let most = n_rows.div_ceil(8).min(2 * count).max(1);
    let time = |chunks: &usize| {
        (chunks * n_panels).div_ceil(count.max(1)).saturating_mul(n_rows.div_ceil(*chunks) + PANEL_COST)
    };
    (1..=most).min_by_key(time).unwrap_or(1)
}

/// The size of equal blocks of at most `most` that cover `n`, rounded up to a multiple of `unit`.
fn even_block(n: usize, most: usize, unit: usize) -> usize {
    n.div_ceil(n.div_ceil(most).max(1)).max(1).next_multiple_of(unit)
}

fn blocks(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(size).map(move |start| start..(start + size).min(range.end))
}

/// As [`blocks`], but one empty block for an empty range: sums of nothing are 0 and have to be stored.
fn blocks_or_empty(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let empty = range.is_empty().then_some(range.clone());
    blocks(range, size).chain(empty)
}

/// The part of `share` inside `start..start + n`, relative to `start`.
fn overlap(share: &Range<usize>, start: usize, n: usize) -> Range<usize> {
    let clamp = |value: usize| value.clamp(start, start + n) - start;
    clamp(share.start)..clamp(share.end)
}
