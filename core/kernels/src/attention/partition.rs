//! How the backward pass is divided: the queries in slices, each with its own sums for the keys and values.
//!
//! A query's gradient needs all keys that it attends to, and a key's all queries. Whoever computes both at once writes one
//! of them together with others. Here a unit of work, one key head with one slice of the queries, owns its queries'
//! gradients, and adds those of keys and values in a place of its own; these are summed in the order of the slices, so that
//! the result does not depend on who computed what. Where heads share keys, sums for keys are the smaller ones to repeat.

use std::cmp::Reverse;
use std::ops::Range;

use super::AttentionShape;
use super::blocks::first_keys;
use crate::isa::WIDTH;
use crate::matrix::Part;

/// Units of work to aim at: three for each of four threads.
const UNITS: usize = 12;
/// The most slices, however few key heads there are: each takes as much memory as the gradients of all keys and values.
pub(super) const MAX_SLICES: usize = 4;

/// Slices of the queries in the backward pass of such an attention.
pub(super) fn n_slices(shape: &AttentionShape) -> usize {
    (UNITS / shape.n_head_kv()).clamp(1, MAX_SLICES)
}

/// The slices of a sequence.
pub(super) struct Slices {
    /// Per query: the first key that it attends to; the last one is the query's own.
    pub first_key: Vec<u32>,
    /// As many as [`n_slices`], some of which can be empty.
    slices: Vec<Slice>,
}

#[derive(Clone)]
struct Slice {
    /// Starts at a multiple of 32.
    queries: Range<usize>,
    /// All that any of the queries attends to.
    keys: Range<usize>,
    /// Pairs of a query and a key, about.
    cost: usize,
}

/// A slice of the queries of all heads that share a key head.
pub(super) struct Unit {
    /// Index of the key head.
    pub head: usize,
    /// Index of the slice.
    pub slice: usize,
    pub queries: Range<usize>,
    pub keys: Range<usize>,
}

impl Slices {
    /// Slices of about the same work.
    pub fn new(shape: &AttentionShape, starts: &[i32]) -> Self {
        let first_key = first_keys(shape, starts);
        let cost =
            |queries: Range<usize>| queries.map(|t| t + 1 - first_key[t] as usize + WIDTH).sum::<usize>();
        let (total, n_slices) = (cost(0..starts.len()), n_slices(shape));
        let (mut before, mut slices) = (0, vec![Slice { queries: 0..0, keys: 0..0, cost: 0 }; n_slices]);
        for start in (0..starts.len()).step_by(WIDTH) {
            let end = (start + WIDTH).min(starts.len());
            let cost = cost(start..end);
            let slice =
                &mut slices[((before + cost / 2) as u128 * n_slices as u128 / total as u128) as usize];
            let first = if slice.cost == 0 { start } else { slice.queries.start };
            slice.queries = first..end;
            slice.cost += cost;
            before += cost;
        }
        for slice in &mut slices {
            slice.keys = attended(&first_key, &slice.queries);
        }
        Slices { first_key, slices }
    }

    /// The units of one part: about the same work for every part.
    pub fn share(&self, n_heads: usize, part: Part) -> Vec<Unit> {
        let mut units: Vec<(usize, usize)> =
            (0..self.slices.len()).flat_map(|slice| (0..n_heads).map(move |head| (slice, head))).collect();
        units.retain(|(slice, _)| self.slices[*slice].cost > 0);
        // The largest first, each to whoever has least.
        units.sort_by_key(|(slice, _)| Reverse(self.slices[*slice].cost));
        let (mut loads, mut own) = (vec![0; part.count], Vec::new());
        for (index, head) in units {
            let slice = &self.slices[index];
            let Some(taker) = (0..part.count).min_by_key(|part| loads[*part]) else { break };
            loads[taker] += slice.cost;
            if taker == part.index {
                own.push(Unit {
                    head,
                    slice: index,
                    queries: slice.queries.clone(),
                    keys: slice.keys.clone(),
                });
            }
        }
        own
    }

    /// The slices with a query that attends to key `key`.
    pub fn of_key(&self, key: usize) -> impl Iterator<Item = usize> {
        let holds = move |(index, slice): (usize, &Slice)| slice.keys.contains(&key).then_some(index);
        self.slices.iter().enumerate().filter_map(holds)
    }

    /// The keys that any of the queries attends to.
    pub fn keys(&self, queries: &Range<usize>) -> Range<usize> {
        attended(&self.first_key, queries)
    }

    /// Those of the queries, which are consecutive, that may attend to one of the keys.
    pub fn queries(&self, keys: &Range<usize>, among: &Range<usize>) -> Range<usize> {
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
        let slices = Slices::new(&shape([6, 3]), &packed());
        for count in [1, 2, 3, 8, 100] {
            let mut times = vec![0; 3 * 500];
            let (mut most, mut total) = (0, 0);
            for index in 0..count {
                let mut cost = 0;
                for unit in slices.share(3, Part { index, count }) {
                    for query in unit.queries {
                        assert!(query >= 130 || unit.keys.start == 0);
                        times[unit.head * 500 + query] += 1;
                    }
                    cost += slices.slices[unit.slice].cost;
                }
                most = most.max(cost);
                total += cost;
            }
            assert!(times.iter().all(|times| *times == 1));
            let largest = slices.slices.iter().map(|slice| slice.cost).max().unwrap_or(0);
            assert!(most <= (total / count).max(largest) + largest / 2, "{count}: {most} of {total}");
        }
        assert!(slices.share(3, Part { index: 0, count: 0 }).is_empty());
    }

    #[test]
    fn slices_know_who_attends_to_whom() {
        let slices = Slices::new(&shape([6, 3]).windowed(NonZeroUsize::new(10)), &packed());
        for key in 0..500 {
            let of_key: Vec<usize> = slices.of_key(key).collect();
            for (index, slice) in slices.slices.iter().enumerate() {
                let attends = |t: usize| slices.first_key[t] as usize <= key && key <= t;
                // What is summed was begun with 0 by the unit, whose keys these are.
                assert_eq!(of_key.contains(&index), slice.keys.contains(&key), "{key}");
                assert!(of_key.contains(&index) || !slice.queries.clone().any(attends), "{key}");
            }
        }
        assert_eq!(slices.keys(&(96..128)), 87..128);
        assert_eq!(slices.queries(&(100..110), &(96..128)), 100..119);
        assert_eq!(slices.queries(&(100..110), &(160..192)), 160..160);
        assert_eq!(slices.queries(&(120..130), &(128..160)), 128..130); // the first segment ends
    }

    #[test]
    fn many_heads_need_no_slices() {
        assert_eq!(n_slices(&shape([6, 3])), 4);
        assert_eq!(n_slices(&shape([6, 1])), 4);
        assert_eq!(n_slices(&shape([16, 8])), 1);
        assert_eq!(n_slices(&shape([32, 32])), 1);
    }
}
