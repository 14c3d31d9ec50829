//! What is refused before a run begins, and why.

use super::{DataConfig, LoraConfig, OptimizerConfig, RunConfig, TrainConfig};
use crate::error::{Allowed, ConfigProblem};
use crate::{Error, Result};

/// Bounds that only a slip of the hand exceeds; they keep sums of sizes far from overflow.
const MAX_RANK: usize = 256;
const MAX_BATCH_TOKENS: usize = 1 << 20;
const MAX_ACCUMULATE: usize = 1 << 16;
const MAX_THREADS: usize = 512;
const MAX_STEPS: u64 = 1 << 40;
const MAX_EPOCHS: u64 = 1 << 20;
const MAX_CHECKPOINTS: usize = 1000;
/// TOML integers are signed.
const MAX_SEED: u64 = i64::MAX as u64;

impl TrainConfig {
    /// Checks every setting, alone and with the others.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first option that makes no sense and the values that do.
    pub fn validate(&self) -> Result<()> {
        self.lora.validate()?;
        self.optimizer.validate()?;
        self.data.validate()?;
        self.run.validate()
    }
}

impl LoraConfig {
    /// As [`TrainConfig::validate`], for the adapter's settings.
    ///
    /// # Errors
    /// [`Error::Config`]
    pub fn validate(&self) -> Result<()> {
        within("--rank", self.rank as u64, 1, MAX_RANK as u64)?;
        check("--alpha", decimal(self.alpha), Allowed::Positive)?;
        check("--dropout", decimal(self.dropout), Allowed::BelowOne)
    }
}

impl OptimizerConfig {
    /// As [`TrainConfig::validate`], for the optimizer's settings.
    ///
    /// # Errors
    /// [`Error::Config`]
    pub fn validate(&self) -> Result<()> {
        if let Some(rate) = self.lr.given() {
            check("--lr", rate, Allowed::Rate)?;
        }
        check("--warmup", self.warmup, Allowed::FractionOfSteps)?;
        check("--clip", decimal(self.clip), Allowed::Norm)?;
        check("--weight-decay", self.weight_decay, Allowed::NotNegative)?;
        check("--beta1", self.beta1, Allowed::BelowOne)?;
        check("--beta2", self.beta2, Allowed::BelowOne)?;
        check("--eps", self.eps, Allowed::Epsilon)
    }
}

impl DataConfig {
    /// As [`TrainConfig::validate`], for the settings of the data.
    ///
    /// # Errors
    /// [`Error::Config`]
    pub fn validate(&self) -> Result<()> {
        within("--context", self.context as u64, 2, MAX_BATCH_TOKENS as u64)?;
        within("--batch-tokens", self.batch_tokens() as u64, 1, MAX_BATCH_TOKENS as u64)?;
        within("--accumulate", self.accumulate as u64, 1, MAX_ACCUMULATE as u64)?;
        check("--held-out", decimal(self.held_out), Allowed::FractionOfExamples)
    }
}

impl RunConfig {
    /// As [`TrainConfig::validate`], for the settings of the run.
    ///
    /// # Errors
    /// [`Error::Config`]
    pub fn validate(&self) -> Result<()> {
        within("--epochs", self.epochs(), 1, MAX_EPOCHS)?;
        if let Some(steps) = self.steps {
            within("--steps", steps, 1, MAX_STEPS)?;
        }
        within("--seed", self.seed, 0, MAX_SEED)?;
        if let Some(threads) = self.threads {
            within("--threads", threads as u64, 1, MAX_THREADS as u64)?;
        }
        within("--keep-checkpoints", self.keep_checkpoints as u64, 1, MAX_CHECKPOINTS as u64)
    }
}

fn within(option: &'static str, value: u64, least: u64, most: u64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::config(option, ConfigProblem::NotWithin { value, least, most }))
}

/// Makes sure that the number is one of those that are allowed.
///
/// # Errors
/// [`Error::Config`]
pub(crate) fn check(option: &'static str, value: f64, allowed: Allowed) -> Result<()> {
    if allowed.contains(value) {
        return Ok(());
    }
    Err(Error::config(option, ConfigProblem::NotAllowed { value, allowed }))
}

/// The number that was written, of which an f32 is the nearest.
pub(crate) fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}
