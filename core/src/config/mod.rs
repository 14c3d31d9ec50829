//! What a training run should do: every setting, its default, and the check that it makes sense.
//!
//! [`TrainConfig`] is read from and written to a flat TOML file whose keys are the command line's long
//! options with underscores for hyphens:
//!
//! ```
//! use nightgraft_core::config::{Layers, TrainConfig};
//!
//! let config = TrainConfig::from_toml("rank = 4\nlayers = \"last:8\"\nlr = 1e-3\n")?;
//! assert_eq!(config.lora.rank, 4);
//! assert_eq!(config.lora.layers, Layers::Last(8));
//! assert_eq!(config.data.context, 256); // everything not named keeps its default
//! # Ok::<(), nightgraft_core::Error>(())
//! ```
//!
//! The defaults suit 20 to 500 examples of a person's own text: a rate at which an adapter really
//! learns, warm-up and decay, clipping, a tenth held out, early stopping.

mod auto_settings;
mod choices;
mod toml_file;
mod validate;

pub use nightgraft_text::Date;

pub(crate) use validate::{check, decimal};

pub use auto_settings::{default_batch_tokens, default_rate};
pub use choices::{Device, Layers, OrAuto, Precision, Resume, Schedule, Targets};

/// Everything that can be set for a training run.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(from = "toml_file::Flat", into = "toml_file::Flat")]
pub struct TrainConfig {
    /// The adapter.
    pub lora: LoraConfig,
    /// How it is moved.
    pub optimizer: OptimizerConfig,
    /// How the examples become batches.
    pub data: DataConfig,
    /// How long, on what, and what is kept.
    pub run: RunConfig,
}

/// Which low-rank matrices are trained beside the frozen weights.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// `rank`: inner dimension of each pair `B·A`, 1 to 256.
    pub rank: usize,
    /// `alpha`: the pair's output is scaled by `alpha / rank`.
    pub alpha: f32,
    /// `targets`: the modules that get a pair in each adapted layer.
    pub targets: Targets,
    /// `layers`: the adapted layers. The backward pass stops at the lowest, so fewer top layers train faster.
    pub layers: Layers,
    /// `dropout`: the fraction of a pair's inputs that is zeroed while training, in [0, 1).
    pub dropout: f32,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0, targets: Targets::all(), layers: Layers::All, dropout: 0.0 }
    }
}

/// AdamW, its schedule and its clipping.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerConfig {
    /// `lr`: the highest learning rate of the schedule.
    pub lr: OrAuto<f64>,
    /// `schedule`: how the rate goes on after the warm-up.
    pub schedule: Schedule,
    /// `warmup`: the fraction of all steps over which the rate rises linearly from 0, in [0, 1].
    pub warmup: f64,
    /// `clip`: the gradients are scaled down to this global L2 norm when they exceed it; 0 switches it off.
    pub clip: f32,
    /// `weight_decay`: decoupled decay, multiplied by the learning rate.
    pub weight_decay: f64,
    /// `beta1`: decay of the mean of gradients, in [0, 1).
    pub beta1: f64,
    /// `beta2`: decay of the mean of squared gradients, in [0, 1).
    pub beta2: f64,
    /// `eps`: added to the root of the second moment.
    pub eps: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            lr: OrAuto::Auto,
            schedule: Schedule::Cosine,
            warmup: 0.05,
            clip: 1.0,
            weight_decay: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
        }
    }
}

/// How training and evaluation text becomes micro-batches.
#[derive(Clone, Debug, PartialEq)]
pub struct DataConfig {
    /// `context`: the longest example, in tokens; longer ones are split or truncated, and counted.
    pub context: usize,
    /// `batch_tokens`: the most tokens in one micro-batch; real tokens, nothing is padded. A longer example is one by itself.
    pub batch_tokens: OrAuto<usize>,
    /// `accumulate`: micro-batches whose gradients make one optimizer step.
    pub accumulate: usize,
    /// `packing`: several examples share a micro-batch row, kept apart by the attention mask.
    pub packing: bool,
    /// `shuffle`: a new order in each epoch, decided by the seed.
    pub shuffle: bool,
    /// `chat`: `{"prompt", "completion"}` lines are rendered as a user and an assistant turn.
    pub chat: bool,
    /// `skip_bad`: a line that cannot be used is counted and left out, and does not stop the run.
    pub skip_bad: bool,
    /// `held_out`: the fraction of the examples kept for evaluation when no file is given for it, in
    /// [0, 0.9]; 0 for none. A session on a store holds out as many as its gate needs, if there are enough.
    pub held_out: f32,
    /// `date`: what a chat template that writes today's date takes for now; none for when the run begins.
    pub date: Option<Date>,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            context: 256,
            batch_tokens: OrAuto::Auto,
            accumulate: 1,
            packing: true,
            shuffle: true,
            chat: false,
            skip_bad: false,
            held_out: 0.1,
            date: None,
        }
    }
}

/// How long a run lasts, where it runs, and what it leaves behind.
#[derive(Clone, Debug, PartialEq)]
pub struct RunConfig {
    /// `epochs`: passes over the examples; not used when `steps` is set.
    pub epochs: OrAuto<u64>,
    /// `steps`: optimizer steps, instead of `epochs`.
    pub steps: Option<u64>,
    /// `seed`: decides the initial adapter, the held-out split, the order and the dropout.
    pub seed: u64,
    /// `threads`: none means one per core. The result does not depend on it.
    pub threads: Option<usize>,
    /// `device`: what computes.
    pub device: Device,
    /// `precision`: of the products; the adapter, its gradients and its optimizer are always f32.
    pub precision: Precision,
    /// `eval_every`: optimizer steps between two evaluations on the held-out examples during the run, 0 for none; they always
    /// are before and after it.
    pub eval_every: OrAuto<u64>,
    /// `patience`: the run stops after this many evaluations in a row without a new best that gains a hundredth more than the
    /// one before it; 0 switches it off.
    pub patience: usize,
    /// `checkpoint_every`: optimizer steps between two checkpoints; 0 switches them off.
    pub checkpoint_every: u64,
    /// `keep_checkpoints`: how many checkpoints are kept; the best adapter so far is inside each.
    pub keep_checkpoints: usize,
    /// `resume`: what to do with the checkpoints of an earlier run in the same folder.
    pub resume: Resume,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            epochs: OrAuto::Auto,
            steps: None,
            seed: 42,
            threads: None,
            device: Device::Cpu,
            precision: Precision::Auto,
            eval_every: OrAuto::Auto,
            patience: 3,
            checkpoint_every: 20,
            keep_checkpoints: 2,
            resume: Resume::Auto,
        }
    }
}

#[cfg(test)]
mod tests;
