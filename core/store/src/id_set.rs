//! A set of numbers that mostly follow each other.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of ids as ranges. What a night has seen is nearly everything up to some id, so a set of many thousand takes a
/// few bytes. Serialized as a list of `[first, last]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdSet {
    /// First and last of each range: ascending, and with at least one id missing between two.
    ranges: Vec<(u64, u64)>,
}

impl IdSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Everything from `first` to `last`, both included; empty if `last` is below `first`.
    pub fn from_range(first: u64, last: u64) -> Self {
        Self { ranges: if first <= last { vec![(first, last)] } else { Vec::new() } }
    }

    /// How many ids there are.
    pub fn len(&self) -> u64 {
        self.ranges
            .iter()
            .fold(0, |sum: u64, (first, last)| sum.saturating_add((last - first).saturating_add(1)))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether `id` is one of them.
    pub fn contains(&self, id: u64) -> bool {
        let behind = self.ranges.partition_point(|&(first, _)| first <= id);
        behind > 0 && self.ranges[behind - 1].1 >= id
    }

    /// Adds `id`; false if it was there.
    pub fn insert(&mut self, id: u64) -> bool {
        let at = self.ranges.partition_point(|&(first, _)| first <= id);
        if at > 0 && self.ranges[at - 1].1 >= id {
            return false;
        }
        let joins_before = at > 0 && self.ranges[at - 1].1.checked_add(1) == Some(id);
        let joins_behind = self.ranges.get(at).is_some_and(|&(first, _)| id.checked_add(1) == Some(first));
        match (joins_before, joins_behind) {
            (true, true) => {
                self.ranges[at - 1].1 = self.ranges[at].1;
                self.ranges.remove(at);
            }
            (true, false) => self.ranges[at - 1].1 = id,
            (false, true) => self.ranges[at].0 = id,
            (false, false) => self.ranges.insert(at, (id, id)),
        }
        true
    }

    /// What is in one of the two.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<_> = self.ranges.iter().chain(&other.ranges).copied().collect();
        all.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match ranges.last_mut() {
                Some(open) if first <= open.1.saturating_add(1) => open.1 = open.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        Self { ranges }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut ranges, mut i, mut j) = (Vec::new(), 0, 0);
        while let (Some(&(a, b)), Some(&(c, d))) = (self.ranges.get(i), other.ranges.get(j)) {
            let (first, last) = (a.max(c), b.min(d));
            if first <= last {
                ranges.push((first, last));
            }
            if b < d { i += 1 } else { j += 1 }
        }
        Self { ranges }
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        let mut others = other.ranges.iter().peekable();
        for &(first, last) in &self.ranges {
            let mut next = Some(first);
            while let (Some(from), Some(&&(c, d))) = (next, others.peek()) {
                if d < from {
                    others.next();
                    continue;
                }
                if c > last {
                    break;
                }
                if c > from {
                    ranges.push((from, c - 1));
                }
                next = d.checked_add(1).filter(|&id| id <= last);
                // A range that reaches behind this one is needed for the next one too.
                if d <= last {
                    others.next();
                }
            }
            ranges.extend(next.map(|from| (from, last)));
        }
        Self { ranges }
    }

    /// The largest id.
    pub fn last(&self) -> Option<u64> {
        self.ranges.last().map(|&(_, last)| last)
    }

    /// The ids in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.ranges.iter().flat_map(|&(first, last)| first..=last)
    }

    /// First and last of each range, in ascending order.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }
}

impl FromIterator<u64> for IdSet {
    fn from_iter<I: IntoIterator<Item = u64>>(ids: I) -> Self {
        let mut ids: Vec<_> = ids.into_iter().collect();
        ids.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for id in ids {
            match ranges.last_mut() {
                Some(open) if id <= open.1.saturating_add(1) => open.1 = id,
                _ => ranges.push((id, id)),
            }
        }
        Self { ranges }
    }
}

impl Serialize for IdSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.ranges.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for IdSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ranges = Vec::<(u64, u64)>::deserialize(deserializer)?;
        let ascending = ranges.iter().all(|(first, last)| first <= last);
        let apart = ranges.windows(2).all(|pair| pair[0].1.checked_add(1).is_some_and(|id| id < pair[1].0));
        if !ascending || !apart {
            return Err(serde::de::Error::custom("the ranges of a set of ids are not in order"));
        }
        Ok(Self { ranges })
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
