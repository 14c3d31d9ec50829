//! How the backward pass is divided: the queries are split, and each split has its own sums for the keys and values.
//!
//! A query's gradient needs all keys that it attends to, and a key's all queries. Whoever computes both at once writes one
//! of them together with others. Here a work item, one key head with one split of the queries, owns its queries' gradients,
//! and adds those of keys and values in a place of its own; these are summed in the order of the splits, so that the result
//! does not depend on who computed what. Where heads share keys, sums for keys are the smaller ones to repeat.

use std::cmp::Reverse;
use std::ops::Range;

use super::blocks::first_keys;
use super::shape::AttentionShape;
use crate::matrix::Part;
use crate::tile::WIDTH;

/// The queries of a sequence, split for the backward pass.
pub(super) struct QueryPartition {
    /// The first key that each query attends to; the last one is the query's own.
    pub first_key: Vec<u32>,
    /// There are [`n_splits`](AttentionShape::n_splits), some of which can be empty.
    splits: Vec<QuerySplit>,
}

/// Consecutive queries.
#[derive(Clone)]
struct QuerySplit {
    /// The queries; the first is a multiple of 32.
    queries: Range<usize>,
    /// All keys that any of the queries attends to.
    keys: Range<usize>,
    /// About the number of pairs of a query and a key.
    cost: usize,
}

/// A split of the queries, for all heads that share a key head.
pub(super) struct WorkItem {
    /// Index of the key head.
    pub head: usize,
    /// Index of the split.
    pub split: usize,
    pub queries: Range<usize>,
    pub keys: Range<usize>,
}

impl QueryPartition {
    /// Splits the queries so that every split is about the same work.
    pub fn new(shape: &AttentionShape, starts: &[i32]) -> Self {
        let first_key = first_keys(shape, starts);
        let cost =
            |queries: Range<usize>| queries.map(|t| t + 1 - first_key[t] as usize + WIDTH).sum::<usize>();
        let (total, n_splits) = (cost(0..starts.len()), shape.n_splits());
        let (mut before, mut splits) = (0, vec![QuerySplit { queries: 0..0, keys: 0..0, cost: 0 }; n_splits]);
        for start in (0..starts.len()).step_by(WIDTH) {
            let end = (start + WIDTH).min(starts.len());
            let cost = cost(start..end);
            let split =
                &mut splits[((before + cost / 2) as u128 * n_splits as u128 / total as u128) as usize];
            let first = if split.cost == 0 { start } else { split.queries.start };
            split.queries = first..end;
            split.cost += cost;
            before += cost;
        }
        for split in &mut splits {
            split.keys = attended(&first_key, &split.queries);
        }
        QueryPartition { first_key, splits }
    }

    /// The work items of one part: about the same work for every part.
    pub fn work_items(&self, n_heads: usize, part: Part) -> Vec<WorkItem> {
        let mut items: Vec<(usize, usize)> =
            (0..self.splits.len()).flat_map(|split| (0..n_heads).map(move |head| (split, head))).collect();
        items.retain(|(split, _)| self.splits[*split].cost > 0);
        // The largest first, each to whoever has least.
        items.sort_by_key(|(split, _)| Reverse(self.splits[*split].cost));
        let (mut loads, mut own) = (vec![0; part.count], Vec::new());
        for (index, head) in items {
            let split = &self.splits[index];
            let Some(taker) = (0..part.count).min_by_key(|part| loads[*part]) else { break };
            loads[taker] += split.cost;
            if taker == part.index {
                own.push(WorkItem {
                    head,
                    split: index,
                    queries: split.queries.clone(),
                    keys: split.keys.clone(),
                });
            }
        }
        own
    }

    /// The splits with a query that attends to key `key`.
    pub fn splits_of_key(&self, key: usize) -> impl Iterator<Item = usize> {
        let holds = move |(index, split): (usize, &QuerySplit)| split.keys.contains(&key).then_some(index);
        self.splits.iter().enumerate().filter_map(holds)
    }

    /// The keys that any of the queries attends to.
    pub fn attended_keys(&self, queries: &Range<usize>) -> Range<usize> {
        attended(&self.first_key, queries)
    }

    /// Those of the queries `among`, which are consecutive, that may attend to one of the keys.
    pub fn attending(&self, keys: &Range<usize>, among: &Range<usize>) -> Range<usize> {
        let start = among.start.max(keys.start);
        let attends = |query: &usize| (self.first_key[*query] as usize) < keys.end;
        start..(start..among.end).rev().find(attends).map_or(start, |last| last + 1)
    }
}

fn attended(first_key: &[u32], queries: &Range<usize>) -> Range<usize> {
    let first = first_key[queries.clone()].iter().min();
    first.map_or(0, |key| *key as usize)..queries.end
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::num::NonZeroUsize;

    use super::*;

    fn shape(heads: [usize; 2]) -> AttentionShape {
        AttentionShape::new(heads, 8, 1.0).unwrap()
    }

    fn packed() -> Vec<i32> {
        (0..500).map(|t| if t < 130 { 0 } else { 130 }).collect()
    }

    #[test]
    fn every_query_of_every_head_has_one_part() {
        let partition = QueryPartition::new(&shape([6, 3]), &packed());
        for count in [1, 2, 3, 8, 100] {
            let mut times = vec![0; 3 * 500];
            let (mut most, mut total) = (0, 0);
            for index in 0..count {
                let mut cost = 0;
                for item in partition.work_items(3, Part { index, count }) {
                    for query in item.queries {
                        assert!(query >= 130 || item.keys.start == 0);
                        times[item.head * 500 + query] += 1;
                    }
                    cost += partition.splits[item.split].cost;
                }
                most = most.max(cost);
                total += cost;
            }
            assert!(times.iter().all(|times| *times == 1));
            let largest = partition.splits.iter().map(|split| split.cost).max().unwrap_or(0);
            assert!(most <= (total / count).max(largest) + largest / 2, "{count}: {most} of {total}");
        }
        assert!(partition.work_items(3, Part { index: 0, count: 0 }).is_empty());
    }

    #[test]
    fn splits_know_who_attends_to_whom() {
        let partition = QueryPartition::new(&shape([6, 3]).windowed(NonZeroUsize::new(10)), &packed());
        for key in 0..500 {
            let of_key: Vec<usize> = partition.splits_of_key(key).collect();
            for (index, split) in partition.splits.iter().enumerate() {
                let attends = |t: usize| partition.first_key[t] as usize <= key && key <= t;
                // What is summed was begun with 0 by the item, whose keys these are.
                assert_eq!(of_key.contains(&index), split.keys.contains(&key), "{key}");
                assert!(of_key.contains(&index) || !split.queries.clone().any(attends), "{key}");
            }
        }
        assert_eq!(partition.attended_keys(&(96..128)), 87..128);
        assert_eq!(partition.attending(&(100..110), &(96..128)), 100..119);
        assert_eq!(partition.attending(&(100..110), &(160..192)), 160..160);
        assert_eq!(partition.attending(&(120..130), &(128..160)), 128..130); // the first segment ends
    }
}
