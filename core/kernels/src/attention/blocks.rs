//! Which queries attend to which keys, in blocks, and how the blocks are shared between threads.

use std::ops::Range;

use super::shape::AttentionShape;
use crate::matrix::Part;
use crate::tile::WIDTH;

/// The most rows, queries or keys, of a block.
pub(super) const BLOCK_ROWS: usize = 24;

/// The queries of a sequence in blocks, for the forward pass.
pub(super) struct QueryBlocks {
    /// The first key that each query attends to; the last one is the query's own.
    pub first_key: Vec<u32>,
    /// The blocks, in order of the queries.
    pub blocks: Vec<QueryBlock>,
}

/// A block of queries and the range of keys that any of them attends to.
#[derive(Clone)]
pub(super) struct QueryBlock {
    /// At most [`BLOCK_ROWS`] queries.
    pub queries: Range<usize>,
    /// The first is a multiple of 32.
    pub keys: Range<usize>,
}

/// Consecutive blocks of one head, all done by one thread.
pub(super) struct BlockRun {
    /// Index of the key head.
    pub head: usize,
    /// Indices of blocks.
    pub blocks: Range<usize>,
}

impl QueryBlocks {
    /// The queries in blocks, with the keys that they attend to.
    pub fn new(shape: &AttentionShape, starts: &[i32]) -> Self {
        let first_key = first_keys(shape, starts);
        let blocks = row_blocks(0..starts.len())
            .map(|queries| {
                let first = first_key[queries.clone()].iter().min().map_or(0, |key| *key as usize);
                QueryBlock { keys: first - first % WIDTH..queries.end, queries }
            })
            .collect();
        QueryBlocks { first_key, blocks }
    }

    /// This part's share of all blocks of `n_heads` heads: about the same work for every part.
    pub fn share(&self, n_heads: usize, part: Part) -> Vec<BlockRun> {
        let total = n_heads * self.blocks.iter().map(QueryBlock::cost).sum::<usize>();
        let (mut before, mut runs) = (0, Vec::<BlockRun>::new());
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
                runs.push(BlockRun { head, blocks: *first..last + 1 });
            }
        }
        runs
    }

    /// The keys that the blocks of a run attend to, from a multiple of 32 on.
    pub fn keys(&self, run: &BlockRun) -> Range<usize> {
        let blocks = &self.blocks[run.blocks.clone()];
        let start = blocks.iter().map(|block| block.keys.start).min().unwrap_or(0);
        start..blocks.iter().map(|block| block.keys.end).max().unwrap_or(start)
    }
}

impl QueryBlock {
    fn cost(&self) -> usize {
        // The second term stands for what does not depend on the number of keys.
        self.queries.len() * (self.keys.len() + WIDTH)
    }
}

/// Cuts rows into blocks of [`BLOCK_ROWS`].
pub(super) fn row_blocks(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(BLOCK_ROWS).map(move |start| start..(start + BLOCK_ROWS).min(range.end))
}

/// The first key that each query attends to.
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
        let blocks = QueryBlocks::new(&shape, &starts);
        for count in [1, 2, 5, 100] {
            let mut times = vec![0; 3 * blocks.blocks.len()];
            let mut most = 0;
            for index in 0..count {
                let mut cost = 0;
                for run in blocks.share(3, Part { index, count }) {
                    for block in run.blocks {
                        times[run.head * blocks.blocks.len() + block] += 1;
                        cost += blocks.blocks[block].cost();
                    }
                }
                most = most.max(cost);
            }
            assert!(times.iter().all(|times| *times == 1));
            let total: usize = 3 * blocks.blocks.iter().map(QueryBlock::cost).sum::<usize>();
            let largest = blocks.blocks.iter().map(QueryBlock::cost).max().unwrap_or(0);
            assert!(most <= total / count + largest, "{count}: {most} of {total}");
        }
        assert!(blocks.share(3, Part { index: 0, count: 0 }).is_empty());
    }

    #[test]
    fn blocks_have_only_the_keys_that_are_attended_to() {
        let shape = AttentionShape::new([1, 1], 8, 1.0).unwrap().windowed(NonZeroUsize::new(10));
        let starts: Vec<i32> = (0..200).map(|t| if t < 100 { 0 } else { 100 }).collect();
        let blocks = QueryBlocks::new(&shape, &starts);
        assert_eq!(blocks.blocks[2].keys, 32..72); // queries 48..72 attend to 39.. and on
        assert_eq!(blocks.blocks[5].keys, 96..144); // queries 120..144 attend to 111.. and on
    }
}
