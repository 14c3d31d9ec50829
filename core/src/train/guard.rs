//! Notices early that the learning rate is too high, so that a night is not wasted on it.
//!
//! The first tenth of a run's steps is watched, in which the rate reaches its height. The loss of a step is that of its own
//! examples and goes up and down: a rise has to stand out from that.

use nightgraft_store::checkpoint::FirstSteps;
use serde::Serialize;

/// A run's steps for each that is watched.
const STEPS_PER_WATCHED: u64 = 10;
/// Steps that are watched: of fewer nothing can be said, and more say nothing new.
const WATCHED: std::ops::RangeInclusive<u64> = 16..=64;
/// A run that is shorter is over before it is a waste.
const SHORTEST: u64 = 3 * *WATCHED.start();
/// The loss rises if the mean of the later half is so many times that of the first quarter ...
const RISE: f64 = 1.2;
/// ... and so many standard errors above it.
const ERRORS: f64 = 3.0;
/// The loss jumps if the mean of the later half is so many times that of the first step, and all of the half is [`RISE`] times it.
const JUMP: f64 = 3.0;
/// A gradient explodes if its norm is so many times the median of those before ...
const EXPLOSION: f64 = 25.0;
/// ... of which there must be so many.
const USUAL: usize = 8;
/// The rate is multiplied by this.
pub(super) const LOWERED_TO: f64 = 0.25;

/// What shows that a rate is too high.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, strum::Display)]
#[serde(rename_all = "snake_case")]
pub enum RateTooHigh {
    /// The loss of the first steps rises.
    #[strum(to_string = "the loss rose from {from:.3} to {to:.3} in the first steps")]
    LossRises {
        /// What it was at first.
        from: f64,
        /// Mean of the later half of the steps watched.
        to: f64,
    },
    /// A gradient is many times as long as those before it.
    #[strum(to_string = "a gradient's norm was {norm:.1}, where {usual:.1} was usual")]
    GradientExplodes {
        /// Its norm.
        norm: f64,
        /// The median of the norms before.
        usual: f64,
    },
}

/// Takes in step `step` (from 1) of `total`; tells whether the rate has to be lowered after it, which happens once in a run.
/// A run whose first steps were not seen is left alone.
pub(super) fn watch(
    seen: &mut FirstSteps,
    step: u64,
    total: u64,
    loss: f64,
    norm: f64,
) -> Option<RateTooHigh> {
    let watched = (total / STEPS_PER_WATCHED).clamp(*WATCHED.start(), *WATCHED.end());
    let has_seen_all = seen.losses.len() as u64 + 1 == step;
    if seen.lowered_after.is_some() || total < SHORTEST || step > watched || !has_seen_all {
        return None;
    }
    let exploded = explosion(&seen.norms, norm);
    seen.losses.push(loss);
    seen.norms.push(norm);
    let found = exploded.or_else(|| if step == watched { rise(&seen.losses) } else { None });
    if found.is_some() {
        seen.lowered_after = Some(step);
    }
    found
}

fn explosion(before: &[f64], norm: f64) -> Option<RateTooHigh> {
    let mut sorted = before.to_vec();
    sorted.sort_by(f64::total_cmp);
    let usual = *sorted.get(sorted.len() / 2).filter(|_| sorted.len() >= USUAL)?;
    (usual > 0.0 && norm > EXPLOSION * usual).then_some(RateTooHigh::GradientExplodes { norm, usual })
}

fn rise(losses: &[f64]) -> Option<RateTooHigh> {
    let (first, later) = (Sample::of(&losses[..losses.len() / 4]), &losses[losses.len() / 2..]);
    let Sample { mean: to, .. } = Sample::of(later);
    let stands_out = to - first.mean > ERRORS * (first.square_error + Sample::of(later).square_error).sqrt();
    if stands_out && to > RISE * first.mean {
        return Some(RateTooHigh::LossRises { from: first.mean, to });
    }
    // Without a warm-up the first step alone may be from before the jump.
    let from = *losses.first()?;
    let jumps = to > JUMP * from && later.iter().all(|loss| *loss > RISE * from);
    jumps.then_some(RateTooHigh::LossRises { from, to })
}

/// Some losses in two numbers.
struct Sample {
    mean: f64,
    /// The square of the mean's standard error.
    square_error: f64,
}

impl Sample {
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        Self { mean, square_error: squares / (n - 1.0) / n }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps after which the rate is lowered, and why, in a run of so many steps that begins so.
    fn found(total: u64, steps: impl IntoIterator<Item = (f64, f64)>) -> Vec<(u64, RateTooHigh)> {
        let mut seen = FirstSteps::default();
        let found = |(step, (loss, norm))| watch(&mut seen, step, total, loss, norm).map(|why| (step, why));
        (1..).zip(steps).filter_map(found).collect()
    }

    /// Losses that go up and down around `level`.
    fn around(level: impl Fn(u64) -> f64) -> impl Iterator<Item = (f64, f64)> {
        (0..80).map(move |i| (level(i) + (i * 7 % 11) as f64 / 10.0 - 0.5, 1.0))
    }

    #[test]
    fn a_loss_that_rises_is_found_at_the_end_of_the_first_tenth() {
        for (total, watched) in [(48, 16), (160, 16), (400, 40), (10_000, 64)] {
            let found = found(total, around(|i| if i < watched / 4 { 4.0 } else { 6.0 }));
            assert!(
                matches!(found[..], [(step, RateTooHigh::LossRises { from, to })]
                if step == watched && (3.5..4.5).contains(&from) && (5.5..6.5).contains(&to)),
                "{found:?}"
            );
        }
        assert_eq!(found(47, around(|i| if i < 4 { 4.0 } else { 6.0 })), [], "so short a run is over soon");
        assert_eq!(
            found(160, around(|i| if i < 16 { 4.0 } else { 6.0 })),
            [],
            "it is not of the first tenth"
        );
    }

    #[test]
    fn a_jump_after_the_first_step_is_found() {
        let found = found(60, (0..60).map(|i| (if i == 0 { 3.0 } else { 10.0 }, 1.0)));
        assert_eq!(found, [(16, RateTooHigh::LossRises { from: 3.0, to: 10.0 })]);
    }

    #[test]
    fn losses_that_go_up_and_down_or_fall_are_none_that_rise() {
        assert_eq!(found(80, around(|_| 1.0)), []);
        assert_eq!(found(80, around(|i| 3.0 - i as f64 / 100.0)), []);
        // A first example that happened to be easy.
        assert_eq!(
            found(80, (0..60).map(|i| (if i == 0 { 1.0 } else { 1.5 + f64::from(i % 5) / 2.0 }, 1.0))),
            []
        );
    }

    #[test]
    fn a_gradient_that_explodes_in_the_first_tenth_is_found_at_once() {
        let norms = |exploding: u64| (0..60).map(move |i| (3.0, if i == exploding { 60.0 } else { 2.0 }));
        assert_eq!(found(200, norms(11)), [(12, RateTooHigh::GradientExplodes { norm: 60.0, usual: 2.0 })]);
        for harmless in [2, 30] {
            assert_eq!(found(200, norms(harmless)), [], "too early, or too late");
        }
        assert_eq!(found(200, (0..60).map(|i| (3.0, if i < 12 { 0.0 } else { 2.0 }))), []);
    }

    #[test]
    fn a_run_whose_first_steps_were_not_seen_is_left_alone() {
        let mut seen = FirstSteps::default();
        assert!((7..60).all(|step| watch(&mut seen, step, 200, step as f64, 1.0).is_none()));
    }
}
