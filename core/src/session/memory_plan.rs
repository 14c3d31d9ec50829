//! What a run will take in memory, known before its first step.

use nightgraft_adapter::AdapterTensors;
use serde::Serialize;

use super::inputs::threads;
use crate::base::Base;
use crate::config::{Precision, TrainConfig};
use crate::process_memory::{anonymous_bytes, spare_bytes};
use crate::transformer::{
    MemoryEstimate, ModelBytes, OpenGpu, RecomputePolicy, release_freed_memory, weight_bytes,
};
use crate::{Error, Result};

/// The stack of a thread: measured.
const STACK: u64 = 64 << 10;

/// What the allocator holds beyond what it was asked for: measured.
const ALLOCATOR: u64 = 1 << 20;

/// Bytes of a budget that a plan leaves free where it can, for what it does not count.
const HEADROOM: u64 = 2 << 20;

/// What copying to and from a GPU takes on the host: pieces under way, and what comes back of the gradients on top.
const TRANSFERS: u64 = 32 << 20;

/// What a driver takes for itself, and for the dispatches of a layer: measured with Mesa's lavapipe, whose shaders are code on the
/// host.
const DRIVER: u64 = 12 << 20;
const DRIVER_PER_LAYER: u64 = 2 << 20;

/// Peak of a run's anonymous memory, in bytes; the mapped model is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MemoryPlan {
    /// What of it is in the memory of a GPU; none if the processor computes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuMemory>,
    /// The process before the run: code's own data, the encoded examples.
    pub process: u64,
    /// The adapter and the sums of its gradients.
    pub adapter: u64,
    /// The optimizer's two moments.
    pub optimizer: u64,
    /// Other adapters that live meanwhile: the best or the last good one, gradients that an interrupted micro-batch goes back to.
    pub copies: u64,
    /// Activations, intermediate results and graphs.
    pub model: ModelBytes,
    /// Stacks and working memory of the threads that compute, and what the allocator holds beyond; with a GPU, what its driver takes
    /// and what is under way.
    pub scratch: u64,
    /// The sum.
    pub total: u64,
    /// Tokens of the largest micro-batch.
    pub tokens: usize,
    /// Trained layers.
    pub layers: usize,
    /// How many of these save the activations of their attention for the backward; the others compute them again.
    pub keep_attention: usize,
    /// How many of these save the activations of their feed-forward part.
    pub keep_feed_forward: usize,
    /// Supervised tokens whose logits exist at once.
    pub head_rows: usize,
}

/// Bytes in the memory of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GpuMemory {
    /// Copies of the model's matrices.
    pub weights: u64,
    /// The adapter and its gradients.
    pub adapter: u64,
    /// Activations and intermediate results.
    pub model: u64,
    /// Whether it is the host's memory, so that all of it counts in the plan's sum.
    pub is_shared: bool,
}

impl GpuMemory {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.weights + self.adapter + self.model
    }
}

/// How many copies of the adapter or of its gradients a run makes, besides those in training.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdapterCopies(u64);

impl AdapterCopies {
    /// The copies of a run that makes steps and nothing else.
    pub(super) const NONE: Self = Self(0);

    /// The copies of a whole run.
    pub(super) fn of(config: &TrainConfig) -> Self {
        // The best adapter where the run evaluates, else the last that had a loss.
        let best_or_last_good = 1;
        // While a further micro-batch of a step runs.
        let gradients_before = u64::from(config.data.accumulate > 1);
        Self(best_or_last_good + gradients_before)
    }
}

/// Counts what runs of one model and adapter take.
pub(super) struct MemoryPlanner {
    estimate: MemoryEstimate,
    process: u64,
    /// Bytes of one copy of the adapter.
    adapter_bytes: u64,
    copies: u64,
    scratch: u64,
    /// Tokens of the largest micro-batch.
    pub(super) tokens: usize,
    layers: usize,
    /// For a GPU, what the model's matrices take there, and whether that is the host's memory.
    gpu: Option<(u64, bool)>,
}

/// Compares what a run takes with what was planned.
#[derive(Default)]
pub(super) struct MemoryWatch {
    /// The plan's sum.
    pub(super) planned: u64,
    /// The most anonymous memory seen.
    peak: u64,
}

impl MemoryWatch {
    /// Looks at what is taken now.
    pub(super) fn look(&mut self) {
        let (bytes, planned) = (anonymous_bytes(), self.planned);
        if bytes > self.peak {
            tracing::debug!(bytes, planned, "memory");
            if bytes > planned && self.peak <= planned {
                tracing::warn!(bytes, planned, "more memory is taken than was planned");
            }
            self.peak = bytes;
        }
    }
}

/// What the process takes now, before adapters are made; what was freed is given back first.
pub(super) fn process_bytes() -> u64 {
    release_freed_memory();
    anonymous_bytes()
}

impl MemoryPlanner {
    /// Counts for micro-batches of up to `tokens` tokens, in a process that took `process` bytes, on a GPU if there is one.
    pub(super) fn new(
        base: &Base,
        start: &AdapterTensors,
        config: &TrainConfig,
        copies: AdapterCopies,
        [tokens, process]: [u64; 2],
        gpu: Option<&OpenGpu>,
    ) -> Result<Self> {
        let layers = start.pairs.keys().next().map_or(0, |&(lowest, _)| base.spec.n_layer() - lowest);
        let tokens = tokens as usize;
        let precision = if gpu.is_some() { Precision::F32 } else { config.run.precision };
        let estimate = MemoryEstimate::new(base, start, tokens, precision)?;
        let adapter_bytes = 4 * start.n_parameters() as u64;
        let of_driver = TRANSFERS + adapter_bytes + DRIVER + base.spec.n_layer() as u64 * DRIVER_PER_LAYER;
        let of_threads = threads(config.run.threads) as u64 * (STACK + estimate.scratch_per_thread());
        Ok(Self {
            process,
            adapter_bytes,
            copies: copies.0,
            scratch: ALLOCATOR + if gpu.is_some() { of_driver } else { of_threads },
            gpu: gpu.map(|gpu| (weight_bytes(base), gpu.shares_memory())),
            estimate,
            tokens,
            layers,
        })
    }

    /// What a policy takes.
    pub(super) fn plan(&self, recompute: RecomputePolicy) -> MemoryPlan {
        let model = self.estimate.bytes(recompute);
        let gpu = self.gpu.map(|(weights, is_shared)| GpuMemory {
            weights,
            adapter: 2 * self.adapter_bytes,
            model: model.total() - model.graphs,
            is_shared,
        });
        MemoryPlan {
            gpu,
            process: self.process,
            adapter: 2 * self.adapter_bytes,
            optimizer: 2 * self.adapter_bytes,
            copies: self.copies * self.adapter_bytes,
            model,
            scratch: self.scratch,
            total: self.outside_model()
                + match gpu {
                    None => model.total(),
                    Some(gpu) => model.graphs + if gpu.is_shared { gpu.total() } else { 0 },
                },
            tokens: self.tokens,
            layers: self.layers,
            keep_attention: recompute.saved_attention,
            keep_feed_forward: recompute.saved_feed_forward,
            head_rows: recompute.head_rows,
        }
    }

    /// The fastest policy within `limit` bytes in all; without one, the fastest that is not extravagant.
    ///
    /// # Errors
    /// [`Error::OutOfMemoryBudget`] with the least that would do.
    pub(super) fn choose_policy(&self, limit: Option<u64>) -> Result<RecomputePolicy> {
        if let (Some((_, false)), Some(available)) = (self.gpu, limit) {
            // A GPU's own memory does not count, and nobody tells how much there is.
            let recompute = self.estimate.fastest_with_spare(spare_bytes());
            let needed = self.plan(recompute).total;
            return if needed <= available {
                Ok(recompute)
            } else {
                Err(Error::OutOfMemoryBudget { needed, available })
            };
        }
        let Some(available) = limit else { return Ok(self.estimate.fastest_with_spare(spare_bytes())) };
        let copied = self.gpu.map_or(0, |(weights, _)| weights + 2 * self.adapter_bytes);
        let for_model = available.checked_sub(self.outside_model() + copied);
        for_model
            .and_then(|bytes| {
                let roomy = bytes.checked_sub(HEADROOM).and_then(|bytes| self.estimate.fastest_within(bytes));
                roomy.or_else(|| self.estimate.fastest_within(bytes))
            })
            .ok_or_else(|| Error::OutOfMemoryBudget {
                needed: self.plan(RecomputePolicy::MIN_MEMORY).total,
                available,
            })
    }

    /// What is taken besides the model.
    fn outside_model(&self) -> u64 {
        self.process + (4 + self.copies) * self.adapter_bytes + self.scratch
    }
}
