//! Which examples make each micro-batch of an epoch.

use super::shuffle::{Purpose, shuffled};
use crate::Example;

/// Bins that stay open while an epoch is packed. More find better fits, and hold examples back longer.
const MAX_OPEN_BINS: usize = 64;

/// How examples become micro-batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Tokens that a micro-batch may have.
    pub batch_tokens: usize,
    /// Put an example where it fits best in the near future, and not just behind the one before it.
    pub packing: bool,
    /// A new order each epoch.
    pub shuffle: bool,
    /// Decides the order.
    pub seed: u64,
}

/// The members of each micro-batch of an epoch, as indices into `examples`.
///
/// Each example is in exactly one micro-batch. None has more tokens than `batch_tokens`, except that an
/// example which is longer by itself makes a micro-batch of its own. The same arguments give the same plan.
pub fn plan_epoch(examples: &[Example], epoch: u64, options: &BatchOptions) -> Vec<Vec<usize>> {
    let order = match options.shuffle {
        true => shuffled(examples.len(), options.seed, Purpose::Epoch(epoch)),
        false => (0..examples.len()).collect(),
    };
    let sized = order.into_iter().map(|index| (index, examples[index].len()));
    match options.packing {
        true => first_fit(sized, options.batch_tokens),
        false => in_order(sized, options.batch_tokens),
    }
}

/// Each example goes into the first open bin that has room for it.
fn first_fit(examples: impl Iterator<Item = (usize, usize)>, capacity: usize) -> Vec<Vec<usize>> {
    struct Bin {
        members: Vec<usize>,
        room: usize,
    }
    let mut full = Vec::new();
    let mut open: Vec<Bin> = Vec::new();
    for (index, len) in examples {
        let place = open.iter().position(|bin| bin.room >= len).unwrap_or_else(|| {
            if open.len() == MAX_OPEN_BINS {
                full.push(open.remove(0).members);
            }
            open.push(Bin { members: Vec::new(), room: capacity });
            open.len() - 1
        });
        let bin = &mut open[place];
        bin.members.push(index);
        bin.room = bin.room.saturating_sub(len);
        if bin.room == 0 {
            full.push(open.remove(place).members);
        }
    }
    full.extend(open.into_iter().map(|bin| bin.members));
    full
}

/// Neighbours share a micro-batch as long as they fit.
fn in_order(examples: impl Iterator<Item = (usize, usize)>, capacity: usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for (index, len) in examples {
        match batches.last_mut() {
            Some(batch) if len <= room => batch.push(index),
            _ => {
                batches.push(vec![index]);
                room = capacity;
            }
        }
        room = room.saturating_sub(len);
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn examples(lengths: &[usize]) -> Vec<Example> {
        let example = |&len: &usize| Example { ids: vec![0; len], targets: vec![-1; len] };
        lengths.iter().map(example).collect()
    }

    fn options(packing: bool, shuffle: bool) -> BatchOptions {
        BatchOptions { batch_tokens: 10, packing, shuffle, seed: 3 }
    }

    proptest! {
        #[test]
        fn every_example_is_planned_once_and_fits(
            lengths in prop::collection::vec(1usize..120, 0..300),
            batch_tokens in 1usize..200,
            packing: bool,
            shuffle: bool,
            seed: u64,
            epoch in 0u64..5,
        ) {
            let examples = examples(&lengths);
            let options = BatchOptions { batch_tokens, packing, shuffle, seed };
            let plan = plan_epoch(&examples, epoch, &options);
            for batch in &plan {
                let tokens: usize = batch.iter().map(|&index| lengths[index]).sum();
                prop_assert!(!batch.is_empty() && (tokens <= batch_tokens || batch.len() == 1));
            }
            prop_assert_eq!(&plan, &plan_epoch(&examples, epoch, &options));
            let mut all = plan.concat();
            if !packing && !shuffle {
                prop_assert!(all.is_sorted());
            }
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..lengths.len()));
        }
    }

    #[test]
    fn packing_fills_gaps_and_order_is_kept_without_it() {
        let examples = examples(&[6, 7, 4, 3, 12, 2]);
        let packed = plan_epoch(&examples, 0, &options(true, false));
        assert_eq!(packed, [vec![0, 2], vec![1, 3], vec![4], vec![5]]);
        let plain = plan_epoch(&examples, 0, &options(false, false));
        assert_eq!(plain, [vec![0], vec![1], vec![2, 3], vec![4], vec![5]]);
    }

    #[test]
    fn epochs_differ_when_shuffled_only() {
        let examples = examples(&[5; 40]);
        let plan = |epoch, shuffle| plan_epoch(&examples, epoch, &options(true, shuffle));
        assert_ne!(plan(0, true), plan(1, true));
        assert_eq!(plan(0, false), plan(1, false));
    }
}
