//! Which examples are kept out of training, so that the result can be judged by them.
//!
//! A share of all examples (`held_out`, one of ten) always is, picked at random from nothing but the store's seed and the
//! example's number: what is picked stays so, whatever is added or deleted. Where that gives fewer than the gate needs
//! (`min_held_out`, 4), the missing ones are drawn from what no graft in use has learned, as long as they are at most a
//! quarter of all examples, so that sixteen are enough to begin with. What was drawn is remembered in the store and never
//! trained on later. With fewer examples nothing is trained at all: [`TooFew`] says how many are missing.
//!
//! Examples are counted as the gate counts them: a long text is several, and a line that the model cannot use is none.

use std::collections::HashMap;

use nightgraft_random::Random;
use nightgraft_store::IdSet;

/// At most this share is drawn to reach what the gate needs.
const MAX_DRAWN_SHARE: f64 = 0.25;

/// How many are held out.
#[derive(Debug, Clone, Copy)]
pub(super) struct HoldOut {
    /// The share of all examples.
    pub(super) share: f64,
    /// What the gate needs.
    pub(super) at_least: u64,
    /// The store's seed, from which examples are picked and drawn.
    pub(super) seed: u64,
}

/// What may be trained on, and what may not. Both are ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Split {
    /// Examples that the start of the training has not seen.
    pub(super) new: Vec<u64>,
    /// Examples to measure on.
    pub(super) held_out: Vec<u64>,
    /// The held-out examples that were drawn, now or earlier.
    pub(super) drawn: IdSet,
}

/// There are not enough examples to hold some out and to learn from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooFew {
    pub(super) have: u64,
    pub(super) need: u64,
}

impl HoldOut {
    /// Splits `live` examples, of which the start of the training has `seen` some, and some were `drawn` before.
    /// `count` tells how many examples one of them is to the gate.
    pub(super) fn split(
        &self,
        live: &[u64],
        seen: &IdSet,
        drawn: &IdSet,
        count: impl Fn(u64) -> u64,
    ) -> Result<Split, TooFew> {
        let (mut held_out, mut new): (Vec<_>, Vec<_>) = live
            .iter()
            .filter(|id| !seen.contains(**id))
            .partition(|id| drawn.contains(**id) || self.is_always_held_out(**id));
        let mut missing = self.at_least;
        for &id in &held_out {
            if missing == 0 {
                break; // counting reads the example
            }
            missing = missing.saturating_sub(count(id));
        }
        let mut drawn = held_out.iter().copied().filter(|id| drawn.contains(*id)).collect::<IdSet>();
        // What this model cannot use is as good as learned.
        let is_any_of_use = new.iter().any(|id| count(*id) > 0);
        let has_learned_all = !is_any_of_use && held_out.len() + new.len() < live.len();
        if has_learned_all {
            new.clear();
        }
        if has_learned_all || missing == 0 && is_any_of_use {
            return Ok(Split { new, held_out, drawn });
        }

        let counts: HashMap<u64, u64> = live.iter().map(|id| (*id, count(*id))).collect();
        let have: u64 = counts.values().sum();
        let to_learn: u64 = new.iter().map(|id| counts[id]).sum();
        let least = (self.at_least as f64 / self.share.max(MAX_DRAWN_SHARE)).ceil() as u64;
        let need = least.max(have + (missing + 1).saturating_sub(to_learn));
        if have < need {
            return Err(TooFew { have, need });
        }
        let mut candidates: Vec<_> = new.iter().copied().filter(|id| counts[id] > 0).collect();
        candidates.sort_by_key(|id| (self.draw_order(*id), *id));
        while missing > 0 {
            let id = candidates.pop().expect("they are more than are missing");
            if candidates.is_empty() {
                // A long text is many examples, and cannot be for both.
                return Err(TooFew { have, need: have + 1 });
            }
            missing = missing.saturating_sub(counts[&id]);
            drawn.insert(id);
            held_out.push(id);
        }
        held_out.sort_unstable();
        new.retain(|id| !drawn.contains(*id));
        Ok(Split { new, held_out, drawn })
    }

    /// Whether the example is the one that is picked among its `1 / share` neighbours.
    pub(super) fn is_always_held_out(&self, id: u64) -> bool {
        if self.share.is_nan() || self.share <= 0.0 {
            return false;
        }
        let every = (1.0 / self.share).round().max(2.0) as u64;
        let (group, place) = (id / every, id % every);
        Random::new(self.seed ^ group.rotate_left(32)).bits() % every == place
    }

    /// Where the example stands in the order in which missing ones are drawn: the largest come first.
    pub(super) fn draw_order(&self, id: u64) -> u64 {
        Random::new(!self.seed ^ id.rotate_left(32)).bits()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn hold_out(seed: u64) -> HoldOut {
        HoldOut { share: 0.1, at_least: 4, seed }
    }

    fn first_night(n: u64, hold_out: HoldOut) -> Result<Split, TooFew> {
        let live: Vec<_> = (1..=n).collect();
        hold_out.split(&live, &IdSet::new(), &IdSet::new(), |_| 1)
    }

    #[test]
    fn from_sixteen_examples_on_there_are_enough_of_both() {
        for seed in 0..200 {
            for n in 1..=60 {
                match first_night(n, hold_out(seed)) {
                    Ok(Split { new, held_out, drawn }) => {
                        assert!(n >= 16 && held_out.len() >= 4 && new.len() >= 9, "{n} {seed}");
                        assert!(
                            drawn.is_empty() || held_out.len() == 4,
                            "no more are drawn than are missing"
                        );
                        assert!(n < 49 || drawn.is_empty());
                    }
                    Err(too_few) => assert_eq!((too_few, n < 16), (TooFew { have: n, need: 16 }, true)),
                }
            }
        }
    }

    /// Stores of earlier builds must not learn what they measured.
    #[test]
    fn the_split_is_pinned() {
        let held_out = first_night(60, hold_out(3)).unwrap().held_out;
        assert_eq!(held_out, [5, 14, 27, 37, 46, 56]);
    }

    #[test]
    fn a_larger_share_and_a_stricter_gate_are_respected() {
        for seed in 0..50 {
            let half = HoldOut { share: 0.5, ..hold_out(seed) };
            assert_eq!(
                first_night(7, half).err(),
                Some(TooFew { have: 7, need: 8 })
                    .filter(|_| { (1..=7).filter(|id| half.is_always_held_out(*id)).count() < 4 })
            );
            assert!(first_night(8, half).unwrap().new.len() >= 3);
            let strict = HoldOut { at_least: 12, ..hold_out(seed) };
            assert_eq!(first_night(47, strict), Err(TooFew { have: 47, need: 48 }));
            assert_eq!(first_night(48, strict).unwrap().held_out.len(), 12);
        }
    }

    #[test]
    fn examples_are_counted_as_the_gate_counts_them() {
        // Four long texts, of which one is held out, of six pieces.
        let divided = hold_out(5).split(&[1, 2, 3, 4], &IdSet::new(), &IdSet::new(), |_| 6).unwrap();
        assert_eq!((divided.held_out.len(), divided.new.len()), (1, 3));
        // A single one cannot be both.
        let alone = hold_out(5).split(&[1], &IdSet::new(), &IdSet::new(), |_| 60);
        assert_eq!(alone, Err(TooFew { have: 60, need: 61 }));
        // The model can use one of two.
        let live: Vec<_> = (1..=30).collect();
        let half = hold_out(5).split(&live, &IdSet::new(), &IdSet::new(), |id| id % 2);
        assert_eq!(half, Err(TooFew { have: 15, need: 16 }));
        let live: Vec<_> = (1..=60).collect();
        let half = hold_out(5).split(&live, &IdSet::new(), &IdSet::new(), |id| id % 2).unwrap();
        assert!(half.held_out.iter().filter(|id| *id % 2 == 1).count() >= 4);
    }

    #[test]
    fn new_lines_that_the_model_cannot_use_leave_nothing_to_learn() {
        let first = first_night(60, hold_out(5)).unwrap();
        let seen: IdSet = first.new.iter().copied().collect();
        let live: Vec<_> = (1..=75).collect();
        let of_use = |last: u64| move |id| u64::from(id <= last);
        let again = |last| hold_out(5).split(&live, &seen, &first.drawn, of_use(last)).unwrap();
        assert_eq!(again(60).new, [0_u64; 0]);
        assert!(!again(75).new.is_empty());
    }

    #[test]
    fn what_is_missing_later_is_drawn_from_what_is_new() {
        let none_is_always_held_out =
            |seed: &u64| (21..=22).all(|id| !hold_out(*seed).is_always_held_out(id));
        let seed = (0..).find(none_is_always_held_out).unwrap();
        let first = first_night(20, hold_out(seed)).unwrap();
        let seen: IdSet = first.new.iter().copied().collect();
        let again = |live: &[u64]| hold_out(seed).split(live, &seen, &first.drawn, |_| 1);
        let all: Vec<_> = (1..=20).collect();
        assert_eq!(again(&all).unwrap(), Split { new: vec![], ..first.clone() });
        // One of the held-out ones is deleted.
        let left: Vec<_> = all.iter().copied().filter(|id| *id != first.held_out[0]).collect();
        assert_eq!(again(&left).unwrap().new, [0_u64; 0]);
        let with = |more: u64| [left.clone(), (21..=20 + more).collect()].concat();
        assert_eq!(again(&with(1)), Err(TooFew { have: 20, need: 21 }));
        let second = again(&with(2)).unwrap();
        assert_eq!((second.new.len(), second.held_out.len()), (1, 4));
    }

    /// What happens to a store between two nights.
    #[derive(Debug, Clone)]
    enum Change {
        Add(u64),
        Delete(usize),
        /// A night, and whether its result comes into use.
        Night(bool),
        RollBack,
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = prop_oneof![
            (1u64..25).prop_map(Change::Add),
            (0usize..1000).prop_map(Change::Delete),
            any::<bool>().prop_map(Change::Night),
            Just(Change::RollBack),
        ];
        proptest::collection::vec(change, 1..40)
    }

    proptest! {
        #[test]
        fn what_was_measured_on_is_never_learned_nor_the_other_way_round(seed: u64, changes in changes()) {
            let hold_out = hold_out(seed);
            let (mut live, mut last) = (Vec::new(), 0);
            let (mut seen, mut drawn) = (IdSet::new(), IdSet::new());
            let mut measured = BTreeSet::new();
            for change in changes {
                match change {
                    Change::Add(n) => {
                        live.extend(last + 1..=last + n);
                        last += n;
                    }
                    Change::Delete(at) if !live.is_empty() => {
                        let id = live.remove(at % live.len());
                        if seen.contains(id) {
                            seen = IdSet::new(); // back to the base
                        }
                    }
                    Change::Delete(_) => {}
                    Change::RollBack => seen = IdSet::new(),
                    Change::Night(promoted) => match hold_out.split(&live, &seen, &drawn, |_| 1) {
                        Ok(Split { new, held_out, .. }) if new.is_empty() => {
                            prop_assert!(held_out.iter().all(|id| !seen.contains(*id)));
                        }
                        Ok(division) => {
                            prop_assert!(division.held_out.len() >= 4);
                            prop_assert!(division.held_out.iter().all(|id| !seen.contains(*id)));
                            prop_assert!(division.new.iter().all(|id| !measured.contains(id)), "{division:?}");
                            measured.extend(division.held_out);
                            drawn = division.drawn;
                            if promoted {
                                seen = seen.union(&division.new.into_iter().collect());
                            }
                        }
                        Err(TooFew { have, need }) => {
                            prop_assert!(have == live.len() as u64 && have < need);
                        }
                    },
                }
            }
        }
    }
}
