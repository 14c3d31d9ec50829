//! The learning rate of each step.

use crate::config::{OptimizerConfig, Schedule};

/// The rate of step `step` (from 0) of `total`: a linear rise to `highest` over the warm-up, then constant, or down to 0
/// along a line or half a cosine.
pub fn learning_rate(config: &OptimizerConfig, highest: f64, step: u64, total: u64) -> f64 {
    let warmup = (config.warmup * total as f64).ceil() as u64;
    if step < warmup {
        return highest * (step + 1) as f64 / (warmup + 1) as f64;
    }
    let done = (step - warmup) as f64 / (total - warmup).max(1) as f64;
    match config.schedule {
        Schedule::Constant => highest,
        Schedule::Linear => highest * (1.0 - done),
        Schedule::Cosine => highest * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: Schedule, warmup: f64) -> Vec<f64> {
        let config = OptimizerConfig { schedule, warmup, ..OptimizerConfig::default() };
        (0..8).map(|step| learning_rate(&config, 1.0, step, 8)).collect()
    }

    #[test]
    fn constant_never_changes_without_a_warm_up() {
        assert_eq!(rates(Schedule::Constant, 0.0), [1.0; 8]);
    }

    #[test]
    fn linear_rises_then_falls_in_a_line() {
        let expected = [1.0 / 3.0, 2.0 / 3.0, 1.0, 5.0 / 6.0, 4.0 / 6.0, 3.0 / 6.0, 2.0 / 6.0, 1.0 / 6.0];
        for (got, expected) in rates(Schedule::Linear, 0.25).into_iter().zip(expected) {
            assert!((got - expected).abs() < 1e-12, "{got} instead of {expected}");
        }
    }

    #[test]
    fn a_twentieth_of_twenty_steps_is_one() {
        let config =
            OptimizerConfig { warmup: 0.05, schedule: Schedule::Constant, ..OptimizerConfig::default() };
        for total in [20, 100] {
            let rising =
                (0..total).filter(|&step| learning_rate(&config, 1.0, step, total) < 1.0).count() as u64;
            assert_eq!(rising, total / 20);
        }
    }

    #[test]
    fn cosine_is_half_way_in_the_middle() {
        let rates = rates(Schedule::Cosine, 0.0);
        assert_eq!(rates[0], 1.0);
        assert!((rates[4] - 0.5).abs() < 1e-12);
        assert!(rates.is_sorted_by(|a, b| a > b));
    }

    /// A library of another system or a later version must not change a bit.
    #[test]
    fn rates_are_pinned() {
        let config = OptimizerConfig { warmup: 0.05, schedule: Schedule::Cosine, ..Default::default() };
        let rates = [0, 2, 7, 20, 39].map(|step| learning_rate(&config, 2e-4, step, 40).to_bits());
        assert_eq!(
            rates,
            [
                0x3f11_79ec_9cbd_821e,
                0x3f2a_36e2_eb1c_432d,
                0x3f29_1c44_c1c4_a02b,
                0x3f1c_6111_2755_b46e,
                0x3e96_ebcb_dc8f_a29d
            ]
        );
    }

    #[test]
    fn a_run_that_is_all_warm_up_divides_by_nothing() {
        assert!(rates(Schedule::Cosine, 1.0).iter().all(|rate| rate.is_finite() && *rate > 0.0));
    }
}
