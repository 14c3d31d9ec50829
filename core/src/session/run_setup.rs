//! Putting a run together from its settings, the same way for every job that trains.

use nightgraft_adapter::{AdapterTensors, LoraSpec};
use nightgraft_text::Example;
use nightgraft_text::data::Dataset;

use super::StopFlag;
use super::adapter_shape::{OverriddenSetting, overridden_settings};
use super::inputs::threads;
use super::memory_plan::{AdapterCopies, MemoryPlanner};
use super::notice::Notice;
use super::resume::RunIdentity;
use crate::Result;
use crate::base::Base;
use crate::config::{DataConfig, Layers, LoraConfig, TrainConfig};
use crate::lora::{Adapter, initialize, target_modules, targets_of};
use crate::train::{EvalSchedule, TrainLoop, Trainer, epoch_plan, total_steps};
use crate::transformer::{Model, ModelOptions, RecomputePolicy, release_freed_memory, resolve_precision};

/// What a run is made of, while some of its settings may be open.
pub(super) struct RunParts {
    pub(super) config: TrainConfig,
    pub(super) base: Base,
    /// The adapter that it starts from.
    start: AdapterTensors,
    /// The settings that the adapter has other values of.
    overridden: Vec<OverriddenSetting>,
    train: Dataset,
    held_out: Option<Dataset>,
}

/// A run with all of its settings decided, which fits in the memory that it may take.
pub(super) struct RunSetup {
    pub(super) config: TrainConfig,
    pub(super) base: Base,
    /// What it is known by.
    pub(super) identity: RunIdentity,
    /// What it takes in memory, and how it does with that.
    pub(super) planner: MemoryPlanner,
    pub(super) recompute: RecomputePolicy,
    start: AdapterTensors,
    train: Vec<Example>,
    held_out: Vec<Example>,
}

impl RunParts {
    /// Makes the adapter that the run starts from: `earlier`, whose shapes then replace the configured ones, or a fresh one.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for layers that the model does not have.
    pub(super) fn new(
        mut config: TrainConfig,
        earlier: Option<AdapterTensors>,
        base: Base,
        train: Dataset,
        held_out: Option<Dataset>,
    ) -> Result<Self> {
        let requested = config.lora.clone();
        let start = initial_adapter(&mut config, earlier, &base)?;
        let overridden = overridden_settings(&requested, &config.lora, &base)?;
        Ok(Self { config, base, start, overridden, train, held_out })
    }

    /// What a person should know of the settings.
    pub(super) fn notices(&self) -> impl Iterator<Item = Notice> {
        let model = Notice::of_model(&self.config.data, &self.base);
        model.chain(Notice::of_shape(self.overridden.clone()))
    }

    /// Decides what the settings leave open, so that a run that goes on has the same: micro-batches of the first of `sizes`
    /// with which the run fits in `limit` bytes, in a process that takes `process` of them without it; then passes and rate.
    ///
    /// # Errors
    /// [`Error::OutOfMemoryBudget`](crate::Error::OutOfMemoryBudget) with the least that would do for the last of the sizes.
    pub(super) fn fit(
        mut self,
        sizes: impl FnOnce(&DataConfig) -> Vec<usize>,
        process: u64,
        limit: Option<u64>,
    ) -> Result<RunSetup> {
        let tokens = self.train.examples.iter().map(Example::len).sum();
        let seed = self.config.run.seed;
        self.config.data.resolve_auto(tokens, |data| epoch_plan(data, seed, &self.train.examples, 0).len());
        let (planner, recompute) = self.choose_size(sizes(&self.config.data), process, limit)?;
        let Self { mut config, base, start, train, held_out, .. } = self;
        config.resolve_auto(|config| {
            let layers = config.lora.layers.range(base.spec.n_layer())?;
            let row_norm = base.row_norm(&target_modules(&config.lora.targets, &base)?, layers)?;
            Ok((total_steps(config, &train.examples), row_norm))
        })?;
        let identity = RunIdentity::new(&config, &base, &start, &train, held_out.as_ref())?;
        let (train, held_out) = (train.examples, held_out.unwrap_or_default().examples);
        Ok(RunSetup { config, base, identity, planner, recompute, start, train, held_out })
    }

    fn choose_size(
        &mut self,
        sizes: Vec<usize>,
        process: u64,
        limit: Option<u64>,
    ) -> Result<(MemoryPlanner, RecomputePolicy)> {
        let mut refused = None;
        for size in sizes {
            self.config.data.batch_tokens = size.into();
            let Self { config, base, start, .. } = &*self;
            let counts = [self.capacity() as u64, process];
            let planner = MemoryPlanner::new(base, start, config, AdapterCopies::of(config), counts)?;
            match planner.choose_policy(limit) {
                Ok(recompute) => return Ok((planner, recompute)),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.expect("there is a size to try"))
    }

    /// Tokens of the largest micro-batch: an example that is longer than the others may be is one by itself.
    fn capacity(&self) -> usize {
        let sets = [Some(&self.train), self.held_out.as_ref()];
        let longest = sets.into_iter().flatten().flat_map(|set| &set.examples).map(Example::len).max();
        self.config.data.batch_tokens().max(longest.unwrap_or(0))
    }
}

impl RunSetup {
    /// The loop of the run at its start, which `stop` stops, and what the run is known by.
    ///
    /// # Errors
    /// [`Error::Ggml`](crate::Error::Ggml) if memory runs out; [`Error::Config`](crate::Error::Config) if there is nothing to
    /// train on.
    pub(super) fn into_loop(self, stop: &StopFlag) -> Result<(TrainLoop, RunIdentity)> {
        let Self { config, base, identity, planner, recompute, start, train, held_out } = self;
        let adapter = Adapter::new(&start)?;
        // Its many small matrices would otherwise stay with the allocator for the whole run.
        drop(start);
        release_freed_memory();
        let options = ModelOptions {
            trains: true,
            capacity: planner.tokens,
            n_threads: threads(config.run.threads),
            precision: config.run.precision,
            recompute,
        };
        let model = Model::new(base, Some(&adapter), options, stop.raw())?;
        let trainer = Trainer::new(&config, model, adapter, train)?;
        let schedule = EvalSchedule {
            eval_every: config.run.eval_interval(trainer.progress().total_steps),
            patience: config.run.patience,
            batch_tokens: config.data.batch_tokens(),
        };
        Ok((TrainLoop::new(trainer, held_out, schedule), identity))
    }
}

/// The adapter that a run starts from: `earlier`, whose shapes then replace the configured ones, or a fresh one. What the
/// settings leave to this machine is decided, so that the run can go on elsewhere.
pub(super) fn initial_adapter(
    config: &mut TrainConfig,
    earlier: Option<AdapterTensors>,
    base: &Base,
) -> Result<AdapterTensors> {
    config.run.precision = resolve_precision(config.run.precision);
    let dropout = config.lora.dropout;
    if let Some(mut tensors) = earlier {
        tensors.spec.dropout = dropout;
        config.lora = LoraConfig {
            rank: tensors.spec.rank,
            alpha: tensors.spec.alpha,
            targets: targets_of(&tensors.spec.modules, base),
            layers: Layers::Range(tensors.spec.layers.clone()),
            dropout,
        };
        return Ok(tensors);
    }
    let spec = LoraSpec {
        rank: config.lora.rank,
        alpha: config.lora.alpha,
        modules: target_modules(&config.lora.targets, base)?,
        layers: config.lora.layers.range(base.spec.n_layer())?,
        dropout,
    };
    Ok(initialize(&spec, base, config.run.seed))
}
