//! The judgement itself.

use super::paired_bootstrap::{Interval, RatioTerm, ratio};
use super::report::{Comparison, EvalSet, GateReport, ModelRole, Refusal};
use super::rules::GateRules;
use super::{ExampleLoss, ModelLosses};

/// Nats for one token beyond which a number is no loss. Models that diverged reach some hundreds.
const MAX_LOSS: f64 = 1e6;
/// A cross-entropy may come out this far below zero by rounding.
const ROUNDING: f64 = 1e-3;
/// A mean change of the losses below this share of them is no effect.
const NO_EFFECT: f64 = 1e-4;

/// Judges a candidate: compares it with the base, and with the adapter in use if there is one, by the rules.
///
/// It is promoted only if nothing speaks against it; a set that is missing, or a number that is none, does.
/// For a candidate that must replace the adapter in use in any case (because that one saw an example that was
/// deleted since), leave `current` out.
///
/// Equal arguments give equal reports, on every machine.
pub fn judge(
    rules: &GateRules,
    base: &ModelLosses,
    current: Option<&ModelLosses>,
    candidate: &ModelLosses,
    seed: u64,
) -> GateReport {
    let mut judgement = Judgement { rules, seed, refusals: Vec::new(), comparisons: Vec::new() };
    let rules_hold = match rules.validate() {
        Ok(()) => true,
        Err(error) => {
            judgement.refusals.push(Refusal::InvalidRules { problem: error.to_string() });
            false
        }
    };
    judgement.check_losses(ModelRole::Base, base);
    if let Some(current) = current {
        judgement.check_losses(ModelRole::Current, current);
    }
    judgement.check_losses(ModelRole::Candidate, candidate);

    let held_out = judgement.compare(EvalSet::HeldOut, ModelRole::Base, &base.held_out, &candidate.held_out);
    let over_current = current.and_then(|current| {
        judgement.compare(EvalSet::HeldOut, ModelRole::Current, &current.held_out, &candidate.held_out)
    });
    let retention =
        judgement.compare(EvalSet::Retention, ModelRole::Base, &base.retention, &candidate.retention);
    if let Some(current) = current {
        judgement.compare(EvalSet::Retention, ModelRole::Current, &current.retention, &candidate.retention);
    }
    let train = judgement.compare(EvalSet::Train, ModelRole::Base, &base.train, &candidate.train);

    judgement.check_held_out_count(&base.held_out);
    if judgement.check_effect(base, candidate) {
        judgement.check_gain(ModelRole::Base, held_out, rules.min_gain);
    }
    judgement.check_gain(ModelRole::Current, over_current, rules.min_gain_on_current);
    judgement.check_forgetting(retention);
    let overfit = judgement.check_overfit(held_out, train);
    let word_order = judgement.check_word_order(base);

    let Judgement { refusals, comparisons, .. } = judgement;
    GateReport {
        promote: refusals.is_empty(),
        refusals,
        comparisons,
        overfit: overfit.map(|(share, _)| share),
        overfit_low: overfit.and_then(|(_, low)| low),
        word_order,
        rules: rules_hold.then(|| rules.clone()),
        seed,
    }
}

/// A judgement under way.
struct Judgement<'a> {
    rules: &'a GateRules,
    seed: u64,
    refusals: Vec<Refusal>,
    comparisons: Vec<Comparison>,
}

/// Two models on one set, before rounding.
#[derive(Clone, Copy)]
struct Compared {
    reference: f64,
    candidate: f64,
    difference: f64,
    interval: Option<Interval>,
}

impl Judgement<'_> {
    /// Refuses numbers that cannot be losses.
    fn check_losses(&mut self, role: ModelRole, measured: &ModelLosses) {
        let sets = [
            (EvalSet::HeldOut, &measured.held_out),
            (EvalSet::Retention, &measured.retention),
            (EvalSet::Train, &measured.train),
        ];
        for (set, losses) in sets {
            if !losses.iter().all(is_valid_loss) {
                self.refusals.push(Refusal::NotFinite { set, role });
            }
        }
        let is_order_valid = measured
            .order
            .iter()
            .all(|order| is_valid_loss(&order.original) && is_valid_loss(&order.shuffled));
        if role == ModelRole::Base && !is_order_valid {
            self.refusals.push(Refusal::NotFinite { set: EvalSet::Order, role });
        }
    }

    /// Compares the candidate with another on one set, and writes it down; none if that cannot be done.
    fn compare(
        &mut self,
        set: EvalSet,
        against: ModelRole,
        reference: &[ExampleLoss],
        candidate: &[ExampleLoss],
    ) -> Option<Compared> {
        let same = reference.len() == candidate.len()
            && reference
                .iter()
                .zip(candidate)
                .all(|(reference, candidate)| reference.tokens == candidate.tokens);
        if !same {
            self.refusals.push(Refusal::Mismatched { set, role: against });
            return None;
        }
        let tokens = tokens(reference);
        if tokens == 0 {
            let refusal = Refusal::Unmeasured { set };
            if !self.refusals.contains(&refusal) {
                self.refusals.push(refusal);
            }
            return None;
        }
        if !reference.iter().chain(candidate).all(is_valid_loss) {
            return None; // refused already
        }
        let terms: Vec<_> = reference
            .iter()
            .zip(candidate)
            .map(|(reference, candidate)| RatioTerm {
                numerator: candidate.loss - reference.loss,
                denominator: candidate.tokens as f64,
            })
            .collect();
        let mean = |losses: &[ExampleLoss]| sum(losses) / tokens as f64;
        let compared = Compared {
            reference: mean(reference),
            candidate: mean(candidate),
            difference: terms.iter().map(|term| term.numerator).sum::<f64>() / tokens as f64,
            interval: ratio(&terms, self.resamples(), self.seed, self.comparisons.len() as u64),
        };
        self.comparisons.push(Comparison {
            set,
            against,
            examples: reference.len() as u64,
            tokens,
            reference_loss: rounded(compared.reference),
            candidate_loss: rounded(compared.candidate),
            difference: rounded(compared.difference),
            low: compared.interval.map(|interval| rounded(interval.low)),
            high: compared.interval.map(|interval| rounded(interval.high)),
        });
        Some(compared)
    }

    fn check_held_out_count(&mut self, held_out: &[ExampleLoss]) {
        let examples = held_out.iter().filter(|example| example.tokens > 0).count() as u64;
        if examples < self.rules.min_held_out {
            self.refusals.push(Refusal::TooFewHeldOut { examples, needed: self.rules.min_held_out });
        }
    }

    /// Refuses a candidate whose losses do not differ from the base's at all, on any set; tells whether they do.
    fn check_effect(&mut self, base: &ModelLosses, candidate: &ModelLosses) -> bool {
        let sets = [
            (&base.held_out, &candidate.held_out),
            (&base.retention, &candidate.retention),
            (&base.train, &candidate.train),
        ];
        let pairs = || sets.iter().flat_map(|(base, candidate)| base.iter().zip(candidate.iter()));
        let change: f64 = pairs().map(|(base, candidate)| (candidate.loss - base.loss).abs()).sum();
        let whole: f64 = pairs().map(|(base, _)| base.loss).sum();
        let has_effect = change > NO_EFFECT * whole;
        if !has_effect && change.is_finite() && whole > 0.0 {
            self.refusals.push(Refusal::NoEffect { change: rounded(change / whole) });
            return false;
        }
        true
    }

    fn check_gain(&mut self, against: ModelRole, compared: Option<Compared>, needed: f64) {
        let Some(compared) = compared else { return };
        let share = |nats: f64| rounded(-nats / compared.reference.max(ROUNDING));
        let gain = share(compared.difference);
        let low = compared.interval.map(|interval| share(interval.high));
        if gain < needed || low.is_none_or(|low| low <= 0.0) {
            self.refusals.push(Refusal::NotBetter { against, gain, low, needed: rounded(needed) });
        }
    }

    /// The probe is no sample of anything larger: what is asked is whether the model got worse on just these
    /// texts. The estimate decides, and its interval is there to be read.
    fn check_forgetting(&mut self, retention: Option<Compared>) {
        let Some(compared) = retention else { return };
        let increase = rounded(compared.difference / compared.reference.max(ROUNDING));
        let limit = self.rules.max_forgetting;
        if increase > limit {
            self.refusals.push(Refusal::Forgets { increase, limit: rounded(limit) });
        }
    }

    /// Refuses a candidate that certainly saved more than the limit on the training examples and not on held-out ones,
    /// each as a share of the base's loss, so that sets of different difficulty can be compared. Gives the estimate and
    /// the lower end of its 95 % interval.
    ///
    /// The sets are independent, so the doubts about them add as squares (Zou and Donner, Construction of confidence
    /// limits about effect measures: a general approach, Statistics in Medicine 27, 2008).
    fn check_overfit(
        &mut self,
        held_out: Option<Compared>,
        train: Option<Compared>,
    ) -> Option<(f64, Option<f64>)> {
        let (held_out, train) = (held_out?, train?);
        let of_loss = |nats: f64, compared: Compared| nats / compared.reference.max(ROUNDING);
        let share = of_loss(-train.difference, train) - of_loss(-held_out.difference, held_out);
        let low = train.interval.zip(held_out.interval).map(|(of_train, of_held_out)| {
            let less_on_train = of_loss(of_train.high - train.difference, train);
            let more_on_held_out = of_loss(held_out.difference - of_held_out.low, held_out);
            rounded(share - (less_on_train * less_on_train + more_on_held_out * more_on_held_out).sqrt())
        });
        let (share, limit) = (rounded(share), self.rules.max_overfit);
        if low.unwrap_or(share) > limit {
            self.refusals.push(Refusal::Overfits { share, low, limit: rounded(limit) });
        }
        Some((share, low))
    }

    fn check_word_order(&mut self, base: &ModelLosses) -> Option<Interval> {
        if !base.order.iter().all(|order| is_valid_loss(&order.original) && is_valid_loss(&order.shuffled)) {
            return None; // refused already
        }
        let terms: Vec<_> = base
            .order
            .iter()
            .map(|order| RatioTerm {
                numerator: order.shuffled.loss - order.original.loss,
                denominator: order.shuffled.loss,
            })
            .collect();
        let Interval { value, low, high } = ratio(&terms, self.resamples(), self.seed, ORDER_STREAM)?;
        let saved = Interval { value: rounded(value), low: rounded(low), high: rounded(high) };
        let needed = self.rules.min_word_order;
        if needed > 0.0 && saved.value < needed {
            self.refusals.push(Refusal::NotLanguage { saved: saved.value, needed: rounded(needed) });
        }
        Some(saved)
    }

    fn resamples(&self) -> u32 {
        self.rules.resamples.min(super::rules::MAX_RESAMPLES)
    }
}

/// The random stream of the bootstrap over orders of words; comparisons have the ones from 0.
const ORDER_STREAM: u64 = 1000;

fn is_valid_loss(example: &ExampleLoss) -> bool {
    let tokens = example.tokens as f64;
    (-ROUNDING * tokens..=MAX_LOSS * tokens).contains(&example.loss)
}

fn sum(losses: &[ExampleLoss]) -> f64 {
    losses.iter().map(|example| example.loss).sum()
}

fn tokens(losses: &[ExampleLoss]) -> u64 {
    losses.iter().fold(0, |tokens, example| tokens.saturating_add(example.tokens))
}

/// To six decimals: short enough that JSON gives the same number back.
fn rounded(value: f64) -> f64 {
    // The bounds are beyond every share of valid losses; with them, the digits stay exact.
    (value.clamp(-1e9, 1e9) * 1e6).round() / 1e6
}

#[cfg(test)]
mod measured;
#[cfg(test)]
mod tests;
