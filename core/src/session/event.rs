//! What a training job reports.

use std::path::PathBuf;

use nightgraft_policy::gate::GateReport;
use nightgraft_store::GraftId;
use nightgraft_text::data::DataReport;
use serde::Serialize;

use super::{DeviceEvent, DiscardReason, Leftover, MemoryPlan, ModelInfo, OperationCount};
use crate::train::{RateTooHigh, StepReport, TrainLoop};

/// One thing that happened during a run.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The base model was opened.
    Model(ModelInfo),
    /// The data was read.
    Data {
        /// What there is to train on.
        train: DataReport,
        /// What the adapter is measured on, if anything.
        held_out: Option<DataReport>,
    },
    /// A GPU was chosen, refused or lost.
    Device(DeviceEvent),
    /// The work ahead is known.
    Planned {
        /// Optimizer steps of the whole run.
        steps: u64,
        /// Numbers that are trained.
        trainable_parameters: usize,
        /// Layers that the backward pass runs through.
        adapted_layers: usize,
        /// The highest learning rate.
        lr: f64,
        /// Threads that compute.
        threads: usize,
    },
    /// What the work ahead takes in memory.
    Memory(MemoryPlan),
    /// An earlier run in the same folder goes on.
    Resumed {
        /// Optimizer steps that were already done.
        step: u64,
        /// The checkpoint it goes on from.
        checkpoint: PathBuf,
    },
    /// An optimizer step was made.
    Step(StepMetrics),
    /// The first steps have shown that the learning rate is too high: it is lowered for the rest of the run.
    RateLowered {
        /// After which step.
        step: u64,
        /// The highest rate of the rest.
        lr: f64,
        /// What has shown it.
        why: RateTooHigh,
    },
    /// The adapter was measured on the held-out examples.
    Evaluated {
        /// After how many optimizer steps; 0 is before training.
        step: u64,
        /// Mean loss per supervised token, in nats.
        loss: f64,
        /// `exp(loss)`.
        perplexity: f64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// The whole state is on disk.
    Saved {
        /// After how many optimizer steps.
        step: u64,
    },
    /// Training is over; the base, the adapter in use and the new one are being measured.
    Judging,
    /// The quality gate has measured the base, the adapter in use and the new one, and decided.
    Judged(GateReport),
    /// The adapter is in the store.
    Grafted {
        /// Its number there.
        graft: GraftId,
        /// Whether it is the one in use now.
        promoted: bool,
    },
    /// Something that an earlier run or session left is of no use, and is removed or passed over.
    Discarded {
        /// What.
        what: Leftover,
        /// Why.
        why: DiscardReason,
    },
    /// Something that the person should know but that does not stop the run.
    Warning {
        /// In words.
        text: String,
    },
}

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
pub struct StepMetrics {
    /// The optimizer step, from 1.
    pub step: u64,
    /// Mean loss over its supervised tokens, in nats.
    pub loss: f64,
    /// Tokens run; there is no padding.
    pub tokens: u64,
    /// Tokens with a target.
    pub supervised_tokens: u64,
    /// The learning rate of this step.
    pub lr: f64,
    /// The norm of the mean gradient before clipping.
    pub grad_norm: f64,
    /// Wall-clock time of the step.
    pub seconds: f64,
    /// `tokens / seconds`.
    pub tokens_per_second: f64,
    /// Resident memory of the process, the mapped model included.
    pub rss_bytes: u64,
}

impl Event {
    /// What the person should know of it, for those who show sentences; none for an event that is more than that.
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::Warning { text } => Some(text.clone()),
            Self::RateLowered { step, lr, why } => {
                Some(format!("after step {step} the learning rate is lowered to {lr:.1e}: {why}"))
            }
            Self::Device(event) => event.warning(),
            Self::Discarded { what, why } => Some(format!("{what} is not used any more: {why}")),
            _ => None,
        }
    }

    pub(super) fn planned(train_loop: &TrainLoop, threads: usize) -> Self {
        let trainer = train_loop.trainer();
        Self::Planned {
            steps: trainer.progress().total_steps,
            trainable_parameters: trainer.adapter().n_parameters(),
            adapted_layers: trainer.base().spec.n_layer() - trainer.adapter().lowest_layer().unwrap_or(0),
            lr: trainer.highest_rate(),
            threads,
        }
    }
}

impl StepMetrics {
    /// The metrics of a step that took so many seconds and has just ended.
    pub(super) fn new(report: &StepReport, seconds: f64) -> Self {
        let &StepReport { step, loss, tokens, supervised_tokens, lr, grad_norm } = report;
        Self {
            step,
            loss,
            tokens,
            supervised_tokens,
            lr,
            grad_norm,
            seconds,
            tokens_per_second: tokens as f64 / seconds,
            rss_bytes: memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem as u64),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All steps were made.
    Finished,
    /// The held-out loss stopped improving.
    EarlyStopped,
    /// The stop flag was raised; a checkpoint was saved.
    Interrupted,
}

/// The sum of a run.
#[derive(Debug, Clone, Serialize)]
pub struct TrainReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Optimizer steps done, earlier runs in the folder included.
    pub steps: u64,
    /// The first and the last step's loss of this run, if it made any step.
    pub first_loss: Option<f64>,
    /// See `first_loss`.
    pub last_loss: Option<f64>,
    /// Held-out loss before training.
    pub held_out_before: Option<f64>,
    /// Held-out loss of the adapter that was kept.
    pub held_out_after: Option<f64>,
    /// The step whose adapter was kept: the one with the lowest held-out loss, else the last.
    #[serde(rename = "kept_step")]
    pub best_step: u64,
    /// The PEFT folder; none if the run was interrupted.
    pub adapter: Option<PathBuf>,
    /// Where to resume from, if the run was interrupted.
    pub checkpoint: Option<PathBuf>,
    /// What computes at the end: the name of a GPU with its arithmetic, or the processor and its instructions.
    pub device: String,
    /// What has computed steps, one after the other, earlier runs in the folder included. Runs on different devices differ by rounding.
    pub devices: Vec<String>,
    /// Operations of this run, by what computed them.
    pub operations: OperationCount,
    /// Tokens run and seconds spent in optimizer steps by this run.
    pub tokens: u64,
    /// See `tokens`.
    pub seconds: f64,
}
