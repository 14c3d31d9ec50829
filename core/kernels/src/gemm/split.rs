//! How the result of a product is divided: between threads, and into blocks.

use std::ops::Range;

use crate::matrix::Part;
use crate::tile::WIDTH;

/// The cost of dequantizing a panel, in rows of the product: it decides between splitting rows and columns.
const PANEL_COST: usize = 12;
/// A left-hand side of more bytes does not stay in the caches: it comes from memory, once for each part.
const MAX_CACHED_LHS_BYTES: usize = 4 << 20;
/// A part with so many panels makes up for that.
const MIN_PANELS_PER_FETCH: usize = 8;
/// More parts are for several cores, which may be of unequal speed: all of them are needed to even that out.
const MAX_PAIRED_PARTS: usize = 4;

/// One part's share of a result: panels of 32 columns, each of a chunk of the rows.
pub(super) struct Split {
    n_rows: usize,
    n_cols: usize,
    n_chunks: usize,
    /// The share of all pairs of a chunk and a panel, ordered by chunk.
    share: Range<usize>,
}

/// Consecutive panels.
#[derive(Clone)]
pub(super) struct Panels {
    panels: Range<usize>,
    n_cols: usize,
}

impl Split {
    /// The share of `part`. It depends on the sizes and the number of parts only; whoever divides work among threads makes two
    /// parts for each. Where the left-hand side, of `lhs_bytes`, is large and the share of a part small, the first of two
    /// parts takes what is for both.
    pub fn new(n_rows: usize, n_cols: usize, lhs_bytes: usize, part: Part) -> Self {
        let n_panels = n_cols.div_ceil(WIDTH);
        let in_pairs = lhs_bytes > MAX_CACHED_LHS_BYTES
            && n_panels < MIN_PANELS_PER_FETCH * part.count
            && part.count <= MAX_PAIRED_PARTS
            && part.count.is_multiple_of(2);
        let size = if in_pairs { 2 } else { 1 };
        let n_chunks = row_chunks(n_rows, n_panels, part.count.div_ceil(2));
        let share = match part.index.is_multiple_of(size) {
            true => Part { index: part.index / size, count: part.count / size }.range(n_chunks * n_panels),
            false => 0..0,
        };
        Self { n_rows, n_cols, n_chunks, share }
    }

    /// The most rows of a chunk.
    pub fn chunk_rows(&self) -> usize {
        self.n_rows.div_ceil(self.n_chunks)
    }

    /// Calls `work` with each chunk of rows that this part has panels of, and the panels.
    pub fn for_each(&self, mut work: impl FnMut(Range<usize>, Panels)) {
        let n_panels = self.n_cols.div_ceil(WIDTH);
        for chunk in 0..self.n_chunks {
            let panels = overlap(&self.share, chunk * n_panels, n_panels);
            if !panels.is_empty() {
                let rows = Part { index: chunk, count: self.n_chunks }.range(self.n_rows);
                work(rows, Panels { panels, n_cols: self.n_cols });
            }
        }
    }
}

impl Panels {
    /// These panels in blocks of at most `most`.
    pub fn blocks(&self, most: usize) -> impl Iterator<Item = Panels> {
        let n_cols = self.n_cols;
        blocks(self.panels.clone(), most).map(move |panels| Panels { panels, n_cols })
    }

    /// The columns from the first panel's to the last one's.
    pub fn all_columns(&self) -> Range<usize> {
        self.panels.start * WIDTH..(self.panels.end * WIDTH).min(self.n_cols)
    }

    /// The columns of each panel: 32, or less at the edge.
    pub fn columns(&self) -> impl Iterator<Item = Range<usize>> {
        blocks(self.all_columns(), WIDTH)
    }
}

/// Cuts `range` into blocks of `size` and a rest.
pub(super) fn blocks(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(size).map(move |start| start..(start + size).min(range.end))
}

/// The size of equal blocks of at most `most` that cover `n`, rounded up to a multiple of `unit`.
pub(super) fn even_block(n: usize, most: usize, unit: usize) -> usize {
    n.div_ceil(n.div_ceil(most).max(1)).max(1).next_multiple_of(unit)
}

/// The number of chunks into which to divide the rows, so that threads finish (chunk, panel) pairs at about the same time
/// without dequantizing panels more often than that is worth.
fn row_chunks(n_rows: usize, n_panels: usize, n_threads: usize) -> usize {
    let most = n_rows.div_ceil(8).min(4 * n_threads).max(1);
    let time = |chunks: &usize| {
        (chunks * n_panels).div_ceil(n_threads.max(1)).saturating_mul(n_rows.div_ceil(*chunks) + PANEL_COST)
    };
    (1..=most).min_by_key(time).unwrap_or(1)
}

/// The part of `share` inside `start..start + n`, relative to `start`.
fn overlap(share: &Range<usize>, start: usize, n: usize) -> Range<usize> {
    let clamp = |value: usize| value.clamp(start, start + n) - start;
    clamp(share.start)..clamp(share.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_panel_of_every_row_once() {
        for (n_rows, n_cols) in [(1, 8), (7, 64), (40, 70), (128, 576), (300, 2000)] {
            for (lhs_bytes, count) in [0, MAX_CACHED_LHS_BYTES + 1]
                .into_iter()
                .flat_map(|bytes| (1..9).map(move |count| (bytes, count)))
            {
                let mut covered = vec![0; n_rows * n_cols];
                for index in 0..count {
                    Split::new(n_rows, n_cols, lhs_bytes, Part { index, count }).for_each(|rows, panels| {
                        for row in rows {
                            covered[row * n_cols..][panels.all_columns()].iter_mut().for_each(|n| *n += 1);
                        }
                    });
                }
                assert!(
                    covered.iter().all(|n| *n == 1),
                    "{n_rows} x {n_cols}, {lhs_bytes} bytes, {count} parts"
                );
            }
        }
    }
}
