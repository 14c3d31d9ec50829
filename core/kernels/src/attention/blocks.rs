//! Which queries attend to which keys, in blocks, and how the blocks are shared between threads.

use std::ops::Range;

use super::AttentionShape;
use crate::isa::WIDTH;
use crate::matrix::Part;

/// Rows (queries or keys) of a block.
pub(super) const BLOCK: usize = 24;

/// Blocks of queries with the keys that they attend to.
pub(super) struct Plan {
    /// Per query: the first key that it attends to; the last one is the query's own.
    pub first_key: Vec<u32>,
    /// In order of the rows.
    pub blocks: Vec<Block>,
}

/// A block of rows and the range of columns that any of them meets.
#[derive(Clone)]
pub(super) struct Block {
    /// At most [`BLOCK`] rows.
    pub rows: Range<usize>,
    /// Starts at a multiple of 32.
    pub columns: Range<usize>,
}

/// Consecutive blocks of one head, all done by one thread.
pub(super) struct Run {
    /// Index of the key head.
    pub head: usize,
    /// Indices of blocks.
    pub blocks: Range<usize>,
}

impl Plan {
    /// Blocks of queries with the keys that they attend to.
    pub fn queries(shape: &AttentionShape, starts: &[i32]) -> Self {
        let first_key = first_keys(shape, starts);
        let blocks = rows(0..starts.len())
            .map(|rows| {
                let first = first_key[rows.clone()].iter().min().map_or(0, |key| *key as usize);
                Block { columns: first - first % WIDTH..rows.end, rows }
            })
            .collect();
        Plan { first_key, blocks }
    }

    /// This part's share of all blocks of `n_heads` heads: about the same work for every part.
    pub fn share(&self, n_heads: usize, part: Part) -> Vec<Run> {
        let total = n_heads * self.blocks.iter().map(Block::cost).sum::<usize>();
        let (mut before, mut runs) = (0, Vec::<Run>::new());
        if part.index >= part.count {
            return runs;
        }
        for head in 0..n_heads {
            let mut own = Vec::new();
            for (index, block) in self.blocks.iter().enumerate() {
                let middle = before + block.cost() / 2;
                if (middle as u128 * part.count as u128 / total as u128) as usize == part.index {
                    own.push(index);
                }
                before += block.cost();
            }
            // The middles ascend, so a part's blocks are consecutive.
            if let (Some(first), Some(last)) = (own.first(), own.last()) {
                runs.push(Run { head, blocks: *first..last + 1 });
            }
        }
        runs
    }

    /// The columns that the blocks of a run meet, from a multiple of 32 on.
    pub fn columns(&self, run: &Run) -> Range<usize> {
        let blocks = &self.blocks[run.blocks.clone()];
        let start = blocks.iter().map(|block| block.columns.start).min().unwrap_or(0);
        start..blocks.iter().map(|block| block.columns.end).max().unwrap_or(start)
    }
}

impl Block {
    fn cost(&self) -> usize {
        // The second term stands for what does not depend on the number of columns.
        self.rows.len() * (self.columns.len() + WIDTH)
    }
}

/// Rows in blocks.
pub(super) fn rows(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(BLOCK).map(move |start| start..(start + BLOCK).min(range.end))
}

/// For each query the first key that it attends to.
pub(super) fn first_keys(shape: &AttentionShape, starts: &[i32]) -> Vec<u32> {
    let by_window = |t: usize| shape.window().map_or(0, |window| (t + 1).saturating_sub(window));
    starts.iter().enumerate().map(|(t, start)| (*start as u32).max(by_window(t) as u32)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn every_block_of_every_head_has_one_part() {
        let shape = AttentionShape::new([6, 3], 8, 1.0).unwrap();
        let starts: Vec<i32> = (0..500).map(|t| if t < 130 { 0 } else { 130 }).collect();
        let plan = Plan::queries(&shape, &starts);
        for count in [1, 2, 5, 100] {
            let mut times = vec![0; 3 * plan.blocks.len()];
            let mut most = 0;
            for index in 0..count {
                let mut cost = 0;
                for run in plan.share(3, Part { index, count }) {
                    for block in run.blocks {
                        times[run.head * plan.blocks.len() + block] += 1;
                        cost += plan.blocks[block].cost();
                    }
                }
                most = most.max(cost);
            }
            assert!(times.iter().all(|times| *times == 1));
            let total: usize = 3 * plan.blocks.iter().map(Block::cost).sum::<usize>();
            let largest = plan.blocks.iter().map(Block::cost).max().unwrap_or(0);
            assert!(most <= total / count + largest, "{count}: {most} of {total}");
        }
        assert!(plan.share(3, Part { index: 0, count: 0 }).is_empty());
    }

    #[test]
    fn blocks_meet_what_attends_only() {
        let shape = AttentionShape::new([1, 1], 8, 1.0).unwrap().windowed(NonZeroUsize::new(10));
        let starts: Vec<i32> = (0..200).map(|t| if t < 100 { 0 } else { 100 }).collect();
        let queries = Plan::queries(&shape, &starts);
        assert_eq!(queries.blocks[2].columns, 32..72); // queries 48..72 attend to 39.. and on
        assert_eq!(queries.blocks[5].columns, 96..144); // queries 120..144 attend to 111.. and on
    }
}
