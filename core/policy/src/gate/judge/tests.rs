#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::super::WordOrderLoss;
use super::*;

/// `n` examples of different lengths whose losses a token lie around `per_token`, each moved by up to `noise`.
/// `salt` decides the movements, so that two models' losses on a set do not move in step.
fn losses(n: u64, per_token: f64, noise: f64, salt: u64) -> Vec<ExampleLoss> {
    (0..n)
        .map(|index| {
            let tokens = 20 + (index * 37) % 50;
            let wave = ((index * 7 + salt * 13) as f64).sin();
            ExampleLoss { loss: (per_token + noise * wave) * tokens as f64, tokens }
        })
        .collect()
}

fn order(n: u64, original: f64, shuffled: f64) -> Vec<WordOrderLoss> {
    let pairs = losses(n, original, 0.2, 1).into_iter().zip(losses(n, shuffled, 0.2, 2));
    pairs.map(|(original, shuffled)| WordOrderLoss { original, shuffled }).collect()
}

fn measured(held_out: f64, train: f64, retention: f64, salt: u64) -> ModelLosses {
    ModelLosses {
        held_out: losses(12, held_out, 0.1, salt),
        train: losses(12, train, 0.1, salt + 1),
        retention: losses(40, retention, 0.02, salt + 2),
        order: Vec::new(),
    }
}

fn base() -> ModelLosses {
    ModelLosses { order: order(12, 4.9, 7.4), ..measured(4.9, 4.9, 2.8, 1) }
}

fn good() -> ModelLosses {
    measured(3.4, 3.1, 2.82, 4)
}

fn judged(candidate: &ModelLosses) -> GateReport {
    judge(&GateRules::default(), &base(), None, candidate, 42)
}

#[test]
fn a_good_candidate_is_promoted_with_all_that_was_compared() {
    let report = judge(&GateRules::default(), &base(), Some(&measured(3.8, 3.6, 2.8, 9)), &good(), 42);
    assert!(report.promote, "{report}");
    assert_eq!(report.refusals, []);
    let sets: Vec<_> = report.comparisons.iter().map(|c| (c.set, c.against)).collect();
    use {EvalSet::*, ModelRole::*};
    assert_eq!(
        sets,
        [(HeldOut, Base), (HeldOut, Current), (Retention, Base), (Retention, Current), (Train, Base)]
    );
    let first = &report.comparisons[0];
    assert_eq!((first.examples, first.tokens), (12, losses(12, 1.0, 0.0, 0).iter().map(|e| e.tokens).sum()));
    assert!((first.difference - (first.candidate_loss - first.reference_loss)).abs() < 2e-6);
    assert!(first.low.unwrap() < first.difference && first.difference < first.high.unwrap());
    assert!((-1.7..-1.3).contains(&first.difference));
    assert!((report.word_order.unwrap().value - 0.34).abs() < 0.02);
    assert_eq!(report.rules, Some(GateRules::default()));
}

#[test]
fn the_report_reads_like_this() {
    let report = judged(&measured(4.87, 1.1, 3.4, 4));
    insta::assert_snapshot!(report, @r"
    not promoted
      - held-out examples are not clearly better than with the base: 0.8 % saved, perhaps only -0.3 %; at least 1.0 % is asked, and more than nothing for certain
      - general texts get worse: the loss is 21.4 % higher, at most 20.0 % is allowed
      - it learned its examples by heart: 76.8 % more of the loss is saved on them than on held-out ones, 75.3 % for certain; at most 25.0 % is allowed
    held-out examples, against the base: 4.916 to 4.879 (-0.037, 95 %: -0.089 to +0.017), 12 examples, 532 tokens
    general texts, against the base: 2.800 to 3.399 (+0.598, 95 %: +0.593 to +0.604), 40 examples, 1810 tokens
    training examples, against the base: 4.917 to 1.102 (-3.815, 95 %: -3.867 to -3.763), 12 examples, 532 tokens
    learned by heart: 76.8 % of the base's loss, 75.3 % for certain
    the order of words saves 33.6 % of the base's loss (95 %: 33.1 % to 34.2 %)
    ");
}

#[test]
fn what_changes_nothing_is_refused_once() {
    let report = judged(&ModelLosses { order: Vec::new(), ..base() });
    assert_eq!(report.refusals, [Refusal::NoEffect { change: 0.0 }], "{report}");
    let barely = ModelLosses {
        held_out: base()
            .held_out
            .iter()
            .map(|e| ExampleLoss { loss: e.loss * 0.99999, tokens: e.tokens })
            .collect(),
        ..base()
    };
    assert!(matches!(judged(&barely).refusals[..], [Refusal::NoEffect { change }] if change < 1e-4));
}

#[test]
fn no_gain_is_refused() {
    let worse = judged(&measured(5.1, 4.8, 2.8, 4));
    assert!(
        matches!(worse.refusals[..], [Refusal::NotBetter { against: ModelRole::Base, gain, .. }] if gain < 0.0),
        "{worse}"
    );
    // Half a per cent on the average, but up and down by more than that.
    let uncertain = judged(&measured(4.875, 4.8, 2.8, 4));
    assert!(
        matches!(uncertain.refusals[..], [Refusal::NotBetter { low: Some(low), .. }] if low < 0.0),
        "{uncertain}"
    );
    let than_current = judge(&GateRules::default(), &base(), Some(&measured(3.1, 2.9, 2.8, 9)), &good(), 42);
    assert!(
        matches!(than_current.refusals[..], [Refusal::NotBetter { against: ModelRole::Current, .. }]),
        "{than_current}"
    );
}

#[test]
fn few_examples_need_a_large_gain() {
    let few = |n: usize, loss: f64| {
        let cut = |mut measured: ModelLosses| {
            measured.held_out.truncate(n);
            measured
        };
        judge(&GateRules::default(), &cut(base()), None, &cut(measured(loss, loss, 2.8, 4)), 1)
    };
    assert!(few(12, 4.6).promote, "{}", few(12, 4.6));
    assert!(!few(4, 4.86).promote, "{}", few(4, 4.86));
    assert!(few(4, 3.4).promote, "{}", few(4, 3.4));
    assert_eq!(few(3, 3.4).refusals, [Refusal::TooFewHeldOut { examples: 3, needed: 4 }]);
    assert!(few(1, 3.4).refusals.iter().any(|r| matches!(r, Refusal::NotBetter { low: None, .. })));
}

#[test]
fn learning_by_heart_is_refused() {
    let report = judged(&measured(3.4, 0.2, 2.8, 4));
    assert!(matches!(report.refusals[..], [Refusal::Overfits { share, .. }] if share > 0.6), "{report}");
    let nothing_left = ModelLosses {
        train: base().train.iter().map(|e| ExampleLoss { loss: 0.0, ..*e }).collect(),
        ..good()
    };
    let report = judged(&nothing_left);
    assert!(report.refusals.iter().any(|r| matches!(r, Refusal::Overfits { .. })), "{report}");
}

#[test]
fn what_few_held_out_examples_leave_in_doubt_is_not_learned_by_heart() {
    let with_held_out = |n: usize| {
        let cut = |mut measured: ModelLosses| {
            measured.held_out.truncate(n);
            measured
        };
        let candidate = ModelLosses { held_out: losses(12, 2.6, 0.5, 4), ..measured(0.0, 1.1, 2.8, 4) };
        judge(&GateRules::default(), &cut(base()), None, &cut(candidate), 42)
    };
    let (few, enough) = (with_held_out(4), with_held_out(12));
    assert!(few.overfit.unwrap() > 0.25 && few.overfit_low.unwrap() < 0.25, "{few}");
    assert!(few.promote, "{few}");
    assert!(enough.overfit_low.unwrap() > 0.25, "{enough}");
    assert!(matches!(enough.refusals[..], [Refusal::Overfits { low: Some(_), .. }]), "{enough}");
}

#[test]
fn forgetting_is_refused() {
    let report = judged(&measured(3.4, 3.1, 3.6, 4));
    assert!(matches!(report.refusals[..], [Refusal::Forgets { increase, .. }] if increase > 0.2), "{report}");
}

#[test]
fn words_without_an_order_are_refused_unless_that_is_switched_off() {
    let base = ModelLosses { order: order(12, 7.1, 7.2), ..base() };
    let report = judge(&GateRules::default(), &base, None, &good(), 42);
    assert!(matches!(report.refusals[..], [Refusal::NotLanguage { saved, .. }] if saved < 0.05), "{report}");
    let rules = GateRules { min_word_order: 0.0, ..GateRules::default() };
    assert!(judge(&rules, &base, None, &good(), 42).promote);
    // Without a measurement nothing is claimed.
    let report = judge(&GateRules::default(), &ModelLosses { order: vec![], ..base }, None, &good(), 42);
    assert!(report.promote && report.word_order.is_none());
}

#[test]
fn missing_and_unlike_measurements_are_refused() {
    let nothing = ModelLosses::default();
    let report = judge(&GateRules::default(), &nothing, None, &nothing, 42);
    let unmeasured = |set| Refusal::Unmeasured { set };
    for refusal in [unmeasured(EvalSet::HeldOut), unmeasured(EvalSet::Retention), unmeasured(EvalSet::Train)]
    {
        assert!(report.refusals.contains(&refusal), "{report}");
    }
    let mut other = good();
    other.retention.pop();
    assert_eq!(
        judged(&other).refusals,
        [Refusal::Mismatched { set: EvalSet::Retention, role: ModelRole::Base }]
    );
    let mut other = good();
    other.train[3].tokens += 1;
    assert_eq!(judged(&other).refusals, [Refusal::Mismatched { set: EvalSet::Train, role: ModelRole::Base }]);
}

#[test]
fn invalid_rules_promote_nothing() {
    let rules = GateRules { min_gain: f64::NAN, ..GateRules::default() };
    let report = judge(&rules, &base(), None, &good(), 42);
    assert!(!report.promote && report.rules.is_none());
    assert!(matches!(report.refusals[0], Refusal::InvalidRules { .. }));
}

#[test]
fn a_number_that_is_none_is_refused_wherever_it_is() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -5.0, 1e30] {
        for place in 0..7 {
            let (mut base, mut current, mut candidate) = (base(), measured(3.8, 3.6, 2.8, 9), good());
            match place {
                0 => base.held_out[2].loss = bad,
                1 => base.order[2].shuffled.loss = bad,
                2 => current.retention[2].loss = bad,
                3 => current.held_out[2].loss = bad,
                4 => candidate.held_out[2].loss = bad,
                5 => candidate.retention[2].loss = bad,
                _ => candidate.train[2].loss = bad,
            }
            let report = judge(&GateRules::default(), &base, Some(&current), &candidate, 42);
            let refused = report.refusals.iter().any(|r| matches!(r, Refusal::NotFinite { .. }));
            assert!(refused && !report.promote, "{bad} at {place}: {report}");
            assert_round_trips(&report);
        }
    }
}

#[track_caller]
fn assert_round_trips(report: &GateReport) {
    let json = serde_json::to_string(report).unwrap();
    assert_eq!(&serde_json::from_str::<GateReport>(&json).unwrap(), report, "{json}");
}

/// Any number there is, and often one that a loss can be.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![3 => 0.0f64..500.0, 1 => proptest::num::f64::ANY, 1 => Just(0.0), 1 => Just(f64::NAN)]
}

fn example() -> impl Strategy<Value = ExampleLoss> {
    let tokens = prop_oneof![4 => 1u64..200, 1 => Just(0), 1 => any::<u64>()];
    (number(), tokens).prop_map(|(loss, tokens)| ExampleLoss { loss, tokens })
}

prop_compose! {
    fn anything()(
        held_out in proptest::collection::vec(example(), 0..6),
        retention in proptest::collection::vec(example(), 0..6),
        train in proptest::collection::vec(example(), 0..6),
        order in proptest::collection::vec((example(), example()), 0..6),
    ) -> ModelLosses {
        let order = order.into_iter().map(|(original, shuffled)| WordOrderLoss { original, shuffled }).collect();
        ModelLosses { held_out, retention, train, order }
    }
}

prop_compose! {
    fn rules()(
        min_held_out: u64, min_gain in number(), min_gain_on_current in number(), max_forgetting in number(),
        max_overfit in number(), min_word_order in number(), resamples in 0u32..200,
    ) -> GateRules {
        GateRules {
            min_held_out, min_gain, min_gain_on_current, max_forgetting, max_overfit, min_word_order, resamples,
        }
    }
}

/// The losses of `reference` moved, so that they are comparable with it.
fn moved(reference: &ModelLosses, factors: &[f64]) -> ModelLosses {
    let scaled = |losses: &[ExampleLoss]| {
        losses
            .iter()
            .zip(factors.iter().cycle())
            .map(|(e, factor)| ExampleLoss { loss: e.loss * factor, ..*e })
            .collect()
    };
    ModelLosses {
        held_out: scaled(&reference.held_out),
        retention: scaled(&reference.retention),
        train: scaled(&reference.train),
        order: Vec::new(),
    }
}

proptest! {
    #[test]
    fn no_numbers_make_it_panic_and_every_report_survives_json(
        base in anything(), current in proptest::option::of(anything()), candidate in anything(),
        rules in prop_oneof![rules(), Just(GateRules { resamples: 100, ..GateRules::default() })], seed: u64,
    ) {
        let report = judge(&rules, &base, current.as_ref(), &candidate, seed);
        prop_assert_eq!(report.promote, report.refusals.is_empty());
        prop_assert!(!report.to_string().is_empty());
        assert_round_trips(&report);
    }

    #[test]
    fn comparable_numbers_are_judged_the_same_twice_and_survive_json(
        base in anything(), factors in proptest::collection::vec(number(), 1..8), seed: u64,
    ) {
        let candidate = moved(&base, &factors);
        let rules = GateRules { resamples: 100, ..GateRules::default() };
        let report = judge(&rules, &base, Some(&base), &candidate, seed);
        prop_assert_eq!(&report, &judge(&rules, &base, Some(&base), &candidate, seed));
        assert_round_trips(&report);
        let all = [&base.held_out, &base.retention, &base.train, &candidate.held_out, &candidate.retention, &candidate.train];
        if all.iter().any(|set| set.iter().any(|e| !e.loss.is_finite()) || set.is_empty()) {
            prop_assert!(!report.promote);
        }
    }

    #[test]
    fn one_bad_number_or_a_missing_set_is_always_enough(
        place in 0usize..3, index in 0usize..12, bad in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
        missing: bool,
    ) {
        let (mut base, mut candidate) = (base(), good());
        let set = match place {
            0 => (&mut base.held_out, &mut candidate.held_out),
            1 => (&mut base.retention, &mut candidate.retention),
            _ => (&mut base.train, &mut candidate.train),
        };
        if missing {
            set.0.clear();
            set.1.clear();
        } else {
            set.1[index].loss = bad;
        }
        prop_assert!(!judge(&GateRules::default(), &base, None, &candidate, 42).promote);
    }
}
