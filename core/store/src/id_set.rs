//! A set of numbers that mostly follow each other.

use std::ops::RangeInclusive;

use range_set_blaze::RangeSetBlaze;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of ids as ranges. What a night has seen is nearly everything up to some id, so a set of many thousand takes a
/// few bytes. Serialized as a list of `[first, last]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdSet(RangeSetBlaze<u64>);

impl IdSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything from `first` to `last`, both included; empty if `last` is below `first`.
    pub fn from_range(first: u64, last: u64) -> Self {
        Self(RangeSetBlaze::from_iter([first..=last]))
    }

    /// How many ids there are; if all numbers are in it, one less.
    pub fn len(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `id` is one of them.
    pub fn contains(&self, id: u64) -> bool {
        self.0.contains(id)
    }

    /// Adds `id`; false if it was there.
    pub fn insert(&mut self, id: u64) -> bool {
        self.0.insert(id)
    }

    /// What is in one of the two.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(&self.0 | &other.0)
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    /// The largest id.
    pub fn last(&self) -> Option<u64> {
        self.0.last()
    }

    /// The ids in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter()
    }

    /// First and last of each range, in ascending order and with at least one id missing between two.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (u64, u64)> + '_ {
        self.0.ranges().map(RangeInclusive::into_inner)
    }
}

impl FromIterator<u64> for IdSet {
    fn from_iter<I: IntoIterator<Item = u64>>(ids: I) -> Self {
        Self(ids.into_iter().collect())
    }
}

impl Serialize for IdSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.ranges())
    }
}

impl<'de> Deserialize<'de> for IdSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ranges = Vec::<(u64, u64)>::deserialize(deserializer)?;
        let set = Self(ranges.iter().map(|&(first, last)| first..=last).collect());
        // A set has one list of ranges only: none is empty, they ascend, and no two of them touch.
        if !set.ranges().eq(ranges) {
            return Err(serde::de::Error::custom("the ranges of a set of ids are not in order"));
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn few() -> impl Strategy<Value = BTreeSet<u64>> {
        proptest::collection::btree_set(prop_oneof![0u64..40, u64::MAX - 8..=u64::MAX], 0..30)
    }

    fn ids(set: &BTreeSet<u64>) -> IdSet {
        set.iter().copied().collect()
    }

    /// No two ranges touch, so that equal sets have equal ranges.
    fn assert_canonical(set: &IdSet) {
        let json = serde_json::to_string(set).unwrap();
        assert_eq!(serde_json::from_str::<IdSet>(&json).unwrap(), *set);
    }

    proptest! {
        #[test]
        fn it_is_what_a_tree_of_numbers_is(a in few(), b in few()) {
            let (set, other) = (ids(&a), ids(&b));
            let mut one_by_one = IdSet::new();
            for &id in a.iter().rev() {
                prop_assert!(one_by_one.insert(id));
                prop_assert!(!one_by_one.insert(id));
            }
            prop_assert_eq!(&one_by_one, &set);
            prop_assert_eq!(set.len(), a.len() as u64);
            prop_assert_eq!(set.is_empty(), a.is_empty());
            prop_assert_eq!(set.last(), a.last().copied());
            prop_assert!(set.iter().eq(a.iter().copied()));
            for id in (0..45).chain(u64::MAX - 10..=u64::MAX) {
                prop_assert_eq!(set.contains(id), a.contains(&id));
            }
            for (got, expected) in [
                (set.union(&other), a.union(&b).copied().collect::<BTreeSet<_>>()),
                (set.intersection(&other), a.intersection(&b).copied().collect()),
                (set.difference(&other), a.difference(&b).copied().collect()),
            ] {
                prop_assert_eq!(&got, &ids(&expected));
                assert_canonical(&got);
            }
        }
    }

    #[test]
    fn the_whole_range_neither_overflows_nor_hangs() {
        let all = IdSet::from_range(0, u64::MAX);
        assert_eq!(all.len(), u64::MAX);
        assert!(all.contains(u64::MAX));
        assert_eq!(all.difference(&IdSet::from_range(1, u64::MAX)), IdSet::from_range(0, 0));
        assert_eq!(all.difference(&all), IdSet::new());
        assert_eq!(all.union(&all), all);
        assert_eq!(IdSet::from_range(2, 1), IdSet::new());
    }

    #[test]
    fn ranges_out_of_order_are_refused() {
        for text in ["[[2,1]]", "[[1,2],[3,4]]", "[[5,6],[1,2]]", "[[0,18446744073709551615],[3,4]]", "[1]"] {
            assert!(serde_json::from_str::<IdSet>(text).is_err(), "{text}");
        }
        assert_eq!(serde_json::from_str::<IdSet>("[[1,2],[4,4]]").unwrap().len(), 3);
    }
}
