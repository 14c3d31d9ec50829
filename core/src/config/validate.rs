//! What is refused before a run begins, and why.

use super::{DataConfig, LoraConfig, OptimizerConfig, RunConfig, TrainConfig};
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
        check("--alpha", self.alpha.is_finite() && self.alpha > 0.0, self.alpha, "a number above 0")?;
        check("--dropout", (0.0..1.0).contains(&self.dropout), self.dropout, "0 to below 1")
    }
}

impl OptimizerConfig {
    /// As [`TrainConfig::validate`], for the optimizer's settings.
    ///
    /// # Errors
    /// [`Error::Config`]
    pub fn validate(&self) -> Result<()> {
        if let Some(rate) = self.lr.given() {
            check("--lr", rate > 0.0 && rate <= 1.0, rate, "above 0 and at most 1, such as 1e-3, or auto")?;
        }
        check(
            "--warmup",
            (0.0..=1.0).contains(&self.warmup),
            self.warmup,
            "a fraction of the steps, 0 to 1",
        )?;
        check(
            "--clip",
            not_negative(f64::from(self.clip)),
            self.clip,
            "a norm above 0, or 0 for no clipping",
        )?;
        check("--weight-decay", not_negative(self.weight_decay), self.weight_decay, "0 or more")?;
        check("--beta1", (0.0..1.0).contains(&self.beta1), self.beta1, "0 to below 1")?;
        check("--beta2", (0.0..1.0).contains(&self.beta2), self.beta2, "0 to below 1")?;
        check("--eps", self.eps > 0.0 && self.eps <= 1.0, self.eps, "above 0 and at most 1, such as 1e-8")
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
        check("--held-out", (0.0..=0.9).contains(&self.held_out), self.held_out, "0 to 0.9 of the examples")
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

fn not_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

fn within(option: &'static str, value: u64, least: u64, most: u64) -> Result<()> {
    check(option, (least..=most).contains(&value), value, &format!("{least} to {most}"))
}

fn check(option: &'static str, holds: bool, value: impl std::fmt::Display, allowed: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config { option, problem: format!("{value} is not {allowed}") }) }
}
