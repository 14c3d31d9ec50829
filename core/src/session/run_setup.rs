//! Putting a run together from its settings, the same way for every job that trains.

use nightgraft_adapter::{AdapterTensors, LoraSpec};
use nightgraft_text::Example;
use nightgraft_text::data::Dataset;

use super::adapter_shape::{OverriddenSetting, overridden_settings};
use super::inputs::threads;
use super::memory_plan::{AdapterCopies, MemoryPlanner};
use super::notice::Notice;
use super::resume::RunIdentity;
use super::{Event, StopFlag};
use crate::base::Base;
use crate::config::{DataConfig, Layers, LoraConfig, TrainConfig};
use crate::device::{ChosenGpu, DeviceEvent, DeviceRefusal, FirstStep};
use crate::lora::{Adapter, initialize, target_modules, targets_of};
use crate::train::{EvalSchedule, TrainLoop, Trainer, epoch_plan, total_steps};
use crate::transformer::{
    Model, ModelGpu, ModelOptions, OpenGpu, RecomputePolicy, release_freed_memory, resolve_precision,
};
use crate::{Error, Result};

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
    /// What is to compute instead of the processor.
    gpu: Option<ChosenGpu>,
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
    gpu: Option<PlannedGpu>,
    /// A GPU with which it does not fit.
    refused_gpu: Option<DeviceEvent>,
}

/// A GPU that is to compute, and how the processor does in its place.
struct PlannedGpu {
    chosen: ChosenGpu,
    on_cpu: RecomputePolicy,
}

/// A run at its start.
pub(super) struct BegunRun {
    pub(super) train_loop: TrainLoop,
    /// What it is known by.
    pub(super) identity: RunIdentity,
    /// The mark of the first step with a GPU.
    pub(super) first_step: Option<FirstStep>,
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
        Ok(Self { config, base, start, overridden, train, held_out, gpu: None })
    }

    /// Lets a GPU compute, if there is one, as far as the run fits in memory with it.
    pub(super) fn with_gpu(self, gpu: Option<ChosenGpu>) -> Self {
        Self { gpu, ..self }
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
        let sizes = sizes(&self.config.data);
        let mut refused_gpu = None;
        let fitted = self.choose_size(&sizes, process, limit);
        let (planner, recompute) = match (fitted, self.gpu.take()) {
            (Ok(fitted), gpu) => {
                self.gpu = gpu;
                fitted
            }
            (Err(Error::OutOfMemoryBudget { needed, available }), Some(ChosenGpu { gpu, .. })) => {
                let why = DeviceRefusal::Memory { needed, available };
                refused_gpu = Some(DeviceEvent::Refused { device: gpu.name(), why });
                self.choose_size(&sizes, process, limit)?
            }
            (Err(error), _) => return Err(error),
        };
        let on_cpu = match &self.gpu {
            // The processor computes then whatever it takes.
            Some(_) => {
                self.planner(process, None)?.choose_policy(limit).unwrap_or(RecomputePolicy::MIN_MEMORY)
            }
            None => recompute,
        };
        let Self { mut config, base, start, train, held_out, gpu, .. } = self;
        let gpu = gpu.map(|chosen| PlannedGpu { chosen, on_cpu });
        config.resolve_auto(|config| {
            let layers = config.lora.layers.range(base.spec.n_layer())?;
            let row_norm = base.row_norm(&target_modules(&config.lora.targets, &base)?, layers)?;
            Ok((total_steps(config, &train.examples), row_norm))
        })?;
        let identity = RunIdentity::new(&config, &base, &start, &train, held_out.as_ref())?;
        let (train, held_out) = (train.examples, held_out.unwrap_or_default().examples);
        Ok(RunSetup { config, base, identity, planner, recompute, start, train, held_out, gpu, refused_gpu })
    }

    fn choose_size(
        &mut self,
        sizes: &[usize],
        process: u64,
        limit: Option<u64>,
    ) -> Result<(MemoryPlanner, RecomputePolicy)> {
        let mut refused = None;
        for &size in sizes {
            self.config.data.batch_tokens = size.into();
            let planner = self.planner(process, self.gpu.as_ref().map(|chosen| &chosen.gpu))?;
            match planner.choose_policy(limit) {
                Ok(recompute) => return Ok((planner, recompute)),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.expect("there is a size to try"))
    }

    fn planner(&self, process: u64, gpu: Option<&OpenGpu>) -> Result<MemoryPlanner> {
        let Self { config, base, start, .. } = self;
        let counts = [self.capacity() as u64, process];
        MemoryPlanner::new(base, start, config, AdapterCopies::of(config), counts, gpu)
    }

    /// Tokens of the largest micro-batch: an example that is longer than the others may be is one by itself.
    fn capacity(&self) -> usize {
        let sets = [Some(&self.train), self.held_out.as_ref()];
        let longest = sets.into_iter().flatten().flat_map(|set| &set.examples).map(Example::len).max();
        self.config.data.batch_tokens().max(longest.unwrap_or(0))
    }
}

impl RunSetup {
    /// What has become of the GPU that was to compute, if the run does not fit in memory with it.
    pub(super) fn refused_gpu(&self) -> Option<Event> {
        self.refused_gpu.clone().map(Event::Device)
    }

    /// Whether a GPU computes.
    pub(super) fn has_gpu(&self) -> bool {
        self.gpu.is_some()
    }

    /// The loop of the run at its start, which `stop` stops.
    ///
    /// # Errors
    /// [`Error::Ggml`](crate::Error::Ggml) if memory runs out; [`Error::Config`](crate::Error::Config) if there is nothing to
    /// train on.
    pub(super) fn begin(self, stop: &StopFlag) -> Result<BegunRun> {
        let Self { config, base, identity, planner, recompute, start, train, held_out, gpu, .. } = self;
        let adapter = Adapter::new(&start)?;
        // Its many small matrices would otherwise stay with the allocator for the whole run.
        drop(start);
        release_freed_memory();
        let (on_gpu, on_cpu, first_step) = match gpu {
            Some(PlannedGpu { chosen: ChosenGpu { gpu: device, first_step }, on_cpu }) => {
                (Some(ModelGpu { device, recompute }), on_cpu, first_step)
            }
            None => (None, recompute, None),
        };
        let options = ModelOptions {
            trains: true,
            capacity: planner.tokens,
            n_threads: threads(config.run.threads),
            precision: config.run.precision,
            recompute: on_cpu,
            gpu: on_gpu,
        };
        let model = Model::new(base, Some(&adapter), options, stop.raw())?;
        let trainer = Trainer::new(&config, model, adapter, train)?;
        let schedule = EvalSchedule {
            eval_every: config.run.eval_interval(trainer.progress().total_steps),
            patience: config.run.patience,
            batch_tokens: config.data.batch_tokens(),
        };
        Ok(BegunRun { train_loop: TrainLoop::new(trainer, held_out, schedule), identity, first_step })
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
