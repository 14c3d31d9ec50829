//! What is decided for those who leave it open, from what is known before the first step.
//!
//! `benches/defaults.py` compares the result with the best that the same time could have given; the numbers rest on its runs of
//! SmolLM2-135M on 20, 100 and 400 texts of four kinds, and of Qwen2.5-Coder-0.5B on 20 (`benches/README.md`).

use super::{DataConfig, OrAuto, Precision, RunConfig, TrainConfig};
use crate::Result;

/// Passes over the examples. More of them cost time, and learn by heart what there is little of.
const EPOCHS: u64 = 3;
/// Evaluations on the held-out examples during a run.
const EVALUATIONS: u64 = 10;
/// Optimizer steps that a pass should have: few examples make small micro-batches.
const STEPS_OF_PASS: usize = 8;
/// The most that a pass may have where micro-batches can be larger. Two examples of half a micro-batch each often miss it by a
/// token: with one in most of them, twenty short notes were learned in half as many more steps, of half the size and the same
/// rate, and the loss on general texts rose by up to 23 % instead of 5 %.
const MAX_STEPS_OF_PASS: usize = 10;
/// Tokens of a micro-batch. Below, the processor has too little to do at a time; above, steps are lost.
const BATCH_TOKENS: std::ops::RangeInclusive<usize> = 64..=512;
/// The rate of a run of one step, of a model whose rows have the norm [`ROW_NORM`]; it falls with the root of their number ...
const RATE_OF_ONE_STEP: f64 = 1e-2;
/// ... within these, before the model's norm counts. At 2e-3, SmolLM2-135M knows twenty short notes of one pattern so soon that what
/// follows only harms the rest: with two of five seeds its loss on general texts rose by more than the gate allows, with none
/// of four at 1.2e-3.
const RATES: std::ops::RangeInclusive<f64> = 5e-4..=1.2e-3;
/// The typical norm of the rows of SmolLM2-135M's matrices. Smaller weights are changed more by the same step:
/// Qwen2.5-Coder-0.5B, whose rows have a tenth of it, learns twenty texts best at a third of the rate. So the rate rises with the
/// root of the norm ...
const ROW_NORM: f64 = 4.65;
/// ... within these.
const ROW_NORMS: std::ops::RangeInclusive<f64> = 0.1..=10.0;
/// The alpha that these rates are for. AdamW's first step moves each entry of a pair's second matrix by the rate, and what the
/// pair adds by `alpha / rank` times the sum of `rank` such entries: in proportion to alpha, and at any rank the same. So the rate
/// falls as alpha grows. It does not rise for a smaller one, with which a higher rate was worse (`benches/README.md`).
const ALPHA: f64 = 16.0;
/// The largest alpha that counts.
const MAX_ALPHA: f64 = 256.0;

/// The highest learning rate of a run of so many optimizer steps, of two digits: files of all kinds give it back exactly.
/// `row_norm` is the typical norm of the rows of the matrices that are adapted, `alpha` the adapter's.
pub fn default_rate(steps: u64, row_norm: f64, alpha: f32) -> f64 {
    let rate = (RATE_OF_ONE_STEP / (steps.max(1) as f64).sqrt()).clamp(*RATES.start(), *RATES.end());
    let rate = rate * (row_norm.max(*ROW_NORMS.start()).min(*ROW_NORMS.end()) / ROW_NORM).sqrt();
    let rate = rate * ALPHA / f64::from(alpha).clamp(ALPHA, MAX_ALPHA);
    format!("{rate:.1e}").parse().unwrap_or(rate)
}

/// Tokens of a micro-batch for examples of so many tokens together, of which `accumulate` make a step; `micro_batches` tells how
/// many of a size a pass makes.
pub fn default_batch_tokens(
    tokens: usize,
    accumulate: usize,
    micro_batches: impl Fn(usize) -> usize,
) -> usize {
    let (accumulate, largest) = (accumulate.max(1), *BATCH_TOKENS.end());
    let fair = (tokens / STEPS_OF_PASS / accumulate).clamp(*BATCH_TOKENS.start(), largest);
    (fair..largest).find(|&size| micro_batches(size) <= MAX_STEPS_OF_PASS * accumulate).unwrap_or(largest)
}

impl DataConfig {
    /// Tokens of a micro-batch: those that are given, or the most that are chosen where it is left open.
    pub fn batch_tokens(&self) -> usize {
        self.batch_tokens.given().unwrap_or(*BATCH_TOKENS.end())
    }

    /// Decides the size of micro-batches, if it is left open, for examples of so many tokens together; `micro_batches` tells
    /// how many a pass makes with settings of which nothing is open.
    pub fn resolve_auto(&mut self, tokens: usize, micro_batches: impl Fn(&Self) -> usize) {
        if self.batch_tokens == OrAuto::Auto {
            let of_size = |size: usize| micro_batches(&Self { batch_tokens: size.into(), ..self.clone() });
            self.batch_tokens = default_batch_tokens(tokens, self.accumulate, of_size).into();
        }
    }
}

impl RunConfig {
    /// Passes over the examples, where the steps are not given.
    pub fn epochs(&self) -> u64 {
        self.epochs.given().unwrap_or(EPOCHS)
    }

    /// Optimizer steps between two evaluations in a run of `total_steps`; none if they are switched off.
    pub fn eval_interval(&self, total_steps: u64) -> Option<u64> {
        match self.eval_every {
            OrAuto::Auto => Some(total_steps.div_ceil(EVALUATIONS).max(1)),
            OrAuto::Given(0) => None,
            OrAuto::Given(steps) => Some(steps),
        }
    }
}

impl TrainConfig {
    /// Decides what else is left open once micro-batches have a size. `known` tells the optimizer steps of a run with settings
    /// of which only the rate is open, and the norm of the rows of the matrices that are adapted.
    ///
    /// # Errors
    /// Those of `known`.
    pub fn resolve_auto(&mut self, known: impl FnOnce(&Self) -> Result<(u64, f64)>) -> Result<()> {
        self.run.epochs = self.run.epochs().into();
        if self.optimizer.lr == OrAuto::Auto {
            let (steps, row_norm) = known(self)?;
            self.optimizer.lr = default_rate(steps, row_norm, self.lora.alpha).into();
        }
        Ok(())
    }

    /// Takes what is left open from earlier settings, as far as it was decided there.
    pub fn resolve_auto_as(&mut self, earlier: &Self) {
        self.data.batch_tokens = self.data.batch_tokens.or(earlier.data.batch_tokens);
        self.run.epochs = self.run.epochs.or(earlier.run.epochs);
        self.optimizer.lr = self.optimizer.lr.or(earlier.optimizer.lr);
        if self.run.precision == Precision::Auto {
            self.run.precision = earlier.run.precision;
        }
    }
}
