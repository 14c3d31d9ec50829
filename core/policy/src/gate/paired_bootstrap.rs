//! How far to trust a mean over few examples: the paired bootstrap.

use nightgraft_random::Random;
use serde::{Deserialize, Serialize};

/// A number and the range that holds the true one in 95 of 100 cases.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// The lower end, at most `value`.
    pub low: f64,
    /// The upper end, at least `value`.
    pub high: f64,
}

/// What an example adds to both sums of a ratio.
#[derive(Debug, Clone, Copy)]
pub(super) struct RatioTerm {
    pub(super) numerator: f64,
    pub(super) denominator: f64,
}

/// The share of resamples outside the interval, on each side.
const TAIL: f64 = 0.025;
/// The standard normal distribution's quantile at `1 - TAIL`.
const Z: f64 = 1.959_964;

/// `Σ numerator / Σ denominator` over examples, with its 95 % interval; none for fewer than two terms or when the sum
/// of the denominators is not above zero.
///
/// Examples are drawn with replacement (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
/// chapter 13): a difference between two models on the same example is one term, so what makes one example
/// harder than another for both does not widen the interval. The plain percentile interval is too narrow for
/// few examples; both of its halves are widened by `√(n / (n-1)) · t(n-1) / z`, the correction of Hesterberg
/// (What Teachers Should Know about the Bootstrap, 2015, section 5.3) in its simplest form. With two examples
/// that is a factor of 9, with twelve 1.2.
///
/// Equal terms, resamples, seed and stream give equal bits.
pub(super) fn ratio(terms: &[RatioTerm], resamples: u32, seed: u64, stream: u64) -> Option<Interval> {
    let n = terms.len();
    let value = quotient(terms.iter().copied())?;
    if n < 2 {
        return None;
    }
    let mut random = Random::stream(seed, stream);
    let mut draw = || terms[random.below(n)];
    let mut drawn: Vec<f64> =
        (0..resamples.max(1)).filter_map(|_| quotient((0..n).map(|_| draw()))).collect();
    drawn.sort_by(f64::total_cmp);
    let last = drawn.len().checked_sub(1)?;
    let at = |share: f64| drawn[((share * last as f64).round() as usize).min(last)];
    let widening = (n as f64 / (n - 1) as f64).sqrt() * t_quantile(n - 1) / Z;
    Some(Interval {
        value,
        low: value - (value - at(TAIL)).max(0.0) * widening,
        high: value + (at(1.0 - TAIL) - value).max(0.0) * widening,
    })
}

fn quotient(terms: impl Iterator<Item = RatioTerm>) -> Option<f64> {
    let (numerator, denominator) = terms.fold((0.0, 0.0), |(numerator, denominator), term| {
        (numerator + term.numerator, denominator + term.denominator)
    });
    (denominator > 0.0).then(|| numerator / denominator).filter(|quotient: &f64| quotient.is_finite())
}

/// Student's t at `1 - TAIL`; beyond the table a series in `1 / freedom` that is right to 0.003.
fn t_quantile(freedom: usize) -> f64 {
    const TABLE: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    match freedom.checked_sub(1).and_then(|index| TABLE.get(index)) {
        Some(&t) => t,
        // Abramowitz and Stegun, 26.7.5, the first two terms.
        None => {
            let f = freedom as f64;
            // Written out: how exact `powi` is may change.
            let (cube, fifth) = (Z * Z * Z, Z * Z * (Z * Z) * Z);
            Z + (cube + Z) / (4.0 * f) + (5.0 * fifth + 16.0 * cube + 3.0 * Z) / (96.0 * f * f)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn terms(values: &[(f64, f64)]) -> Vec<RatioTerm> {
        values.iter().map(|&(numerator, denominator)| RatioTerm { numerator, denominator }).collect()
    }

    #[test]
    fn long_examples_count_for_more() {
        let interval = ratio(&terms(&[(1.0, 1.0), (6.0, 2.0)]), 1000, 1, 0).unwrap();
        assert_eq!(interval.value, 7.0 / 3.0);
    }

    #[test]
    fn equal_examples_leave_no_doubt_and_a_single_one_no_interval() {
        let same = ratio(&terms(&[(-2.0, 4.0); 9]), 1000, 1, 0).unwrap();
        assert_eq!(same, Interval { value: -0.5, low: -0.5, high: -0.5 });
        assert_eq!(ratio(&terms(&[(-2.0, 4.0)]), 1000, 1, 0), None);
        assert_eq!(ratio(&[], 1000, 1, 0), None);
        assert_eq!(ratio(&terms(&[(1.0, 0.0); 3]), 1000, 1, 0), None);
    }

    #[test]
    fn the_resamples_are_pinned() {
        let terms: Vec<_> = (0..9).map(|i| ((i * 7 % 11) as f64 - 4.0, 1.0 + (i % 3) as f64)).collect();
        let interval = ratio(&super::tests::terms(&terms), 200, 5, 2).unwrap();
        assert_eq!((interval.low, interval.high), (-0.859_033_193_416_840_9, 1.879_462_487_198_510_4));
    }

    #[test]
    fn quantiles_of_t_are_those_of_the_tables() {
        for (freedom, expected) in [(1, 12.706), (10, 2.228), (11, 2.201), (30, 2.042), (120, 1.980)] {
            assert!((t_quantile(freedom) - expected).abs() < 3e-3, "{freedom}: {}", t_quantile(freedom));
        }
    }

    /// About 95 % of the intervals over samples from a known distribution hold its mean, for few examples too.
    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        for (n, least) in [(4, 0.90), (12, 0.92), (40, 0.93)] {
            let mut random = Random::new(7);
            // The sum of twelve uniform numbers: near enough to normal, mean 0, variance 1.
            let mut normal = || (0..12).map(|_| f64::from(random.unit())).sum::<f64>() - 6.0;
            let trials = 600;
            let held = (0..trials)
                .filter(|&trial| {
                    let sample: Vec<_> =
                        (0..n).map(|_| RatioTerm { numerator: normal(), denominator: 1.0 }).collect();
                    let interval = ratio(&sample, 400, trial, 0).unwrap();
                    interval.low <= 0.0 && 0.0 <= interval.high
                })
                .count();
            let share = held as f64 / trials as f64;
            assert!((least..0.985).contains(&share), "{n} examples: {share}");
        }
    }

    proptest! {
        #[test]
        fn any_finite_numbers_give_an_ordered_interval_and_the_same_twice(
            values in proptest::collection::vec((-1e9f64..1e9, 0.0f64..1e9), 0..30), seed: u64,
        ) {
            let terms = terms(&values);
            let first = ratio(&terms, 50, seed, 3);
            prop_assert_eq!(first, ratio(&terms, 50, seed, 3));
            if let Some(interval) = first {
                prop_assert!(interval.low <= interval.value && interval.value <= interval.high);
                prop_assert!(interval.low.is_finite() && interval.high.is_finite());
            }
        }
    }
}
