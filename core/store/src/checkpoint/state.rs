//! What a training run is made of.

use std::borrow::Cow;

use nightgraft_adapter::{AdapterTensors, LoraPairs, LoraSpec};
use nightgraft_gguf::Fingerprint;
use serde::{Deserialize, Serialize};

use super::adapter::{PairShape, matrices, shapes};

/// A training run between two micro-batches.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The effective configuration as TOML.
    pub config: String,
    /// The base model's fingerprint.
    pub base: Fingerprint,
    /// A fingerprint of the training data.
    pub data: String,
    /// Counters and sums.
    pub progress: Progress,
    /// The adapter.
    pub adapter: AdapterTensors,
    /// AdamW's running mean of the gradients; empty before the first step.
    pub first_moment: LoraPairs,
    /// AdamW's running mean of their squares; empty before the first step.
    pub second_moment: LoraPairs,
    /// Gradients of the unfinished step; empty between steps.
    pub gradient: LoraPairs,
    /// The adapter with the best held-out loss so far; empty if there was no evaluation yet.
    pub best: LoraPairs,
}

/// The matrices of a set: `A` and then `B` transposed of each pair, by layer and module.
pub type Matrices<'a> = Box<dyn Iterator<Item = Cow<'a, [f32]>> + 'a>;

/// A [`State`] that is being written from where it is, without a copy of it.
pub struct Snapshot<'a> {
    /// As in [`State`].
    pub config: &'a str,
    /// As in [`State`].
    pub base: Fingerprint,
    /// As in [`State`].
    pub data: &'a str,
    /// As in [`State`].
    pub progress: &'a Progress,
    /// What the adapter adapts, and how.
    pub spec: &'a LoraSpec,
    /// The shapes of the adapter's pairs, and so of every set.
    pub shapes: Vec<PairShape>,
    /// The adapter, both moments, the gradient and the best adapter.
    pub sets: [Option<Matrices<'a>>; 5],
}

impl State {
    /// Borrows the state for writing it.
    pub fn snapshot(&self) -> Snapshot<'_> {
        let Self { adapter, first_moment, second_moment, gradient, best, .. } = self;
        Snapshot {
            config: &self.config,
            base: self.base,
            data: &self.data,
            progress: &self.progress,
            spec: &adapter.spec,
            shapes: shapes(&adapter.pairs),
            sets: [
                Some(Box::new(matrices(&adapter.pairs))),
                unless_empty(first_moment),
                unless_empty(second_moment),
                unless_empty(gradient),
                unless_empty(best),
            ],
        }
    }
}

fn unless_empty(pairs: &LoraPairs) -> Option<Matrices<'_>> {
    (!pairs.is_empty()).then(|| Box::new(matrices(pairs)) as Matrices<'_>)
}

/// How far the run is, and all that it counts on the way: a run counts in nothing else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Finished optimizer steps.
    pub step: u64,
    /// Steps of the whole run, which the schedule was laid out for.
    pub total_steps: u64,
    /// Finished micro-batches of the unfinished step.
    pub micro_step: u64,
    /// The current pass over the data, from 0.
    pub epoch: u64,
    /// The next micro-batch of the epoch, from 0.
    pub next_batch: u64,
    /// Sum of the losses of the unfinished step's supervised tokens.
    #[serde(with = "bits")]
    pub loss_sum: f64,
    /// Tokens of the unfinished step.
    pub tokens: u64,
    /// Supervised tokens of the unfinished step.
    pub supervised_tokens: u64,
    /// Correctly predicted tokens of the unfinished step.
    pub correct: u64,
    /// Every held-out evaluation so far.
    pub evaluations: Vec<Evaluation>,
    /// The held-out evaluation that was under way.
    pub evaluating: Option<PartialEvaluation>,
    /// What decides on an early end.
    pub early_stopping: EarlyStopping,
    /// What the first steps have shown of the rate. Checkpoints did not always have it.
    #[serde(default)]
    pub first_steps: FirstSteps,
    /// What has computed steps: a new name where another device went on. Checkpoints did not always have it.
    #[serde(default)]
    pub devices: Vec<String>,
}

/// What a run's first steps were like, by which a rate that is too high is noticed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstSteps {
    /// Their losses.
    #[serde(with = "all_bits")]
    pub losses: Vec<f64>,
    /// The norms of their gradients.
    #[serde(with = "all_bits")]
    pub norms: Vec<f64>,
    /// The step after which the rate was lowered, if it was.
    pub lowered_after: Option<u64>,
}

/// One measurement on the held-out examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// After how many optimizer steps.
    pub step: u64,
    /// Mean loss per supervised token.
    #[serde(with = "bits")]
    pub loss: f64,
}

/// Sums over the first micro-batches of the held-out examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialEvaluation {
    /// The micro-batch that comes next, from 0.
    pub next_batch: u64,
    /// Sum of the losses of the supervised tokens.
    #[serde(with = "bits")]
    pub loss: f64,
    /// Correctly predicted tokens.
    pub correct: u64,
    /// Supervised tokens.
    pub supervised: u64,
}

/// The best evaluation so far, and how long ago it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Best held-out loss.
    #[serde(with = "optional_bits")]
    pub best_loss: Option<f64>,
    /// The step after which it was measured.
    pub best_step: u64,
    /// Evaluations since then.
    pub evaluations_since: u64,
}

/// An `f64` as its bits: exact, and any value at all.
mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.to_bits())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

/// Writes a list of `f64` as their bits, so that it comes back exactly.
mod all_bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|value| value.to_bits()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        Ok(Vec::<u64>::deserialize(deserializer)?.into_iter().map(f64::from_bits).collect())
    }
}

/// Writes an `f64` that may be missing as its bits.
mod optional_bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(f64::to_bits).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(f64::from_bits))
    }
}
