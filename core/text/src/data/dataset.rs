//! The examples of a file, and holding some of them out.

use sha2::{Digest as _, Sha256};

use super::report::DataReport;
use super::shuffle::{Purpose, shuffled};
use crate::Example;

/// The examples of a data file, in its order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dataset {
    /// The examples. None is empty, each has at least one target.
    pub examples: Vec<Example>,
    /// What was read.
    pub report: DataReport,
}

impl Dataset {
    /// Appends another file's or line's examples.
    pub fn append(&mut self, other: Self) {
        self.examples.extend(other.examples);
        self.report.add(&other.report);
    }

    /// A hash over all ids and targets in order, in hexadecimal: equal for equal data on every platform.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for example in &self.examples {
            hash.update((example.ids.len() as u64).to_le_bytes());
            for id in &example.ids {
                hash.update(id.to_le_bytes());
            }
            for target in &example.targets {
                hash.update(target.to_le_bytes());
            }
        }
        base16ct::lower::encode_string(&hash.finalize())
    }

    /// Examples with a report that counts them and keeps what `report` says about lines.
    pub(super) fn counted(examples: Vec<Example>, report: DataReport) -> Self {
        let report = DataReport {
            examples: examples.len(),
            tokens: examples.iter().map(Example::len).sum(),
            supervised_tokens: examples.iter().map(Example::n_supervised).sum(),
            ..report
        };
        Self { examples, report }
    }
}

/// Splits a dataset in one to train on and one that is held out, both in the order of the file.
///
/// `held_out_fraction` of the examples, rounded, are chosen by `seed`: at least one if the fraction is
/// above 0 and there are two, and never all. The counts of lines stay with the first part.
pub fn split(dataset: Dataset, held_out_fraction: f32, seed: u64) -> (Dataset, Dataset) {
    let Dataset { examples, report } = dataset;
    let n = examples.len();
    let wanted = (f64::from(held_out_fraction.clamp(0.0, 1.0)) * n as f64).round();
    let n_held_out = match n {
        2.. if held_out_fraction > 0.0 => (wanted as usize).clamp(1, n - 1),
        _ => 0,
    };
    let mut is_held_out = vec![false; n];
    for index in shuffled(n, seed, Purpose::HeldOut).into_iter().take(n_held_out) {
        is_held_out[index] = true;
    }
    let (mut train, mut held_out) = (Vec::with_capacity(n - n_held_out), Vec::with_capacity(n_held_out));
    for (example, is_held_out) in examples.into_iter().zip(is_held_out) {
        if is_held_out { held_out.push(example) } else { train.push(example) }
    }
    (Dataset::counted(train, report), Dataset::counted(held_out, DataReport::default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn dataset(n: usize) -> Dataset {
        let example = |id: u32| Example { ids: vec![id, id + 1], targets: vec![id as i32 + 1, -1] };
        Dataset::counted(
            (0..n as u32).map(example).collect(),
            DataReport { lines: n, ..DataReport::default() },
        )
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_and_complete(n in 0usize..200, fraction in 0.0f32..1.0, seed: u64) {
            let whole = dataset(n);
            let (train, held_out) = split(whole.clone(), fraction, seed);
            let mut both = [train.examples.clone(), held_out.examples.clone()].concat();
            both.sort_by_key(|example| example.ids[0]);
            prop_assert_eq!(both, whole.examples);
            if n >= 2 && fraction > 0.0 {
                prop_assert!(!train.examples.is_empty() && !held_out.examples.is_empty());
                let wanted = f64::from(fraction) * n as f64;
                prop_assert!((held_out.examples.len() as f64 - wanted).abs() <= 1.0);
            }
            prop_assert!(train.examples.is_sorted_by_key(|example| example.ids[0]));
            prop_assert_eq!(train.report.tokens + held_out.report.tokens, 2 * n);
        }
    }

    #[test]
    fn odd_fractions_and_small_sets_are_harmless() {
        assert_eq!(split(dataset(1), 0.5, 1).1.examples.len(), 0);
        assert_eq!(split(dataset(10), f32::NAN, 1).1.examples.len(), 0);
        assert_eq!(split(dataset(10), 0.0, 1).1.examples.len(), 0);
        assert_eq!(split(dataset(10), 5.0, 1).0.examples.len(), 1);
        assert_eq!(split(dataset(10), 0.1, 1), split(dataset(10), 0.1, 1));
        assert_ne!(split(dataset(100), 0.5, 1), split(dataset(100), 0.5, 2));
    }

    #[test]
    fn the_fingerprint_sees_every_number_and_every_border() {
        let of = |examples: Vec<Example>| Dataset { examples, ..Dataset::default() }.fingerprint();
        let example = |ids: &[u32], targets: &[i32]| Example { ids: ids.into(), targets: targets.into() };
        let base = of(vec![example(&[1, 2], &[2, -1])]);
        assert_eq!(base, of(vec![example(&[1, 2], &[2, -1])]));
        assert_ne!(base, of(vec![example(&[1, 2], &[-1, -1])]));
        assert_ne!(base, of(vec![example(&[1], &[2]), example(&[2], &[-1])]));
        // sha256 of nothing
        assert!(of(vec![]).starts_with("e3b0c44298fc1c14"));
    }
}
