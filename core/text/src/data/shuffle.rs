//! The order of examples.

use nightgraft_random::Random;

/// Which of the independent random sequences of a seed is meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// Choosing what is held out.
    HeldOut,
    /// The order of an epoch.
    Epoch(u64),
}

/// The numbers below `n` in the random order of a seed.
pub(super) fn shuffled(n: usize, seed: u64, purpose: Purpose) -> Vec<usize> {
    let stream = match purpose {
        Purpose::HeldOut => 0,
        Purpose::Epoch(epoch) => epoch.wrapping_add(1),
    };
    let mut order: Vec<usize> = (0..n).collect();
    Random::stream(seed, stream).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_a_permutation_and_is_pinned() {
        let order = shuffled(8, 42, Purpose::Epoch(0));
        assert_eq!(order, PINNED);
        assert_ne!(order, shuffled(8, 42, Purpose::Epoch(1)));
        assert_ne!(order, shuffled(8, 43, Purpose::Epoch(0)));
        let mut sorted = shuffled(1000, 7, Purpose::HeldOut);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..1000));
        assert!(shuffled(0, 1, Purpose::HeldOut).is_empty());
    }

    /// Runs that were started before must go on in the same order.
    const PINNED: [usize; 8] = [6, 3, 7, 0, 4, 2, 1, 5];
}
